"""What later rooms may join: what each order earned, by which rule, and what refunds took back of it."""

from __future__ import annotations

from sqlalchemy import Numeric, column, func, select, true

from service.ledger.models import ledger_transactions, postings
from service.ledger.rules import ONE_BP

reversal_rows = (
    select(ledger_transactions.c.member_key, ledger_transactions.c.order_key, postings.c.points)
    .select_from(
        ledger_transactions.join(
            postings, postings.c.transaction_key == ledger_transactions.c.transaction_key
        )
    )
    .where(ledger_transactions.c.kind == "reverse", postings.c.to_account == "reversed")
    .subquery("reversal_rows")
)
"""What refunds and cancellations took back of each order's award; several rows for one order."""

_rule = (
    func.jsonb_to_record(ledger_transactions.c.rule)
    .table_valued(
        column("eligible_minor", Numeric),
        column("points", Numeric),
        column("per_minor", Numeric),
        column("multiplier_bp", Numeric),
        name="rule",
    )
    .render_derived(with_types=True)
)
_par_numerator = _rule.c.eligible_minor * _rule.c.points

award_rows = (
    select(
        ledger_transactions.c.member_key,
        ledger_transactions.c.order_key,
        ledger_transactions.c.occurred_at,
        _par_numerator.label("par_numerator"),
        _rule.c.per_minor.label("par_denominator"),
        func.div(_par_numerator * _rule.c.multiplier_bp, _rule.c.per_minor * ONE_BP, type_=Numeric).label(
            "points"
        ),
    )
    .select_from(ledger_transactions.join(_rule, true()))
    .where(ledger_transactions.c.kind == "earn", ledger_transactions.c.rule.is_not(None))
    .subquery("award_rows")
)
"""Every award as its recorded rule computed it.

`par_numerator` ÷ `par_denominator` is what it would be at a multiplier of one, before it is rounded down;
`points` is what it came to.
"""
