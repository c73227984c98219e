"""What a tier gives: for a machine to honour, and with a text per locale for a person to read. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, get_args

from service.kit.money import to_minor, to_text
from service.tiers.parsing import read_list, read_object, read_texts, read_whole

Kind = Literal[
    "points_multiplier",
    "free_shipping",
    "percent_off",
    "early_access",
    "exclusive_skus",
    "service_level",
    "custom",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_BENEFITS = 20
MAX_SKUS = 200
MAX_CATEGORIES = 50
_LEVEL = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
# Two of these in one tier would contradict each other.
_ONCE: tuple[Kind, ...] = ("points_multiplier", "free_shipping", "early_access", "service_level")


@dataclass(frozen=True, slots=True)
class Benefit:
    """One benefit: its kind, what a machine needs to honour it, and a text per locale.

    `multiplier_bp` and `percent_bp` are basis points; `minimum_spend_minor` is in the rule set's currency,
    None without a minimum; no `categories` of a percent_off means everything.
    """

    kind: Kind
    text: Mapping[str, str]
    multiplier_bp: int | None = None
    minimum_spend_minor: int | None = None
    percent_bp: int | None = None
    categories: tuple[str, ...] = ()
    hours: int | None = None
    skus: tuple[str, ...] = ()
    level: str | None = None


# Kind → the fields it must have, the fields it may have.
_FIELDS: dict[Kind, tuple[frozenset[str], frozenset[str]]] = {
    "points_multiplier": (frozenset({"multiplier_bp"}), frozenset()),
    "free_shipping": (frozenset(), frozenset({"minimum_spend"})),
    "percent_off": (frozenset({"percent_bp"}), frozenset({"applies_to"})),
    "early_access": (frozenset({"hours"}), frozenset()),
    "exclusive_skus": (frozenset({"skus"}), frozenset()),
    "service_level": (frozenset({"level"}), frozenset()),
    "custom": (frozenset(), frozenset()),
}
_EVERY_FIELD = set().union(*(needs | may for needs, may in _FIELDS.values()))


def parse_benefits(data: object, *, currency: str, pointer: str) -> tuple[Benefit, ...]:
    """Read a tier's benefits from JSON-able data.

    Raises:
        ValueError: not a list of benefits; the message begins with the JSON pointer of the fault.
    """
    parts = read_list(data, pointer=pointer)
    if len(parts) > MAX_BENEFITS:
        raise ValueError(f"{pointer}: at most {MAX_BENEFITS} benefits")
    benefits = tuple(
        _parse_benefit(part, currency=currency, pointer=f"{pointer}/{index}")
        for index, part in enumerate(parts)
    )
    for kind in _ONCE:
        if sum(benefit.kind == kind for benefit in benefits) > 1:
            raise ValueError(f"{pointer}: one {kind} at most")
    return benefits


def _parse_benefit(data: object, *, currency: str, pointer: str) -> Benefit:
    given = read_object(data, pointer=pointer, needs={"kind", "text"}, may=_EVERY_FIELD)
    kind = next((known for known in KINDS if known == given["kind"]), None)
    if kind is None:
        raise ValueError(f"{pointer}/kind: unknown kind of benefit; one of {', '.join(KINDS)}")
    needs, may = _FIELDS[kind]
    has = set(given) - {"kind", "text"}
    if needs - has:
        raise ValueError(f"{pointer}/{min(needs - has)}: belongs to every {kind}, and is missing")
    if has - needs - may:
        raise ValueError(f"{pointer}/{min(has - needs - may)}: belongs to another kind than {kind}")
    read: dict[str, object] = {}
    for name in sorted(has):
        field, reader = _READERS[name]
        read[field] = reader(given[name], currency, f"{pointer}/{name}")
    return Benefit(kind=kind, text=read_texts(given["text"], pointer=f"{pointer}/text"), **read)  # type: ignore[arg-type]


def _read_minimum_spend(value: object, currency: str, pointer: str) -> int:
    if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"{pointer}: an amount of money is needed")
    try:
        minor = to_minor(value, currency=currency)
    except ValueError as error:
        raise ValueError(f"{pointer}: {error}") from error
    if minor < 0:
        raise ValueError(f"{pointer}: an amount is never negative")
    return minor


def _read_level(value: object, _currency: str, pointer: str) -> str:
    if not isinstance(value, str) or _LEVEL.match(value) is None:
        raise ValueError(f"{pointer}: a small letter, then small letters, digits or _, at most 32")
    return value


def _read_applies_to(value: object, _currency: str, pointer: str) -> tuple[str, ...]:
    given = read_object(value, pointer=pointer, needs={"categories"})
    return _read_names(given["categories"], pointer=f"{pointer}/categories", most=MAX_CATEGORIES)


def _read_names(value: object, *, pointer: str, most: int) -> tuple[str, ...]:
    names = read_list(value, pointer=pointer)
    if not 1 <= len(names) <= most:
        raise ValueError(f"{pointer}: 1 to {most} of them are needed")
    found: list[str] = []
    for index, name in enumerate(names):
        if not isinstance(name, str) or not 1 <= len(name) <= 128 or name != name.strip():
            raise ValueError(f"{pointer}/{index}: 1 to 128 visible characters are needed")
        if name in found:
            raise ValueError(f"{pointer}/{index}: {name!r} stands twice")
        found.append(name)
    return tuple(found)


def _whole(low: int, high: int) -> Callable[[object, str, str], object]:
    return lambda value, _currency, pointer: read_whole(value, pointer=pointer, low=low, high=high)


_READERS: dict[str, tuple[str, Callable[[object, str, str], object]]] = {
    "multiplier_bp": ("multiplier_bp", _whole(0, 1_000_000)),
    "minimum_spend": ("minimum_spend_minor", _read_minimum_spend),
    "percent_bp": ("percent_bp", _whole(1, 10_000)),
    "applies_to": ("categories", _read_applies_to),
    "hours": ("hours", _whole(1, 8_760)),
    "skus": ("skus", lambda value, _currency, pointer: _read_names(value, pointer=pointer, most=MAX_SKUS)),
    "level": ("level", _read_level),
}


def benefit_json(benefit: Benefit, *, currency: str, locale: str) -> dict[str, object]:
    """Return a benefit as answers show it: kind, value, what a machine needs, and the text of a locale.

    `value` is the multiplier of a points_multiplier and null otherwise, from before there were other kinds.
    """
    return {
        "kind": benefit.kind,
        "value": benefit.multiplier_bp,
        **_machine_fields(benefit, currency=currency),
        "text": benefit.text[locale],
    }


def _machine_fields(benefit: Benefit, *, currency: str) -> dict[str, object]:
    least = benefit.minimum_spend_minor
    fields: dict[Kind, dict[str, object]] = {
        "points_multiplier": {"multiplier_bp": benefit.multiplier_bp},
        "free_shipping": {"minimum_spend": None if least is None else to_text(least, currency=currency)},
        "percent_off": {
            "percent_bp": benefit.percent_bp,
            "applies_to": {"categories": list(benefit.categories)} if benefit.categories else None,
        },
        "early_access": {"hours": benefit.hours},
        "exclusive_skus": {"skus": list(benefit.skus)},
        "service_level": {"level": benefit.level},
        "custom": {},
    }
    return fields[benefit.kind]
