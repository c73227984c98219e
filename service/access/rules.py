"""What a key may be: pure checks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from service.kit.errors import FieldError

LONGEST_OVERLAP_SECONDS = 7 * 86_400
LONGEST_TOKEN_SECONDS = 3_600

# scheme://host[:port], lower case, as browsers write it (RFC 6454 §6.2).
ORIGIN_PATTERN = (
    r"^(https://|http://)([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])"
    r"(:[1-9][0-9]{0,4})?$"
)
_ORIGIN = re.compile(ORIGIN_PATTERN, re.ASCII)
_DEFAULT_PORTS = ("http://", ":80"), ("https://", ":443")


def is_origin(text: str) -> bool:
    """Tell whether `text` is an origin as browsers send it: no path, no default port, no wildcard."""
    if len(text) > 255 or not _ORIGIN.fullmatch(text):
        return False
    return not any(text.startswith(scheme) and text.endswith(port) for scheme, port in _DEFAULT_PORTS)


def check_key(
    *, role: str, origins: Sequence[str], expires_at: datetime | None, now: datetime
) -> list[FieldError]:
    """Return what is wrong with a key that is about to be made; nothing if it may be."""
    wrong = [
        FieldError("an origin such as https://shop.example", pointer=f"/origins/{place}")
        for place, origin in enumerate(origins)
        if not is_origin(origin)
    ]
    if origins and role != "storefront":
        wrong.append(FieldError("only a storefront key is used by pages", pointer="/origins"))
    if expires_at is not None and expires_at <= now:
        wrong.append(FieldError("already over", pointer="/expires_at"))
    return wrong
