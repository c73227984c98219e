"""Reading parts of a definition from JSON, each fault named by its JSON pointer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

LOCALES = ("en", "zh-Hant")


def read_object(
    data: object, *, pointer: str, needs: set[str], may: set[str] | None = None
) -> Mapping[str, object]:
    """Return an object with all of `needs`, perhaps some of `may`, and nothing else.

    Raises:
        ValueError: it is another thing; the message begins with the pointer.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{pointer or '/'}: an object is needed")
    missing, unknown = needs - set(data), set(data) - needs - (may or set())
    if missing:
        raise ValueError(f"{pointer}/{min(missing)}: a field that is needed is missing")
    if unknown:
        name = min(unknown).replace("~", "~0").replace("/", "~1")
        raise ValueError(f"{pointer}/{name}: there is no such field")
    return data


def read_list(data: object, *, pointer: str) -> Sequence[object]:
    """Return a list.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise ValueError(f"{pointer}: a list is needed")
    return data


def read_whole(value: object, *, pointer: str, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{pointer}: a whole number from {low} to {high} is needed")
    return value


def read_texts(data: object, *, pointer: str) -> Mapping[str, str]:
    """Return a text of 1 to 200 characters for every locale.

    Raises:
        ValueError: one is missing, empty or too long.
    """
    texts = read_object(data, pointer=pointer, needs=set(LOCALES))
    for locale, value in texts.items():
        if not isinstance(value, str) or not value.strip() or len(value) > 200:
            raise ValueError(f"{pointer}/{locale}: a text of 1 to 200 characters is needed")
    return cast("Mapping[str, str]", texts)
