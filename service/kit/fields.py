"""Fields that are strict and exact where marshmallow's own are lenient."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from service.kit.clock import YEARS, parse_day, parse_time
from service.kit.money import EXPONENTS

_MOST_BYTES = 200_000
_DEEPEST = 16
_DECIMAL = re.compile(r"-?\d{1,16}(\.\d{1,10})?\Z", re.ASCII)


# What a pattern can say of a merchant's id; the rest of Unicode's invisible characters is refused besides.
_VISIBLE = r"^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f-\xa0]*[^\x00-\x20\x7f-\xa0])?$"


# No look-ahead: not every dialect has it.
_ABOVE_ZERO = r"^(\d{0,15}[1-9]\d{0,15}(\.\d{1,10})?|\d{1,16}\.\d{0,9}[1-9]\d{0,9})$"

MERCHANT_ID_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": _VISIBLE}
"""An id in a path, as the document says it."""


def _documented(options: dict[str, Any], **schema: Any) -> dict[str, Any]:
    """Return a field's options with what the document says of it; what its author says stands above."""
    return options | {"metadata": schema | dict(options.get("metadata") or {})}


class StrictSchema(Schema):
    """A schema that refuses what it does not know."""

    class Meta:
        unknown = RAISE


class TableQuery(StrictSchema):
    """The query of a route that also answers as a table."""

    format = fields.String(
        validate=validate.OneOf(("json", "csv")),
        metadata={"description": "`csv` for a table with a header; else as `Accept` says."},
    )


