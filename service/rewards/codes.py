"""Voucher codes of our own: what they look like, and how a mistyped one is told with no look-up. Pure.

`TM-` and eighteen characters in groups of six, of Crockford's 32 (no I, L, O or U): seventeen drawn at
random, 85 bits, and one that checks the others. The check is Damm's scheme (H. M. Damm, *Total
anti-symmetrische Quasigruppen*, 2004) over the field GF(2^5): the interim value is multiplied by a generator
after each character is added to it, and ends at zero. One wrong character is always found, and so are two
that were exchanged, next to each other or up to thirty apart.
"""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_BITS = 85
"""How much of a code is drawn at random."""

_PREFIX = "TM"
_LENGTH = 18
_GROUP = 6
_VALUES = {sign: value for value, sign in enumerate(ALPHABET)} | {"O": 0, "I": 1, "L": 1}
# x⁵ + x² + 1, of which x is a generator.
_MODULUS = 0b100101


def make_code(random: int) -> str:
    """Return the code of a random number of `RANDOM_BITS` bits.

    Raises:
        ValueError: it has more.
    """
    if random < 0 or random >> RANDOM_BITS:
        raise ValueError(f"a code is made of {RANDOM_BITS} bits")
    values = [random >> shift & 31 for shift in range(RANDOM_BITS - 5, -1, -5)]
    return _spell([*values, _check(values)])


def looks_ours(text: str) -> bool:
    """Tell whether a text means to be a code of ours, right or mistyped, and nobody else's."""
    compact = _compact(text)
    return compact.startswith(_PREFIX) and (
        len(compact) == len(_PREFIX) + _LENGTH or text.strip().upper().startswith(f"{_PREFIX}-")
    )


def read_code(text: str) -> str | None:
    """Return a code of ours as it is kept, however it was typed; None when a character of it is wrong."""
    signs = _compact(text).removeprefix(_PREFIX)
    if len(signs) != _LENGTH or not all(sign in _VALUES for sign in signs):
        return None
    values = [_VALUES[sign] for sign in signs]
    return _spell(values) if _check(values) == 0 else None


def _compact(text: str) -> str:
    return "".join(sign for sign in text.upper() if sign != "-" and not sign.isspace())


def _check(values: list[int]) -> int:
    """Return the interim value after some characters, which is the one that takes it to zero."""
    interim = 0
    for value in values:
        interim = (interim ^ value) << 1
        if interim & 32:
            interim ^= _MODULUS
    return interim


def _spell(values: list[int]) -> str:
    signs = "".join(ALPHABET[value] for value in values)
    groups = (signs[start : start + _GROUP] for start in range(0, _LENGTH, _GROUP))
    return "-".join((_PREFIX, *groups))
