"""What later rooms may join: what each order earned, by which rule, and what refunds took back of it."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import ColumnElement, Numeric, cast, func, select

from service.ledger.models import ledger_transactions, postings
from service.ledger.rules import ONE_BP

_reversals = ledger_transactions.alias("reversals")
_taken_back = (
    select(func.coalesce(func.sum(postings.c.points), 0))
    .select_from(_reversals.join(postings, postings.c.transaction_key == _reversals.c.transaction_key))
    .where(
        _reversals.c.order_key == ledger_transactions.c.order_key,
        _reversals.c.kind == "reverse",
        postings.c.to_account == "reversed",
    )
    .correlate(ledger_transactions)
    .scalar_subquery()
)


def _recorded(name: str) -> ColumnElement[Decimal]:
    return cast(ledger_transactions.c.rule[name].astext, Numeric)


_par_numerator = _recorded("eligible_minor") * _recorded("points")
_par_denominator = _recorded("per_minor")

award_rows = (
    select(
        ledger_transactions.c.member_key,
        ledger_transactions.c.occurred_at,
        _par_numerator.label("par_numerator"),
        _par_denominator.label("par_denominator"),
        func.div(_par_numerator * _recorded("multiplier_bp"), _par_denominator * ONE_BP, type_=Numeric).label(
            "points"
        ),
        _taken_back.label("taken_back"),
    )
    .where(ledger_transactions.c.kind == "earn", ledger_transactions.c.rule.is_not(None))
    .subquery("award_rows")
)
"""Every award as its recorded rule computed it.

`par_numerator` ÷ `par_denominator` is what it would be at a multiplier of one, before it is rounded down;
`points` is what it came to, `taken_back` how much of that refunds of its order reversed.
"""
