"""Types and bounds of the kit's own fields, for the document."""

from __future__ import annotations

from typing import Any

from service.kit.fields import Currency, Day, ExchangeRate, FreeForm, Moment, Money

ID = {"type": "string", "minLength": 1, "maxLength": 128}
"""A merchant's id in a path."""

TYPES: tuple[tuple[type, Any, str | None], ...] = (
    (Moment, "string", "date-time"),
    (Day, "string", "date"),
    (Money, ["string", "number"], None),
    (ExchangeRate, ["string", "number"], None),
    (FreeForm, "object", None),
)
"""Field → JSON type and format; the other fields derive from ones that are known."""

_DECIMAL = r"^\d{1,16}(\.\d{1,10})?$"


def bound_field(_converter: object, field: object, **_: Any) -> dict[str, Any]:
    """Return what a field of the kit accepts beyond its type."""
    if isinstance(field, Money):
        least = {"exclusiveMinimum": 0} if field.positive else {"minimum": 0}
        return {"pattern": _DECIMAL, **least, "examples": ["1234.50"]}
    if isinstance(field, ExchangeRate):
        return {"pattern": _DECIMAL, "minimum": 0.0000001, "maximum": 100000000, "examples": ["32.5"]}
    if isinstance(field, Currency):
        return {"pattern": "^[A-Z]{3}$", "examples": ["TWD"]}
    if isinstance(field, FreeForm):
        return {"maxProperties": 50}
    return {}
