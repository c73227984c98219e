"""Ids of our own: UUIDv7 behind a prefix, in one spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.ids import new_id, new_uuid, parse_id

moments = st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC))
NOW = datetime(2026, 11, 21, 11, 3, 11, 123_456, tzinfo=UTC)


@given(now=moments)
def test_a_new_uuid_has_version_7_and_the_rfc_variant(now: datetime) -> None:
    uuid = new_uuid(now)
    assert uuid.version == 7
    assert uuid.variant == "specified in RFC 4122"


@given(now=moments)
def test_an_id_tells_its_prefix_and_its_millisecond(now: datetime) -> None:
    uuid, made_at = parse_id("rec", new_id("rec", now))
    assert isinstance(uuid, UUID)
    assert timedelta(0) <= now - made_at < timedelta(milliseconds=1)


def test_ids_of_later_milliseconds_sort_later() -> None:
    ids = [new_id("red", NOW + timedelta(milliseconds=i)) for i in range(50)]
    assert ids == sorted(ids)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id("red", NOW) for _ in range(1000)}) == 1000


GOOD = "rec_01a1fdc6421378f59032b53226135768"


@pytest.mark.parametrize(
    "value",
    [
        GOOD.replace("rec_", "hold_"),
        GOOD.upper(),
        GOOD.replace("rec_", "rec_").upper().replace("REC_", "rec_"),
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        "rec_+" + GOOD[5:],
        "rec_" + GOOD[4:12] + "_" + GOOD[13:],
        "rec_{" + GOOD[5:-1] + "}",
        "rec_" + "0" * 32,
        "rec_" + "f" * 12 + "7fff8fffffffffffffff",
        "rec_" + GOOD[4:16] + "4" + GOOD[17:],
        "rec_",
        "",
        GOOD[4:],
    ],
)
def test_anything_but_the_one_spelling_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a rec_ id"):
        parse_id("rec", value)
