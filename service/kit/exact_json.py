"""JSON read exactly: no number through a float, no name twice in one object, no NaN, not too deep."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

MAX_DEPTH = 32


def parse_json(raw: bytes) -> Any:
    """Return what `raw` holds; numbers with a fraction or an exponent are Decimals.

    Raises:
        ValueError: it is not UTF-8, not JSON, or nested too deep; the message follows on "the body" or
            "the line".
    """
    try:
        value = json.loads(
            raw.decode(),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_names,
        )
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    # Counting brackets is cheap and almost always enough.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError("is nested too deep")
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return members


def _depth(value: object) -> int:
    deepest = 0
    stack: list[tuple[object, int]] = [(value, 1)]
    while stack:
        inner, depth = stack.pop()
        deepest = max(deepest, depth)
        children = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        stack.extend((child, depth + 1) for child in children if isinstance(child, dict | list))
    return deepest
