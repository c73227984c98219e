"""The service with a few routes that do nothing, so that what surrounds a route can be measured."""

from __future__ import annotations

from flask import Response, jsonify

from service.intake.schemas import OrderBody
from service.kit.http import STAFF, Blueprint, Door
from service.profiles.schemas import ProfileSchema
from service.wsgi import app

ANSWER = {"member_id": "m1", "tier": "silver", "available": 120, "pending": 41, "locale": "en"}

blueprint = Blueprint("measured", __name__, url_prefix="/v1/measured")


@app.get("/measured/plain")
def plain() -> Response:
    """Answer what the bare route answers, with no door before it."""
    return jsonify(ANSWER)


@blueprint.door("GET", "/door", roles=STAFF, answers={200: ProfileSchema()})
def read(door: Door) -> object:
    """Answer behind a key; a read opens no transaction."""
    return ANSWER


@blueprint.door("POST", "/body", roles=STAFF, answers={200: ProfileSchema()}, body=OrderBody())
def write(door: Door, body: dict[str, object]) -> object:
    """Answer once the body of an order was read and found right."""
    return ANSWER


@blueprint.door(
    "POST",
    "/keyed",
    roles=STAFF,
    answers={200: ProfileSchema()},
    body=OrderBody(),
    idempotency_key="required",
)
def write_once(door: Door, body: dict[str, object]) -> object:
    """Answer the first time, and keep the answer."""
    return ANSWER


app.register_blueprint(blueprint)
