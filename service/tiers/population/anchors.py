"""From when years anchored on the tier run as of a past day, where the log of movements does not say it.

The log tells movements of the tier held. A rise that a refund undid gives the stay before it back, which
began earlier than the movement; a pin hides what the rating does under it; a merge may begin another stay
without a movement. Whoever was in one of these cases is folded, as the first reader would; that is few of
many.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date

from sqlalchemy import Connection

from service.kit.clock import last_moment
from service.members import operations as members
from service.programme.operations import Programme
from service.tiers.lives import Life, list_ended_lives, stream_lives
from service.tiers.periods import MembershipYear, Window
from service.tiers.population.store_anchors import list_unclear
from service.tiers.population.store_metrics import Anchors, Keys
from service.tiers.resuming import read_pins
from service.tiers.rulesets import recall_timeline

_CHUNK = 1_000
"""Members folded together: their facts are in memory at once."""


def find_anchors(
    conn: Connection,
    *,
    windows: Collection[Window],
    day: date,
    programme: Programme,
    past: bool,
    keys: Keys | None = None,
) -> Anchors:
    """Return, for those of some members (None: all) of whom it is unclear, since when their tier counts.

    Nobody, where no window is anchored on the tier, or `day` is not past: stored states say it.
    """
    found = Anchors(anchored_keys=[], anchored_from=[])
    if not past or MembershipYear("tier") not in windows:
        return found
    timeline, moment = recall_timeline(conn), last_moment(day, timezone=programme.timezone)
    unclear = list_unclear(conn, day=day, timezone=programme.timezone, keys=keys)
    for first in range(0, len(unclear), _CHUNK):
        some = unclear[first : first + _CHUNK]
        pins = read_pins(conn, member_keys=some)
        for life in _lives(conn, some):
            member = life.until(moment).fold(
                timeline=timeline,
                programme=programme,
                until=day,
                pins=pins.get(life.member_key, ()),
                at=moment,
            )
            found["anchored_keys"].append(life.member_key)
            found["anchored_from"].append(member.rated.since)
    return found


def _lives(conn: Connection, keys: list[int]) -> Iterator[Life]:
    survivors = members.find_survivors(conn, member_keys=keys)
    yield from stream_lives(conn, member_keys=[key for key in keys if survivors[key] == key])
    yield from list_ended_lives(conn, member_keys=[key for key in keys if survivors[key] != key])
