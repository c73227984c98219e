"""JSON out of the experiments."""

from __future__ import annotations

from marshmallow import Schema, fields


class MemberAssignmentSchema(Schema):
    """A member's side of an experiment."""

    experiment = fields.String(required=True)
    version = fields.Integer(required=True, metadata={"description": "The version it was drawn under."})
    arm = fields.String(required=True)
    is_holdout = fields.Boolean(required=True)
    reason = fields.String(required=True)
    assigned_at = fields.DateTime(required=True)
    tier_at_assignment = fields.String(required=True, allow_none=True)


class MemberAssignmentsSchema(Schema):
    """All of a member's assignments, by experiment."""

    data = fields.List(fields.Nested(MemberAssignmentSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
