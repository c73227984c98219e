"""What later rooms may join: what each order earned, by which rule, what refunds took back of it; what was
outstanding at a moment, and what became of the points of each month.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Numeric,
    ScalarSelect,
    and_,
    case,
    column,
    func,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

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

earned_rows = (
    select(lots.c.member_key, lots.c.earned_at, lots.c.earned)
    .where(lots.c.order_key.is_not(None))
    .subquery("earned_rows")
)
"""What each order earned, with when and whose the points are now."""

_entries = ledger_transactions.join(
    postings, postings.c.transaction_key == ledger_transactions.c.transaction_key
)
_redeemed = and_(ledger_transactions.c.kind == "redeem", postings.c.to_account == "redeemed")
_given_back = and_(ledger_transactions.c.kind == "unredeem", postings.c.from_account == "redeemed")

spend_rows = (
    select(
        ledger_transactions.c.spend_id,
        func.max(ledger_transactions.c.transaction_key).label("transaction_key"),
        func.coalesce(func.sum(postings.c.points).filter(_redeemed), 0).label("points"),
        func.coalesce(func.sum(postings.c.points).filter(_given_back), 0).label("returned"),
    )
    .select_from(_entries)
    .where(ledger_transactions.c.spend_id.is_not(None))
    .group_by(ledger_transactions.c.spend_id)
    .subquery("spend_rows")
)
"""What was spent on each thing that is no order, and given back of it, with its last entry."""

adjustment_rows = (
    select(
        ledger_transactions.c.transaction_key,
        ledger_transactions.c.member_key,
        ledger_transactions.c.actor,
        ledger_transactions.c.recorded_at,
        case((postings.c.from_account == "issued", postings.c.points), else_=0).label("given"),
    )
    .select_from(_entries)
    .where(ledger_transactions.c.kind == "adjust")
    .subquery("adjustment_rows")
)
"""What staff gave or took by hand, one row for each posting of an entry; `given` is what was added."""

_owed = (
    select(func.coalesce(func.sum(postings.c.points), 0))
    .where(
        postings.c.transaction_key == ledger_transactions.c.transaction_key,
        postings.c.from_account == "debt",
    )
    .scalar_subquery()
)

missing_rows = (
    select(
        ledger_transactions.c.transaction_key,
        ledger_transactions.c.member_key,
        ledger_transactions.c.occurred_at,
        ledger_transactions.c.recorded_at,
        (ledger_transactions.c.shortfall + _owed).label("missing"),
    )
    .where(ledger_transactions.c.kind == "reverse")
    .subquery("missing_rows")
)
"""What each refund could not take back: let go, or owed from then on; 0 of most."""

# What stands now, less what entries dated after the moment did since: the later the moment, the less is read.
# What was due by then and is not posted counts as posted, as in rules.stand_at.
_OUTSTANDING = """
WITH later AS (
    SELECT p.member_key, p.lot_key,
           CAST(sum(CASE 'pending' WHEN from_account THEN points WHEN to_account THEN -points ELSE 0 END)
                AS bigint) AS pending,
           CAST(sum(CASE 'available' WHEN from_account THEN points WHEN to_account THEN -points ELSE 0 END)
                AS bigint) AS available,
           CAST(sum(CASE 'held' WHEN from_account THEN points WHEN to_account THEN -points ELSE 0 END)
                AS bigint) AS held,
           CAST(sum(CASE 'debt' WHEN from_account THEN -points WHEN to_account THEN points ELSE 0 END)
                AS bigint) AS debt
    FROM ledger_transactions t JOIN postings p USING (transaction_key) WHERE t.occurred_at > :at
    GROUP BY p.member_key, p.lot_key
), undone AS (
    SELECT p.*, l.earned_at, l.available_at, l.expires_at FROM later p JOIN lots l USING (lot_key)
), owed AS (
    SELECT member_key, CAST(sum(debt) AS bigint) AS debt
    FROM (SELECT member_key, debt FROM balances WHERE debt > 0
          UNION ALL SELECT member_key, debt FROM later WHERE debt <> 0) d
    GROUP BY member_key HAVING sum(debt) <> 0
), ended AS (
    SELECT p.lot_key, min(h.expires_at) AS freed_at, CAST(sum(p.points) AS bigint) AS points
    FROM point_holds h JOIN point_hold_lots p USING (hold_id)
    WHERE h.state = 'open' AND h.expires_at <= :at GROUP BY p.lot_key
), moved AS (
    SELECT DISTINCT ON (e.lot_key) e.lot_key, e.expires_before
    FROM lot_expiries e JOIN ledger_transactions t USING (transaction_key)
    WHERE t.occurred_at > :at ORDER BY e.lot_key, e.transaction_key
), sums AS (
    SELECT member_key, lot_key, coalesce(l.earned_at, u.earned_at) AS earned_at,
           coalesce(l.available_at, u.available_at) AS available_at,
           coalesce(l.expires_at, u.expires_at) AS expires_at,
           CASE WHEN l.pending THEN l.remaining ELSE 0 END + coalesce(u.pending, 0) AS pending,
           CASE WHEN l.pending THEN 0 ELSE coalesce(l.remaining - l.held, 0) END + coalesce(u.available, 0)
               AS available,
           coalesce(l.held, 0) + coalesce(u.held, 0) AS held
    FROM (SELECT * FROM lots WHERE remaining > 0) l FULL JOIN undone u USING (member_key, lot_key)
), standing AS (
    SELECT s.member_key, s.lot_key, s.earned_at, s.available,
           CASE WHEN s.available_at <= :at THEN 0 ELSE s.pending END AS waits,
           s.held - coalesce(e.points, 0) AS held,
           CASE WHEN s.available_at <= :at THEN s.pending ELSE 0 END + coalesce(e.points, 0) AS freed,
           coalesce(e.freed_at, s.available_at) AS freed_at,
           CASE WHEN m.lot_key IS NULL THEN s.expires_at ELSE m.expires_before END AS expires_at
    FROM sums s LEFT JOIN ended e USING (lot_key) LEFT JOIN moved m USING (lot_key)
    WHERE s.pending <> 0 OR s.available <> 0 OR s.held <> 0
), paying AS (
    SELECT s.member_key, s.lot_key, CAST(least(s.freed, greatest(0, o.debt - coalesce(
               sum(s.freed) OVER (PARTITION BY s.member_key ORDER BY s.freed_at, s.lot_key
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))) AS bigint) AS paid
    FROM standing s JOIN owed o USING (member_key) WHERE s.freed > 0
), effective AS (
    SELECT s.*, coalesce(p.paid, 0) AS paid,
           CASE WHEN s.expires_at <= :at AND s.waits = 0
                THEN greatest(s.expires_at, s.freed_at) END AS gone_at
    FROM standing s LEFT JOIN paying p USING (member_key, lot_key)
)
SELECT member_key, width_bucket(earned_at, CAST(:starts AS timestamptz[])) AS earned_in,
       width_bucket(gone_at, CAST(:starts AS timestamptz[])) AS gone_in,
       waits AS pending, held,
       CASE WHEN gone_at IS NULL THEN available + freed - paid ELSE 0 END AS available,
       paid, CASE WHEN gone_at IS NULL THEN 0 ELSE available + freed - paid END AS gone, 0 AS owed
FROM effective
UNION ALL
SELECT o.member_key, NULL, NULL, 0, 0, 0, 0, 0, o.debt - coalesce(p.paid, 0)
FROM owed o
LEFT JOIN (SELECT member_key, CAST(sum(paid) AS bigint) AS paid FROM paying GROUP BY member_key) p
     USING (member_key)
"""

outstanding_rows = (
    text(_OUTSTANDING)
    .columns(
        column("member_key", BigInteger),
        column("earned_in", Integer),
        column("gone_in", Integer),
        *(column(name, BigInteger) for name in ("pending", "held", "available", "paid", "gone", "owed")),
    )
    .subquery("outstanding_rows")
)
"""What members effectively had at the moment `at`, one row a lot, and one for what a member owes.

`earned_in` counts those of the ascending moments `starts` that a lot was earned after, so that it names a
month; null for what is owed. `paid` (a debt) and `gone` (expired, in the month `gone_in`) are due by `at` and
not posted. Other amounts are points; `available` is not net of what is `owed`.
"""

# A lot has all that was ever issued for it, less what entries issued later. `OFFSET 0` hides what the months
# are computed from: the planner would sort millions of rows for a few hundred groups.
_FLOWS = """
SELECT earned_in, moved_in, sum(issued) AS issued, sum(used) AS used, sum(gone) AS gone, sum(taken) AS taken
FROM (
    SELECT width_bucket(earned_at, CAST(:starts AS timestamptz[])) AS earned_in,
           width_bucket(earned_at, CAST(:starts AS timestamptz[])) AS moved_in,
           earned AS issued, 0 AS used, 0 AS gone, 0 AS taken
    FROM lots
    UNION ALL
    SELECT width_bucket(l.earned_at, CAST(:starts AS timestamptz[])),
           width_bucket(l.earned_at, CAST(:starts AS timestamptz[])),
           CASE 'issued' WHEN p.from_account THEN -p.points ELSE p.points END, 0, 0, 0
    FROM ledger_transactions t JOIN postings p USING (transaction_key) JOIN lots l ON l.lot_key = p.lot_key
    WHERE t.occurred_at > :at AND 'issued' IN (p.from_account, p.to_account)
    UNION ALL
    SELECT width_bucket(l.earned_at, CAST(:starts AS timestamptz[])),
           width_bucket(t.occurred_at, CAST(:starts AS timestamptz[])), 0,
           CASE 'redeemed' WHEN p.to_account THEN p.points WHEN p.from_account THEN -p.points ELSE 0 END,
           CASE 'expired' WHEN p.to_account THEN p.points WHEN p.from_account THEN -p.points ELSE 0 END,
           CASE WHEN p.to_account IN ('reversed', 'debt') THEN p.points
                WHEN p.from_account IN ('reversed', 'debt') THEN -p.points ELSE 0 END
    FROM postings p JOIN ledger_transactions t USING (transaction_key) JOIN lots l ON l.lot_key = p.lot_key
    WHERE t.occurred_at <= :at AND (p.from_account IN ('redeemed', 'expired', 'reversed', 'debt')
                                    OR p.to_account IN ('redeemed', 'expired', 'reversed', 'debt'))
    OFFSET 0
) f
GROUP BY earned_in, moved_in
"""

flow_rows = (
    text(_FLOWS)
    .columns(
        column("earned_in", Integer),
        column("moved_in", Integer),
        *(column(name, BigInteger) for name in ("issued", "used", "gone", "taken")),
    )
    .subquery("flow_rows")
)
"""What entries dated up to `at` did with the points earned in each month, by the month in which they did it.

`issued` less `used` (spent, less given back), `gone` (expired) and `taken` (by refunds, corrections, debts)
is what is open by its postings. Months are counted as in `outstanding_rows`.
"""

first_lot = (
    text("SELECT min(earned_at) AS earned_at FROM lots").columns(column("earned_at")).subquery("first_lot")
)
"""When the oldest points were earned, null where there are none."""

# The same arithmetic as store_due posts by, without writing: what is due counts as posted.
_EFFECTIVE = """
WITH account AS (
    SELECT pending, available, held, debt, lifetime_earned FROM balances WHERE member_key = {member_key}
), pieces AS (
    SELECT lot_key, CAST(NULL AS uuid) AS hold_id, remaining - held AS points, expires_at,
           pending AND available_at > :now AS waits,
           CASE WHEN pending AND available_at <= :now THEN available_at END AS freed_at
    FROM lots WHERE member_key = {member_key} AND remaining > 0 AND remaining > held
    UNION ALL
    SELECT l.lot_key, h.hold_id, p.points, l.expires_at, false, h.expires_at
    FROM point_holds h JOIN point_hold_lots p USING (hold_id)
    JOIN lots l ON l.lot_key = p.lot_key AND l.member_key = h.member_key AND l.remaining > 0
    WHERE h.member_key = {member_key} AND h.state = 'open' AND h.expires_at <= :now
), open AS (
    SELECT p.points, p.expires_at, p.waits, p.expires_at <= :now AND NOT p.waits AS lapsed,
           CASE WHEN p.hold_id IS NOT NULL THEN p.points ELSE 0 END AS unheld,
           CASE WHEN p.freed_at IS NULL THEN 0 ELSE least(p.points, greatest(0, a.debt - coalesce(
               sum(p.points) FILTER (WHERE p.freed_at IS NOT NULL) OVER earlier, 0))) END AS paid
    FROM account a, pieces p
    WINDOW earlier AS (ORDER BY p.freed_at, p.lot_key, p.hold_id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT a.held, a.debt, a.lifetime_earned, o.waits, coalesce(o.lapsed, false) AS lapsed, o.expires_at,
       CAST(coalesce(sum(o.points - o.paid), 0) AS bigint) AS points,
       CAST(coalesce(sum(o.paid), 0) AS bigint) AS paid,
       CAST(coalesce(sum(o.unheld), 0) AS bigint) AS unheld
FROM account a LEFT JOIN open o ON true
GROUP BY a.held, a.debt, a.lifetime_earned, o.waits, coalesce(o.lapsed, false), o.expires_at
"""


def effective_sql(member_key: str) -> str:
    """Return the query of a member's open points as they effectively stand at `:now`, by state and expiry."""
    return _EFFECTIVE.format(member_key=member_key)


def effective_points(member_key: ColumnElement[int]) -> ScalarSelect[Any]:
    """Return the rows of `effective_sql` for a member of the statement around it, as JSON; null without any.

    Ask with `now`; `service.ledger.operations.read_points` reads it.
    """
    rows = effective_sql(str(member_key))
    packed = text(
        # The name of a column, no one's input.
        "SELECT json_agg(json_build_array(held, debt, lifetime_earned, waits, lapsed, expires_at, "  # noqa: S608
        f"points, paid, unheld)) AS packed FROM ({rows}) AS effective"
    )
    return packed.columns(column("packed", JSONB)).scalar_subquery()
