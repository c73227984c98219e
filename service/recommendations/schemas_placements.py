"""JSON in and out of the settings of placements."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import StrictSchema, Whole
from service.recommendations.exploration import MOST_CANDIDATES
from service.recommendations.operations import DEFAULT_LIMIT, MAX_LIMIT
from service.recommendations.schemas import MODES


class ExplorationBody(StrictSchema):
    """The last place of a treated member's list is drawn by lot; each chance is logged."""

    candidates = Whole(
        required=True,
        least=2,
        most=MOST_CANDIDATES,
        metadata={"description": "Among how many: what would stand there anyway, and the next best."},
    )
    share_bp = Whole(
        least=1,
        most=10_000,
        load_default=10_000,
        metadata={"description": "In how many answers the lot is cast, in basis points."},
    )


class PlacementBody(StrictSchema):
    """What a placement shows unless a question says otherwise."""

    mode = fields.String(load_default="mixed", validate=validate.OneOf(MODES))
    diversity_bp = Whole(
        least=0,
        most=10_000,
        load_default=0,
        metadata={"description": "How much of the score is given up for variety; 0 is the order of scores."},
    )
    category_cap = Whole(
        least=1,
        most=MAX_LIMIT,
        load_default=None,
        allow_none=True,
        metadata={"description": "At most so many of one category, each item counted in its first."},
    )
    limit = Whole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    exploration = fields.Nested(
        ExplorationBody,
        load_default=None,
        allow_none=True,
        metadata={"description": "Left out or null: no place is drawn by lot."},
    )


class ExplorationSchema(Schema):
    """How the last place is drawn by lot."""

    candidates = fields.Integer(required=True)
    share_bp = fields.Integer(required=True)


class PlacementSchema(Schema):
    """The settings of a placement."""

    placement = fields.String(required=True)
    version = fields.Integer(required=True)
    mode = fields.String(required=True, validate=validate.OneOf(MODES))
    diversity_bp = fields.Integer(required=True)
    category_cap = fields.Integer(required=True, allow_none=True)
    limit = fields.Integer(required=True)
    exploration = fields.Nested(ExplorationSchema, required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    created_by = fields.String(required=True)


class PlacementsSchema(Schema):
    """Every placement that has settings of its own, by name."""

    data = fields.List(fields.Nested(PlacementSchema), required=True)
