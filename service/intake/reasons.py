"""Why an order earns what it earns, rate by rate and limit by limit, from the award's own terms. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from service.earning.rules import ONE_BP, Boost, Rate, Terms
from service.kit.money import show_money, spread


def spread_over_lines(terms: Terms) -> list[int]:
    """Return what counts of each line in minor units, for showing: the parts sum exactly."""
    weights = terms.weights if sum(terms.weights) else (1,) * len(terms.weights)
    return spread(terms.counted_minor, weights=weights)


def explain_terms(terms: Terms, *, points: int, tier: str, currency: str, locale: str) -> list[str]:
    """Return the reasoning of an award in sentences: what counts, by which rate, what limits it.

    `tier` is the tier's name in that language; `points` is what the award came to.
    """
    chinese = locale == "zh-Hant"
    counted = _money(terms.counted_minor, currency, chinese)
    if terms.counted_minor < terms.minimum_minor:
        least = _money(terms.minimum_minor, currency, chinese)
        if chinese:
            return [f"可累積金額 {counted} 未達最低門檻 {least}，不累積點數。"]
        return [f"{counted} counts, and an order below {least} earns nothing."]
    sentences = [f"可累積金額為 {counted}。" if chinese else f"{counted} of the order counts."]
    sentences += _explain_rates(terms, currency=currency, chinese=chinese)
    sentences += _explain_multipliers(terms.multiplier_bp, terms.boosts, tier=tier, chinese=chinese)
    exact = terms.exact()
    whole = int(exact)
    if chinese:
        sentences.append(f"合計 {_decimal(exact)} 點，最後捨去小數為 {whole} 點。")
    else:
        sentences.append(f"Together {_decimal(exact)} points, rounded down once to {whole}.")
    return [*sentences, *_explain_caps(terms, whole=whole, points=points, chinese=chinese)]


def _explain_rates(terms: Terms, *, currency: str, chinese: bool) -> Iterator[str]:
    amounts: dict[int, int] = {}
    for amount, index in zip(spread_over_lines(terms), terms.chosen, strict=True):
        amounts[index] = amounts.get(index, 0) + amount
    for index, amount in sorted(amounts.items()):
        yield describe_rate(
            terms.rates[index], amount=_money(amount, currency, chinese), currency=currency, chinese=chinese
        )


def describe_rate(rate: Rate, *, amount: str, currency: str, chinese: bool) -> str:
    """Return what an amount earns by a rate, and why by that one."""
    by = "" if rate.by is None else (f"（{rate.by}）" if chinese else f" ({rate.by})")
    if rate.why == "excluded":
        return (
            f"{amount}{by} 排除在外，不累積點數。"
            if chinese
            else f"{amount}{by} is excluded and earns nothing."
        )
    if rate.why == "not_included":
        if chinese:
            return f"{amount} 不在累積範圍內，不累積點數。"
        return f"{amount} is not among what earns."
    per = _money(rate.per_minor, currency, chinese)
    times = "" if rate.multiplier_bp == ONE_BP else f" × {_times(rate.multiplier_bp)}"
    if chinese:
        return f"{amount}{by}：每 {per} 得 {rate.points} 點{times}。"
    noun = "1 point" if rate.points == 1 else f"{rate.points} points"
    return f"{amount}{by}: {noun} per {per}{times}."


def _explain_multipliers(
    multiplier_bp: int, boosts: Sequence[Boost], *, tier: str, chinese: bool
) -> Iterator[str]:
    if chinese:
        yield f"以「{tier}」等級計算：{_times(multiplier_bp)} 倍。"
        yield from (f"活動「{boost.name}」：{_times(boost.multiplier_bp)} 倍。" for boost in boosts)
    else:
        yield f"Times {_times(multiplier_bp)} as {tier}."
        yield from (f"Times {_times(boost.multiplier_bp)} for {boost.name}." for boost in boosts)


def _explain_caps(terms: Terms, *, whole: int, points: int, chinese: bool) -> Iterator[str]:
    if terms.cap_order is not None and whole > terms.cap_order:
        yield (
            f"單筆訂單上限為 {terms.cap_order} 點。"
            if chinese
            else f"One order earns at most {terms.cap_order} points."
        )
    within = whole if terms.cap_order is None else min(whole, terms.cap_order)
    if terms.day_left is not None and within > terms.day_left:
        yield (
            f"每日上限為 {terms.cap_member_day} 點，當日尚餘 {terms.day_left} 點。"
            if chinese
            else f"A day earns at most {terms.cap_member_day} points; {terms.day_left} of them were left."
        )
    if points < whole:
        cut = whole - points
        yield (
            f"超出上限的 {cut} 點不計。" if chinese else f"{cut} points above the limit are cut off for good."
        )


def describe_caps(terms: Terms) -> list[Mapping[str, object]]:
    """Return each limit of an award: its name, the most it lets through, and the points it cut off."""
    caps: list[Mapping[str, object]] = []
    within = terms.uncapped()
    for name, limit in (("per_order", terms.cap_order), ("per_member_day", terms.day_left)):
        if limit is not None:
            caps.append({"cap": name, "at_most": limit, "cut_off": max(0, within - limit)})
            within = min(within, limit)
    return caps


def exact_text(points: Fraction) -> str:
    """Return points before rounding: exactly where four decimals can say them, else cut off after them."""
    return _decimal(points)


def _decimal(value: Fraction) -> str:
    whole, part = divmod(int(value * 10_000), 10_000)
    return f"{whole}.{part:04d}".rstrip("0").rstrip(".")


def _times(multiplier_bp: int) -> str:
    return _decimal(Fraction(multiplier_bp, ONE_BP))


def _money(minor: int, currency: str, chinese: bool) -> str:
    return show_money(minor, currency=currency, locale="zh-Hant" if chinese else "en")
