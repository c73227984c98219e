"""Earning rules as they are written: JSON in, compiled rules or every fault out. Pure.

What cannot be read is not kept, not even as a draft: nobody could say what it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from service.earning.rules import ONE_BP, EarningRules, EventRule, LineRate, Match
from service.kit.findings import Fault
from service.kit.money import MAX_MINOR, to_minor

MOST_RATES = 50
MOST_NAMES = 1_000
MOST_EVENTS = 50
MOST_POINTS = 1_000_000
MOST_BP = 1_000_000
EVENT_TYPE = re.compile(r"custom:[a-z0-9_.-]{1,64}\Z")
_TIER = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")

_TOP = (
    "currency", "base", "tiers", "counts", "include", "exclude", "rates", "minimum_order", "caps", "events",
)  # fmt: skip
_COUNTS = ("tax", "shipping", "points_paid", "vouchers_paid")


@dataclass(slots=True)
class _Reader:
    """Reads parts of a definition and notes what is wrong with them, instead of stopping at the first."""

    currency: str
    faults: list[Fault] = field(default_factory=list)

    def fault(self, name: str, pointer: str, en: str, zh: str) -> None:
        self.faults.append(Fault(name, pointer, {"en": en, "zh-Hant": zh}))

    def unreadable(self, pointer: str, en: str, zh: str) -> None:
        self.fault("not-readable", pointer, f"This cannot be read: {en}.", f"無法讀取這個部分：{zh}。")

    def mapping(self, data: object, pointer: str, names: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(data, Mapping):
            self.unreadable(pointer, "it must be an object", "必須是物件")
            return {}
        for name in data:
            if name not in names:
                known = ", ".join(names)
                self.fault(
                    "unknown-field",
                    f"{pointer}/{name}",
                    f"There is no “{name}” here. Known are: {known}.",
                    f"這裡沒有「{name}」。可用的有：{known}。",
                )
        return data

    def array(self, data: object, pointer: str, most: int) -> Sequence[Any]:
        if not isinstance(data, list):
            self.unreadable(pointer, "it must be a list", "必須是清單")
            return ()
        if len(data) > most:
            self.fault(
                "too-many",
                pointer,
                f"There are {len(data):,} entries; at most {most:,} are possible.",
                f"共有 {len(data):,} 項，最多 {most:,} 項。",
            )
        return data[:most]

    def whole(self, data: object, pointer: str, least: int, most: int) -> int:
        if isinstance(data, bool) or not isinstance(data, int) or not least <= data <= most:
            self.unreadable(
                pointer,
                f"it must be a whole number from {least:,} to {most:,}",
                f"必須是 {least:,} 到 {most:,} 之間的整數",
            )
            return least
        return data

    def flag(self, data: object, pointer: str) -> bool:
        if not isinstance(data, bool):
            self.unreadable(pointer, "it must be true or false", "必須是 true 或 false")
            return False
        return data

    def money(self, data: object, pointer: str, *, least: int) -> int:
        try:
            if isinstance(data, bool) or not isinstance(data, str | int):
                raise ValueError("not an amount of money")
            minor = to_minor(Decimal(data) if isinstance(data, int) else data, currency=self.currency)
        except ValueError as error:
            self.unreadable(pointer, f"{error}", "不是有效的金額")
            return least
        if not least <= minor <= MAX_MINOR:
            self.unreadable(pointer, "the amount is out of range", "金額超出範圍")
            return least
        return minor

    def names(self, data: object, pointer: str) -> frozenset[str]:
        found = []
        for index, name in enumerate(self.array(data, pointer, MOST_NAMES)):
            if isinstance(name, str) and 1 <= len(name) <= 128:
                found.append(name)
            else:
                self.unreadable(
                    f"{pointer}/{index}", "it must be text of 1 to 128 characters", "必須是 1 到 128 字的文字"
                )
        return frozenset(found)

    def given(self, data: Mapping[str, Any], name: str, read: Callable[[Any], Any], otherwise: Any) -> Any:
        """Return what is read of a name that may be left out."""
        return otherwise if data.get(name) is None else read(data[name])


def read_rules(
    definition: Mapping[str, Any], *, version: int, currency: str
) -> tuple[EarningRules | None, list[Fault]]:
    """Return the rules that a definition says, or else every fault that can be seen in it.

    `currency` is the programme's: amounts are in no other.
    """
    reader = _Reader(currency)
    data = reader.mapping(definition, "", _TOP)
    if data.get("currency") != currency:
        reader.fault(
            "another-currency",
            "/currency",
            f"The programme counts in {currency}; write currency and amounts in it.",
            f"本會員計畫以 {currency} 計算，請以此幣別填寫。",
        )
    tiers = reader.given(data, "tiers", lambda given: _read_tiers(reader, given), (True, {}))
    counts = reader.given(data, "counts", lambda given: _read_counts(reader, given), {})
    caps = reader.given(data, "caps", lambda given: _read_caps(reader, given), {})
    rules = EarningRules(
        version=version,
        base=reader.given(data, "base", lambda given: _read_base(reader, given, "/base"), None),
        tier_multiplier=tiers[0],
        tier_bonus_bp=tiers[1],
        counts_tax=counts.get("tax"),
        counts_shipping=counts.get("shipping", False),
        counts_points_paid=counts.get("points_paid", False),
        counts_vouchers_paid=counts.get("vouchers_paid", False),
        included=reader.given(data, "include", lambda given: _read_match(reader, given, "/include"), None),
        excluded=reader.given(data, "exclude", lambda given: _read_match(reader, given, "/exclude"), Match()),
        rates=reader.given(data, "rates", lambda given: _read_rates(reader, given), ()),
        minimum_minor=reader.given(
            data, "minimum_order", lambda given: reader.money(given, "/minimum_order", least=0), 0
        ),
        cap_order=caps.get("per_order"),
        cap_member_day=caps.get("per_member_day"),
        events=reader.given(data, "events", lambda given: _read_events(reader, given), {}),
    )
    return (None if reader.faults else rules), reader.faults


def _read_base(reader: _Reader, given: object, pointer: str) -> tuple[int, int]:
    data = reader.mapping(given, pointer, ("points", "per"))
    return (
        reader.whole(data.get("points"), f"{pointer}/points", 0, MOST_POINTS),
        reader.money(data.get("per"), f"{pointer}/per", least=1),
    )


def _read_tiers(reader: _Reader, given: object) -> tuple[bool, dict[str, int]]:
    data = reader.mapping(given, "/tiers", ("multiplier", "bonus_bp"))
    bonus = {}
    if data.get("bonus_bp") is not None:
        for tier, value in dict(data["bonus_bp"] if isinstance(data["bonus_bp"], Mapping) else {}).items():
            if not _TIER.match(tier):
                reader.unreadable(
                    f"/tiers/bonus_bp/{tier}", "it must be the code of a tier", "必須是等級代碼"
                )
            bonus[tier] = reader.whole(value, f"/tiers/bonus_bp/{tier}", 0, MOST_BP)
        if not isinstance(data["bonus_bp"], Mapping):
            reader.unreadable("/tiers/bonus_bp", "it must be an object", "必須是物件")
    multiplied = reader.given(data, "multiplier", lambda flag: reader.flag(flag, "/tiers/multiplier"), True)
    return multiplied, bonus


def _read_counts(reader: _Reader, given: object) -> dict[str, bool]:
    data = reader.mapping(given, "/counts", _COUNTS)
    return {
        name: reader.flag(data[name], f"/counts/{name}") for name in _COUNTS if data.get(name) is not None
    }


def _read_caps(reader: _Reader, given: object) -> dict[str, int]:
    data = reader.mapping(given, "/caps", ("per_order", "per_member_day"))
    return {
        name: reader.whole(data[name], f"/caps/{name}", 1, 10**12)
        for name in ("per_order", "per_member_day")
        if data.get(name) is not None
    }


def _read_match(reader: _Reader, given: object, pointer: str) -> Match:
    data = reader.mapping(given, pointer, ("skus", "categories"))
    return _match_in(reader, data, pointer)


def _match_in(reader: _Reader, data: Mapping[str, Any], pointer: str) -> Match:
    match = Match(
        reader.given(data, "skus", lambda names: reader.names(names, f"{pointer}/skus"), frozenset()),
        reader.given(
            data, "categories", lambda names: reader.names(names, f"{pointer}/categories"), frozenset()
        ),
    )
    if not (match.skus or match.categories):
        reader.unreadable(pointer, "name at least one sku or category", "至少要有一個 sku 或類別")
    return match


def _read_rates(reader: _Reader, given: object) -> tuple[LineRate, ...]:
    rates = []
    for index, one in enumerate(reader.array(given, "/rates", MOST_RATES)):
        pointer = f"/rates/{index}"
        data = reader.mapping(one, pointer, ("skus", "categories", "points", "per", "multiplier_bp"))
        base = None
        if "points" in data or "per" in data:
            own = {name: data[name] for name in ("points", "per") if name in data}
            base = _read_base(reader, own, pointer)
        elif data.get("multiplier_bp") is None:
            reader.unreadable(
                pointer, "give points and per, or multiplier_bp", "請填寫 points 與 per，或 multiplier_bp"
            )
        times = ONE_BP
        if data.get("multiplier_bp") is not None:
            times = reader.whole(data["multiplier_bp"], f"{pointer}/multiplier_bp", 0, MOST_BP)
        points, per = base if base is not None else (None, None)
        rates.append(LineRate(_match_in(reader, data, pointer), points, per, times))
    return tuple(rates)


def _read_events(reader: _Reader, given: object) -> dict[str, EventRule]:
    names = ("type", "points", "per_member_day", "per_member", "once_per_sku", "from_storefront")
    found: dict[str, EventRule] = {}
    for index, one in enumerate(reader.array(given, "/events", MOST_EVENTS)):
        pointer = f"/events/{index}"
        data = reader.mapping(one, pointer, names)
        kind = data.get("type")
        if not isinstance(kind, str) or not EVENT_TYPE.match(kind):
            reader.unreadable(f"{pointer}/type", "it must be custom:name", "必須是 custom:名稱")
            continue
        if kind in found:
            reader.fault(
                "event-twice",
                f"{pointer}/type",
                f"There is a rule for {kind} already. Join the two.",
                f"{kind} 已有規則，請合併。",
            )
        found[kind] = EventRule(
            type=kind,
            points=reader.whole(data.get("points"), f"{pointer}/points", 1, MOST_POINTS),
            per_member_day=_limit(reader, data, "per_member_day", pointer),
            per_member=_limit(reader, data, "per_member", pointer),
            once_per_sku=_flag(reader, data, "once_per_sku", pointer),
            from_storefront=_flag(reader, data, "from_storefront", pointer),
        )
    return found


def _limit(reader: _Reader, data: Mapping[str, Any], name: str, pointer: str) -> int | None:
    if data.get(name) is None:
        return None
    return reader.whole(data[name], f"{pointer}/{name}", 1, MOST_POINTS)


def _flag(reader: _Reader, data: Mapping[str, Any], name: str, pointer: str) -> bool:
    return data.get(name) is not None and reader.flag(data[name], f"{pointer}/{name}")
