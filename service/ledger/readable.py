"""What later rooms may join: what each order earned, by which rule, and what refunds took back of it."""

from __future__ import annotations

from sqlalchemy import Numeric, case, column, func, select, true

from service.ledger.models import ledger_transactions, lots, postings
from service.ledger.rules import ONE_BP

lot_rows = select(lots.c.order_key, lots.c.earned).subquery("lot_rows")
"""What each order earned; refunds take nothing from it. Orders that earned nothing have none."""

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
        column("granted", Numeric),
        name="rule",
    )
    .render_derived(with_types=True)
)
# An award by terms of its own says what it came to; a multiplier of nothing leaves nothing to scale.
_by_terms = _rule.c.granted.is_not(None)
_par_numerator = case((_by_terms, _rule.c.granted * ONE_BP), else_=_rule.c.eligible_minor * _rule.c.points)
_par_denominator = case(
    (_by_terms, func.greatest(_rule.c.multiplier_bp, 1, type_=Numeric)), else_=_rule.c.per_minor
)

award_rows = (
    select(
        ledger_transactions.c.member_key,
        ledger_transactions.c.order_key,
        ledger_transactions.c.occurred_at,
        _par_numerator.label("par_numerator"),
        _par_denominator.label("par_denominator"),
        func.coalesce(
            _rule.c.granted,
            func.div(
                _rule.c.eligible_minor * _rule.c.points * _rule.c.multiplier_bp,
                _rule.c.per_minor * ONE_BP,
                type_=Numeric,
            ),
        ).label("points"),
    )
    .select_from(ledger_transactions.join(_rule, true()))
    .where(ledger_transactions.c.kind == "earn", ledger_transactions.c.rule.is_not(None))
    .subquery("award_rows")
)
"""Every award as its recorded rule computed it.

`par_numerator` ÷ `par_denominator` is what it would be at a multiplier of one, before it is rounded down;
`points` is what it came to. An award by terms of its own (rates by category, caps) is scaled as a whole.
"""
