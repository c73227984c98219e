"""Wire the web process: one engine, one desk, every room's routes."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

import orjson
from flask import Flask, Response, jsonify
from flask.json.provider import JSONProvider
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.middleware.proxy_fix import ProxyFix

from service.access.api import blueprint as access
from service.catalogue.api import blueprint as catalogue
from service.chronicle.api import blueprint as chronicle
from service.documents import api as documents
from service.earning.api import blueprint as earning
from service.experiments.api import blueprint as experiments
from service.intake.api import blueprint as intake
from service.intake.bulk.api import blueprint as imports
from service.intake.events.api import blueprint as events
from service.intake.quotes.api import blueprint as quotes
from service.kit import member_tokens, migrate
from service.kit.auth import Authenticator
from service.kit.describing import Api
from service.kit.errors import Unavailable
from service.kit.fields import MERCHANT_ID_SCHEMA, complete_property
from service.kit.http import Blueprint, Desk
from service.kit.rate_limits import RateLimiter, open_storage
from service.kit.sealing import Sealer
from service.kit.settings import Settings
from service.kit.strangers import Strangers
from service.kit.web import MerchantIdConverter, render_metrics, surround
from service.ledger.api import blueprint as ledger
from service.profiles.api import blueprint as profiles
from service.programme.api import blueprint as programme
from service.recommendations.api import blueprint as recommendations
from service.recommendations.artefacts import models_folder
from service.recommendations.attribution import AttributionKeys
from service.recommendations.off_policy.api import blueprint as off_policy
from service.recommendations.rewards.api import blueprint as ranked_rewards
from service.recommendations.serving import Serving
from service.rewards.api import blueprint as rewards
from service.rewards.watch.api import blueprint as review_queue
from service.tiers.api import blueprint as tiers
from service.tiers.grounds.api import blueprint as tier_explanations
from service.tiers.liability.api import blueprint as liability
from service.tiers.movement.api import blueprint as movement
from service.tiers.population.api import blueprint as simulations
from service.tiers.publishing.api import blueprint as tier_rulesets
from service.tiers.worth.api import blueprint as tiers_worth

log = logging.getLogger(__name__)

ROOMS: tuple[Blueprint, ...] = (
    access,
    catalogue,
    chronicle,
    earning,
    events,
    experiments,
    intake,
    imports,
    ledger,
    liability,
    movement,
    off_policy,
    profiles,
    programme,
    quotes,
    ranked_rewards,
    recommendations,
    review_queue,
    rewards,
    simulations,
    tiers,
    tier_explanations,
    tier_rulesets,
    tiers_worth,
)

DESCRIPTION = """Tidemark watches how high each member stands (tiers), how they move, what they hold (points),
what to show them next (recommendations), and whether any of it made them come back.

Every answer that could influence a purchase carries a `measurement` block."""


class OrjsonProvider(JSONProvider):
    """Read and write JSON with orjson."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """Return JSON text."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Return what JSON text holds."""
        return orjson.loads(s)


def create_app(settings: Settings, engine: Engine, *, reads: Engine | None = None) -> Flask:
    """Return the web application; `engine` must point at a database that was migrated and started.

    `reads` has the same connections, and begins no transactions.
    Nothing is connected and no thread is started here, so that workers may fork from it.
    """
    app = Flask("service", static_folder=None)
    app.json = OrjsonProvider(app)
    app.config.update(
        API_TITLE="Tidemark",
        API_VERSION=version("tidemark"),
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        PROPAGATE_EXCEPTIONS=False,
    )
    desk = Desk(
        engine=engine,
        authenticator=Authenticator(engine, token_key=member_tokens.derive_key(settings.secret_key)),
        settings=settings,
        sealer=Sealer(settings.secret_key),
        limiter=RateLimiter(open_storage(settings.rate_limit_url, reads or engine)),
        strangers=_watch_strangers(settings),
        reads=reads,
    )
    desk.tools["serving"] = Serving(
        models_folder=models_folder(settings),
        keys=_attribution_keys(settings),
        timezone=settings.timezone,
    )
    app.extensions["tidemark"] = desk
    api = Api(app, spec_kwargs=_spec_options())
    api.DEFAULT_ERROR_RESPONSE_NAME = None
    api.ma_plugin.converter.add_attribute_function(complete_property)
    surround(app, max_in_flight=settings.max_in_flight)
    if settings.trusted_proxies:
        # Only the address: the last so many entries were written by our own proxies, the rest by anybody.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0, x_host=0, x_port=0, x_prefix=0
        )
    api.register_converter(MerchantIdConverter, lambda _: dict(MERCHANT_ID_SCHEMA))
    for room in ROOMS:
        api.register_blueprint(room)
    documents.publish(app, api)
    _add_probes(app, engine)
    return app


def _attribution_keys(settings: Settings) -> AttributionKeys:
    """Return the keys of tokens: those given, the first of which signs, and the application key's last."""
    first, *older = (*(key.encode() for key in settings.attribution_keys), settings.secret_key)
    return AttributionKeys.derive(first, older=older)


def _watch_strangers(settings: Settings) -> Strangers | None:
    limit = settings.rate_limit_per_address
    return Strangers(limit=limit) if limit else None


def _spec_options() -> dict[str, Any]:
    return {
        "info": {"description": DESCRIPTION, "license": {"name": "Proprietary"}},
        "servers": [{"url": "/", "description": "This server"}],
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key made by `tidemark keys create`.",
                }
            }
        },
    }


def _add_probes(app: Flask, engine: Engine) -> None:
    """Add what operators and load balancers ask for."""

    @app.get("/livez")
    def livez() -> Response:
        return jsonify({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> Response:
        try:
            with engine.connect() as conn:
                conn.execute(text("SELECT 1"))
                revision = migrate.current_revision(conn)
        except SQLAlchemyError as error:
            raise Unavailable("the database does not answer") from error
        if revision != migrate.head_revision():
            raise Unavailable(f"the database stands at {revision}: run `tidemark db upgrade`")
        return jsonify({"status": "ok", "revision": revision})

    @app.get("/metrics")
    def metrics() -> Response:
        response = render_metrics()
        response.headers["Content-Type"] = CONTENT_TYPE_LATEST
        return response

    @app.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(app.extensions["openapi"].to_dict())
