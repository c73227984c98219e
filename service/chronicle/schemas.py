"""JSON of the chronicle."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.chronicle.rules import TOPICS
from service.kit.fields import Moment, QueryWhole, StrictSchema, Text
from service.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT


class AuditQuery(StrictSchema):
    """Which entries of the audit log."""

    actor = Text(min_length=1, metadata={"description": "Role and key id, such as admin:key_…; or cli."})
    action = Text(min_length=1, metadata={"description": "Such as settings.changed."})
    subject = Text(min_length=1, metadata={"description": "A kind, or kind:id, such as member:m1."})
    since = Moment(metadata={"description": "Only what happened at or after this time."})
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = Text()


class SubjectSchema(Schema):
    """What was changed."""

    kind = fields.String(required=True)
    id = fields.String(required=True, allow_none=True)


class FieldChangeSchema(Schema):
    """One field; what a member's record held is sealed and not shown."""

    field = fields.String(required=True)
    sealed = fields.Boolean(required=True)
    before = fields.Raw(required=True, allow_none=True)
    after = fields.Raw(required=True, allow_none=True)


class AuditEntrySchema(Schema):
    """Who changed what, when and why."""

    audit_id = fields.String(required=True)
    occurred_at = fields.String(required=True)
    actor = fields.String(required=True)
    action = fields.String(required=True)
    subject = fields.Nested(SubjectSchema, required=True)
    changes = fields.List(fields.Nested(FieldChangeSchema), required=True)
    reason = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)


class AuditLogSchema(Schema):
    """A page of the audit log, the newest first."""

    data = fields.List(fields.Nested(AuditEntrySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ChangesQuery(StrictSchema):
    """Where to read on, how far, and of what."""

    since = Text(metadata={"description": "`resume_from` of the last answer; left out: from the beginning."})
    limit = QueryWhole(least=1, most=MAX_LIMIT, load_default=DEFAULT_LIMIT)
    topics = Text(
        min_length=1, metadata={"description": "Separated by commas; all when left out: " + ", ".join(TOPICS)}
    )


class ChangeSchema(Schema):
    """One thing that changed: ids and numbers, nothing personal."""

    change_id = fields.String(required=True)
    topic = fields.String(required=True)
    occurred_at = fields.String(required=True, metadata={"description": "When it happened."})
    recorded_at = fields.String(required=True, metadata={"description": "When it was written."})
    member_id = fields.String(
        required=True, allow_none=True, metadata={"description": "Null when no member is concerned."}
    )
    payload = fields.Dict(keys=fields.String(), required=True)


class ChangesSchema(Schema):
    """A stretch of the feed."""

    data = fields.List(fields.Nested(ChangeSchema), required=True)
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Where there is more already: `since` of the next request. Null at the end."
        },
    )
    resume_from = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "`since` of the next request, now or next week. Null before the first change."
        },
    )
