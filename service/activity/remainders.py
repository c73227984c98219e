"""What is left of each line of an order after all that was given back of it: exact fractions. Pure.

A refund's lines say which goods came back; what it gives back beyond them, or without naming any, is spread
over all that is left. The answer depends on what was given back alone, never on the order in which it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class OrderedLine:
    """A line as it was recorded; `amount_minor` after all discounts, in the order's currency."""

    item_key: int
    quantity: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class GivenBack:
    """One thing given back of an order: `amount` in minor units of the order's currency.

    `lines` are (item key, quantity, amount or None) as the refund names them; a cancellation takes all.
    """

    amount: Fraction
    lines: tuple[tuple[int, int, Fraction | None], ...] = ()
    is_cancellation: bool = False


def left_of_lines(lines: Sequence[OrderedLine], given_back: Sequence[GivenBack]) -> list[Fraction]:
    """Return what part of each line is left, from 0 to 1."""
    if any(piece.is_cancellation for piece in given_back):
        return [Fraction(0)] * len(lines)
    worth: dict[int, int] = {}
    quantity: dict[int, int] = {}
    for line in lines:
        worth[line.item_key] = worth.get(line.item_key, 0) + line.amount_minor
        quantity[line.item_key] = quantity.get(line.item_key, 0) + line.quantity
    whole = sum(worth.values())
    named = dict.fromkeys(worth, Fraction(0))
    unnamed = Fraction(0)
    for piece in given_back:
        parts = _name_parts(piece, worth, quantity)
        unnamed += piece.amount - sum(parts.values())
        for item_key, amount in parts.items():
            named[item_key] += amount
    for item_key, amount in named.items():
        # More came back of an item than was paid for it: the rest is not of these goods.
        beyond = max(Fraction(0), amount - worth[item_key])
        named[item_key] -= beyond
        unnamed += beyond
    rest = whole - sum(named.values())
    kept = max(Fraction(0), 1 - unnamed / rest) if rest > 0 else Fraction(0)
    return [
        kept * (1 - named[line.item_key] / worth[line.item_key]) if worth[line.item_key] else kept
        for line in lines
    ]


def _name_parts(piece: GivenBack, worth: dict[int, int], quantity: dict[int, int]) -> dict[int, Fraction]:
    """Return how much of one refund is about which item: a line without an amount counts by its quantity.

    Where its lines come to more than the refund, each gets its share.
    """
    parts: dict[int, Fraction] = {}
    for item_key, count, given in piece.lines:
        if item_key in worth:
            by_count = Fraction(worth[item_key] * min(count, quantity[item_key]), quantity[item_key])
            amount = by_count if given is None else given
            parts[item_key] = parts.get(item_key, Fraction(0)) + amount
    total = sum(parts.values())
    if total > piece.amount:
        parts = {item_key: amount * piece.amount / total for item_key, amount in parts.items()}
    return parts
