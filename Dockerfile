# The steps live in docker/install and docker/start, which also run (and are tested) without a container.

FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN docker/install /opt/tidemark

FROM python:3.11-slim
# A number, so that platforms that insist on "not root" can tell.
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/tidemark tidemark
COPY --from=build /opt/tidemark /opt/tidemark
# Nothing is written outside TIDEMARK_VAR and /dev/shm: the root file system may be read-only.
ENV PATH=/opt/tidemark/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TIDEMARK_VAR=/var/lib/tidemark \
    TMPDIR=/var/lib/tidemark
USER 10001
WORKDIR /var/lib/tidemark
VOLUME /var/lib/tidemark
EXPOSE 8000
# Requests that have begun are answered within 30 seconds of this.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/readyz', timeout=4)"]
ENTRYPOINT ["/opt/tidemark/docker/start"]