class Text(fields.String):
    """Text that PostgreSQL can store: no NUL, no lone surrogates."""

    def __init__(self, *, max_length: int = 500, min_length: int = 0, **kwargs: Any) -> None:
        kwargs = _documented(kwargs, pattern=r"^[^\x00]*$")
        super().__init__(validate=validate.Length(min=min_length, max=max_length), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not is_storable(text):
            raise ValidationError("holds a character that is not text")
        return text


class Reason(Text):
    """Why, in somebody's words: never blanks alone, for those who ask later."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=1, required=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text and not text.strip():
            raise ValidationError("must not be blank")
        return text


class MerchantId(fields.String):
    """The merchant's own id: 1 to 128 visible characters; blanks only inside."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(min=1, max=128), **_documented(kwargs, pattern=_VISIBLE))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not is_visible(text):
            raise ValidationError("1 to 128 visible characters, without blanks at either end")
        return text


class Money(fields.Field[Decimal]):
    """An exact amount ≥ 0: a decimal string or a JSON number, read without a float."""

    def __init__(self, *, positive: bool = False, **kwargs: Any) -> None:
        self.positive = positive
        least = {"exclusiveMinimum": 0} if positive else {"minimum": 0}
        pattern = _ABOVE_ZERO if positive else r"^\d{1,16}(\.\d{1,10})?$"
        plain = {"type": ["string", "number"], "pattern": pattern, "maximum": 10**16 - 1}
        super().__init__(**_documented(kwargs, **plain, **least))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        amount = read_decimal(value)
        if amount < 0 or (self.positive and amount == 0):
            raise ValidationError("must be above zero" if self.positive else "must not be negative")
        return amount


class ExchangeRate(fields.Field[Decimal]):
    """Programme currency per unit of the order's currency, above zero."""

    def __init__(self, **kwargs: Any) -> None:
        plain = {"type": ["string", "number"], "pattern": _ABOVE_ZERO}
        super().__init__(**_documented(kwargs, **plain, minimum=0.0000001, maximum=100_000_000))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        rate = read_decimal(value)
        if not Decimal("0.0000001") <= rate <= Decimal("100000000"):
            raise ValidationError("must lie between 0.0000001 and 100000000")
        return rate


class Currency(fields.String):
    """A currency code of ISO 4217."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_documented(kwargs, pattern="^[A-Z]{3}$"))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        code: str = super()._deserialize(value, attr, data, **kwargs)
        if code not in EXPONENTS:
            raise ValidationError("not an ISO 4217 currency code")
        return code


class Moment(fields.Field[datetime]):
    """An RFC 3339 time with an offset."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_documented(kwargs, type="string", format="date-time"))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str):
            raise ValidationError("must be a string: an RFC 3339 time with an offset")
        try:
            return parse_time(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class Day(fields.Field[date]):
    """A calendar day, YYYY-MM-DD, of the years that times are of unless others are given."""

    def __init__(self, *, years: range = YEARS, **kwargs: Any) -> None:
        self.years = years
        super().__init__(**_documented(kwargs, type="string", format="date"))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> date:
        try:
            return parse_day(str(value), years=self.years)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class Whole(fields.Integer):
    """A whole JSON number: not "12", not true, not 1.5."""

    def __init__(self, *, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(min=least, max=most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("must be a whole number")
        return value


class QueryWhole(fields.Integer):
    """A whole number in a query parameter."""

    def __init__(self, *, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(min=least, max=most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
            raise ValidationError("must be a whole number")
        return int(value)


class StrictBoolean(fields.Boolean):
    """true or false, nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class FreeForm(fields.Field[dict[str, Any]]):
    """The merchant's own small JSON object: at most 50 names, four levels and 8 kB."""

    def __init__(self, **kwargs: Any) -> None:
        plain = {"type": "object", "additionalProperties": True, "maxProperties": 50}
        super().__init__(**_documented(kwargs, **plain))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("must be an object")
        if len(value) > 50:
            raise ValidationError("at most 50 names")
        cleaned: dict[str, Any] = _plain(value, depth=4)
        if len(json.dumps(cleaned)) > 8192:
            raise ValidationError("larger than 8 kB")
        return cleaned


def _plain(value: Any, *, depth: int) -> Any:
    if isinstance(value, Mapping | list) and depth == 0:
        raise ValidationError("nested too deep")
    if isinstance(value, Mapping):
        return {_text(key): _plain(inner, depth=depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, depth=depth - 1) for inner in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else str(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValidationError("a number too large to keep; send it as a string")
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    if not is_storable(value):
        raise ValidationError("holds a character that is not text")
    return value


class Definition(fields.Field[dict[str, Any]]):
    """A document that staff write, as it is kept: decimals as strings, text that can be stored."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_documented(kwargs, type="object", additionalProperties=True))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("must be an object")
        kept: dict[str, Any] = _kept(value, depth=_DEEPEST)
        if len(json.dumps(kept)) > _MOST_BYTES:
            raise ValidationError("larger than 200 kB")
        return kept


def _kept(value: Any, *, depth: int) -> Any:
    if depth == 0:
        raise ValidationError("nested too deep")
    if isinstance(value, Mapping):
        return {_text(name): _kept(inner, depth=depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_kept(inner, depth=depth - 1) for inner in value]
    if isinstance(value, Decimal):
        if abs(value.adjusted()) > 40:
            raise ValidationError("a number out of all range")
        is_whole = value == value.to_integral_value() and abs(value) < 2**53
        return int(value) if is_whole else format(value, "f")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValidationError("a number out of all range")
    return _text(value) if isinstance(value, str) else value


def complete_property(
    _converter: Any, field: fields.Field[Any], *, ret: dict[str, Any], **_: Any
) -> dict[str, Any]:
    """Return what apispec leaves unsaid of a property of the document.

    A pattern ends in `$`, which every dialect of regular expressions knows, not in Python's own `\\Z`;
    and the names in an object keep to the pattern of its keys.
    """
    found: dict[str, Any] = {}
    pattern = ret.get("pattern", "")
    if pattern.endswith(r"\Z"):
        found["pattern"] = pattern.removesuffix(r"\Z") + "$"
    for validator in getattr(getattr(field, "key_field", None), "validators", ()):
        if isinstance(validator, validate.Regexp):
            found["propertyNames"] = {"pattern": str(validator.regex.pattern).removesuffix(r"\Z") + "$"}
    return found


def is_storable(text: str) -> bool:
    """Tell whether PostgreSQL can store `text` as UTF-8."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_visible(text: str) -> bool:
    """Tell whether `text` is made of visible characters, with blanks only inside, and can stand in a path."""
    # A dot or two mean a folder in a path: clients resolve them away, however they are encoded.
    return text.isprintable() and text == text.strip() and text not in {".", ".."}


def is_merchant_id(text: str) -> bool:
    """Tell whether `text`, from a path, can be a merchant's id."""
    # U+FFFD stands for bytes that were no UTF-8: different ids would become one.
    return 1 <= len(text) <= 128 and is_visible(text) and is_storable(text) and "\ufffd" not in text


def read_decimal(value: Any) -> Decimal:
    """Return a JSON number or decimal string exactly.

    Raises:
        ValidationError: anything else, exponents and signs other than a leading minus included.
    """
    if isinstance(value, bool):
        raise ValidationError("must be a decimal string or a number")
    if isinstance(value, int | Decimal):
        value = format(Decimal(value), "f") if abs(Decimal(value).adjusted()) < 40 else ""
    if not isinstance(value, str) or not _DECIMAL.match(value):
        raise ValidationError('must be a plain decimal such as "1234.50"')
    return Decimal(value)
