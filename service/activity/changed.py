"""What changed of who took what since somebody last looked: noted by the database, taken once."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from service.activity import changed_store as store


@dataclass(frozen=True, slots=True)
class TakingChanges:
    """Facts that are new, and those that changed hands with whose they were when somebody last looked.

    Orders and cancellations by order key, refunds by refund key. `was_owner_of_order` and
    `was_owner_of_refund` hold facts that were there already.
    """

    orders: frozenset[int] = frozenset()
    cancelled: frozenset[int] = frozenset()
    refunds: frozenset[int] = frozenset()
    was_owner_of_order: dict[int, int] = field(default_factory=dict)
    was_owner_of_refund: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return (
            len(self.orders)
            + len(self.cancelled)
            + len(self.refunds)
            + len(self.was_owner_of_order)
            + len(self.was_owner_of_refund)
        )


def count_taking_changes(conn: Connection, *, most: int) -> int:
    """Return how many changes wait, counting to `most` at the utmost."""
    return store.count_changes(conn, most=most)


def take_taking_changes(conn: Connection) -> TakingChanges:
    """Take every change that the transaction sees; they are back if it does not commit."""
    keys: dict[str, set[int]] = {"order": set(), "cancellation": set(), "refund": set()}
    owners: dict[str, dict[int, int]] = {"order_owner": {}, "refund_owner": {}}
    for row in store.take_changes(conn):
        if row.kind in owners:
            # In the order of the changes: the first owner is who it was.
            owners[row.kind].setdefault(row.fact_key, row.was_key)
        else:
            keys[row.kind].add(row.fact_key)
    return TakingChanges(
        orders=frozenset(keys["order"]),
        cancelled=frozenset(keys["cancellation"]),
        refunds=frozenset(keys["refund"]),
        was_owner_of_order=_known(owners["order_owner"], keys["order"]),
        was_owner_of_refund=_known(owners["refund_owner"], keys["refund"]),
    )


def _known(owners: dict[int, int], new: set[int]) -> dict[int, int]:
    return {key: owner for key, owner in owners.items() if key not in new}


def forget_taking_changes(conn: Connection) -> None:
    """Forget every change that the transaction sees: everything is looked at anyway."""
    store.forget_changes(conn)
