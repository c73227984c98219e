"""JSON in and out of the register of trained models."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from service.kit.fields import QueryWhole, StrictSchema, Text

_TIME = {"format": "date-time"}


class RetrainingSchema(Schema):
    """Whether a training was asked for, or one was waiting already."""

    state = fields.String(required=True, validate=validate.OneOf(("queued", "already_queued")))


class TrainingSchema(Schema):
    """One training: how far it is, or how it ended."""

    state = fields.String(
        required=True,
        validate=validate.OneOf(("running", "done", "nothing_to_learn", "failed", "cut_off")),
        metadata={"description": "`cut_off`: whoever trained is gone; the worker's job runs again."},
    )
    started_at = fields.String(required=True, metadata=_TIME)
    finished_at = fields.String(required=True, allow_none=True, metadata=_TIME)
    stage = fields.String(required=True, allow_none=True, metadata={"description": "What it did last."})
    done = fields.Integer(required=True, metadata={"description": "Of that stage."})
    total = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Null where nobody knows beforehand."}
    )
    version = fields.String(
        required=True, allow_none=True, metadata={"description": "The model that came of it."}
    )
    detail = fields.String(required=True, allow_none=True, metadata={"description": "Why none came of it."})


class TrainingsSchema(Schema):
    """The latest trainings, the latest first, and whether one waits for the worker."""

    waiting = fields.Boolean(required=True)
    data = fields.List(fields.Nested(TrainingSchema), required=True)


class ModelsQuery(StrictSchema):
    """A page of the register."""

    limit = QueryWhole(least=1, most=500, load_default=50)
    cursor = Text()


class ModelRowSchema(Schema):
    """A trained model in the register."""

    version = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(("candidate", "active", "retired")))
    content_hash = fields.String(
        required=True, metadata={"description": "The same for two trainings on the same data and seed."}
    )
    trained_through = fields.Date(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    promoted_at = fields.DateTime(required=True, allow_none=True)
    decision = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it is in force, or is not."}
    )


class ModelsSchema(Schema):
    """A page of the register, newest first."""

    data = fields.List(fields.Nested(ModelRowSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ModelSchema(ModelRowSchema):
    """Everything known of a model: data span, counts, settings and figures against the baselines."""

    trained_from = fields.Date(required=True, allow_none=True)
    seed = fields.Integer(required=True, allow_none=True)
    counts = fields.Dict(required=True)
    parameters = fields.Dict(required=True)
    metrics = fields.Dict(
        required=True,
        metadata={
            "description": "Every method with recall, coverage and fallback share, by origin, length of "
            "history and tier; differences to the served lists with 95 % intervals. Empty when the history "
            "was too short."
        },
    )
    findings = fields.List(
        fields.String,
        required=True,
        metadata={"description": "Where the served lists win, where a baseline does, and what is in force."},
    )
    libraries = fields.Dict(required=True)


class ModelSpanSchema(Schema):
    """What a model was trained on."""

    since = fields.Date(required=True, data_key="from")
    through = fields.Date(required=True)
    users = fields.Integer(required=True)
    items = fields.Integer(required=True)
    interactions = fields.Integer(required=True)


class ModelCardSchema(Schema):
    """A model's card: what it learned from, what it is worth, and where a baseline wins."""

    version = fields.String(required=True)
    data = fields.Nested(ModelSpanSchema, required=True)
    findings = fields.List(fields.String, required=True)
    decision = fields.String(required=True, allow_none=True)
    evaluation = fields.Dict(required=True)
    markdown = fields.String(required=True, metadata={"description": "The whole card, to be read."})
    plot = fields.String(
        required=True, allow_none=True, metadata={"description": "SVG; null when nothing was measured."}
    )
