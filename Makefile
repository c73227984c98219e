# Everything starts here; `make help` says what there is.
# Needed: Python 3.11 or newer with its venv module, and make. PostgreSQL comes along with the packages.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# The first interpreter that will do; override with `make PYTHON=/path/to/python …`.
PYTHON ?= $(shell for candidate in python3.11 python3 python3.12 python3.13 python3.14; do \
	if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$candidate; break; fi; done)

# pip says what it fetches on a terminal, and only what goes wrong elsewhere (logs).
PIP_INSTALL = PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip --disable-pip-version-check \
	$$([ -t 1 ] || echo --quiet) install

# Training and tests: these two thread pools fight each other otherwise.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help
help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: serve
serve: $(VENV)/.runtime  ## run the service on PORT (8000), with a demo shop in an empty database
	@exec $(BIN)/tidemark serve $(ARGS)

# A process for each core, each with a PostgreSQL of its own; what shares a file shares a process.
PARALLEL ?= -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(VENV)/.dev  ## run the whole suite at reduced counts (ARGS='-k tiers' for a part)
	$(BIN)/pytest $(PARALLEL) $(ARGS)

.PHONY: test-all
test-all: $(VENV)/.dev  ## run the whole suite at full counts: long
	TIDEMARK_TEST_SCALE=10 $(BIN)/pytest $(PARALLEL) $(ARGS)

# A server of the system's own, by its programs' folder; Debian keeps one folder for each version.
SYSTEM_POSTGRES ?= $(patsubst %/initdb,%,$(firstword $(wildcard /usr/lib/postgresql/1[5-9]/bin/initdb)))

.PHONY: test-pg15
test-pg15: $(VENV)/.dev  ## run the suite on the system's PostgreSQL, 15 or newer
	@if [ -z "$(SYSTEM_POSTGRES)" ]; then \
		echo "No PostgreSQL server of the system was found under /usr/lib/postgresql." >&2; \
		echo "Debian: apt install postgresql-15; else make test-pg15 SYSTEM_POSTGRES=/its/bin" >&2; exit 1; fi
	@$(SYSTEM_POSTGRES)/postgres --version
	TIDEMARK_TEST_POSTGRES=$(SYSTEM_POSTGRES) $(BIN)/pytest $(PARALLEL) $(ARGS)

# One setting for both shops; UCI is the Online Retail file as Parquet.
UCI ?= data/uci_online_retail.parquet

.PHONY: quality
quality: $(VENV)/.dev  ## measure the recommender on two public shops and write its page (UCI=/its/parquet)
	$(BIN)/python -m recommender report docs/recommender-evaluation.md 'UCI Online Retail=uci:$(UCI)' \
		'The Complete Journey (simulated groceries)=completejourney' \
		--search --origins 3 --search-origins 3 --max-users 1200 --seed 20

.PHONY: check
check: $(VENV)/.dev  ## lint, format, types and the directions between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.dev  ## rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev  ## measure against the baselines, as one table
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: openapi
openapi: $(VENV)/.dev  ## write openapi.yaml anew from the routes
	$(BIN)/tidemark openapi > openapi.yaml.new
	mv openapi.yaml.new openapi.yaml

# Both locks are solved for every platform at once; the runtime lock is held to the versions of the
# larger one, so that one environment serves for both. It leaves out Spark, which serving never needs.
LOCKER := $(VENV)/lock-tools
LOCK := $(LOCKER)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11

.PHONY: examples
examples: $(VENV)/.dev  ## record the examples of openapi.yaml anew from real answers
	TIDEMARK_RECORD_EXAMPLES=1 $(BIN)/pytest tests/api/test_documents.py -k shape

.PHONY: lock
lock: $(BIN)/python  ## solve the dependencies of pyproject.toml anew (needs network)
	$(BIN)/python -m venv $(LOCKER)
	$(LOCKER)/bin/python -m pip --disable-pip-version-check install --quiet uv
	$(LOCK) --all-extras --group dev pyproject.toml --output-file requirements-dev.lock
	$(LOCK) --extra embedded --extra train --extra redis --extra files --group build \
		--constraint requirements-dev.lock --no-annotate pyproject.toml --output-file requirements.lock
	rm -rf $(LOCKER)

.PHONY: clean
clean:  ## remove the environment and every cache; data in var/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment, made once for each change of a lock ---------------------------------------------

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Tidemark needs Python 3.11 or newer, and none was found on PATH." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@

$(VENV)/.dev: $(BIN)/python requirements-dev.lock requirements.lock pyproject.toml
	$(call install,requirements-dev.lock)
	@touch $@ $(VENV)/.runtime

define install
	@echo "Installing what $(1) names into $(VENV) (once; a few minutes on a slow line) …"
	@$(PIP_INSTALL) --require-hashes --requirement $(1)
	@$(PIP_INSTALL) --no-build-isolation --no-deps --editable .
endef
