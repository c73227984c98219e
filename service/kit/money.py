"""Exact money: integer minor units inside, decimal strings outside, never a float."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation

MAX_MINOR = 10**15
"""Largest amount taken, in minor units: sums of many still fit a bigint."""

_OTHER_EXPONENTS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_TWO = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD "
    "CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON "
    "RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TOP TRY TTD TWD TZS "
    "UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG"
)
EXPONENTS: dict[str, int] = dict.fromkeys(_TWO.split(), 2) | {
    code: exponent for exponent, codes in _OTHER_EXPONENTS.items() for code in codes.split()
}
"""Decimals of each currency (ISO 4217)."""

_SYMBOLS = {"TWD": "NT$", "GBP": "£", "USD": "US$", "EUR": "€", "JPY": "¥", "HKD": "HK$"}
_UNITS_ZH = {"TWD": "元", "GBP": "英鎊", "USD": "美元", "EUR": "歐元", "JPY": "日圓", "HKD": "港元"}

# The default context would round the 29th digit away without a word.
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])


def to_minor(amount: Decimal | str | int, *, currency: str) -> int:
    """Return an amount of money as integer minor units, exactly.

    Raises:
        ValueError: not a number, unknown currency, too large, or more decimals than the currency has.
    """
    exponent = exponent_of(currency)
    if isinstance(amount, float | bool):
        raise ValueError("money is never a float")
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise ValueError("not an amount of money") from None
    if not value.is_finite():
        raise ValueError("not an amount of money")
    if abs(value.adjusted()) > 30:
        raise ValueError("too large an amount" if value.adjusted() > 0 and value else "too many decimals")
    try:
        minor = value.scaleb(exponent, _EXACT)
    except Inexact:
        minor = None
    if minor is None or minor != minor.to_integral_value():
        raise ValueError(f"more decimals than {currency} has ({exponent})")
    if abs(minor) > MAX_MINOR:
        raise ValueError("too large an amount")
    return int(minor)


def to_text(minor: int, *, currency: str) -> str:
    """Return minor units as a decimal string: 123450 TWD is "1234.50"."""
    exponent = exponent_of(currency)
    if exponent == 0:
        return str(minor)
    sign, digits = ("-", str(-minor)) if minor < 0 else ("", str(minor))
    digits = digits.rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def show_money(minor: int, *, currency: str, locale: str) -> str:
    """Return an amount for people to read: grouped, without decimals that are all zero.

    2750.00 TWD is "NT$2,750", in Chinese "2,750 元"; a currency without a name of its own here goes by its
    ISO 4217 code, in front.
    """
    sign = "-" if minor < 0 else ""
    whole, _, decimals = to_text(abs(minor), currency=currency).partition(".")
    amount = f"{int(whole):,}" + (f".{decimals}" if int(decimals or "0") else "")
    if currency not in _SYMBOLS:
        return f"{currency} {sign}{amount}"
    if locale == "zh-Hant":
        return f"{sign}{amount} {_UNITS_ZH[currency]}"
    return f"{sign}{_SYMBOLS[currency]}{amount}"


def exponent_of(currency: str) -> int:
    """Return how many decimals a currency has.

    Raises:
        ValueError: not a currency of ISO 4217.
    """
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise ValueError("not an ISO 4217 currency code") from None


def divide_half_up(numerator: int, denominator: int) -> int:
    """Return numerator ÷ denominator rounded half up, for numerator ≥ 0 and denominator > 0."""
    return (2 * numerator + denominator) // (2 * denominator)


def spread(total: int, *, weights: Sequence[int]) -> list[int]:
    """Split `total` ≥ 0 in proportion to `weights` by largest remainder, so the parts sum exactly.

    Equal remainders go to the earlier part. All weights zero: everything goes to the first part.
    """
    if total == 0:
        return [0] * len(weights)
    whole = sum(weights)
    if whole == 0:
        return [total] + [0] * (len(weights) - 1) if weights else []
    parts = [total * weight // whole for weight in weights]
    remainders = [total * weight % whole for weight in weights]
    missing = total - sum(parts)
    for index in sorted(range(len(weights)), key=lambda i: (-remainders[i], i))[:missing]:
        parts[index] += 1
    return parts
