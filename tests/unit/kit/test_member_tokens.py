"""A token says what we signed, and nothing else is believed."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kit.member_tokens import MemberClaim, derive_key, read_token, sign_token

KEY = derive_key(b"a test's own")
CLAIM = MemberClaim("key_1", "m1", datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC))


@given(member_id=st.text(min_size=1, max_size=128, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_token_says_what_was_signed(member_id: str) -> None:
    claim = MemberClaim("key_019aa6c0f0d07b1f8d0f3f0a5f1e2d3c", member_id, CLAIM.expires_at)
    token = sign_token(claim, key=KEY)
    assert read_token(token, key=KEY) == claim
    assert token.isascii()
    assert " " not in token


@given(place=st.integers(0, 200), change=st.characters(codec="ascii"))
def test_a_token_with_one_character_changed_is_not_believed(place: int, change: str) -> None:
    token = sign_token(CLAIM, key=KEY)
    place %= len(token)
    changed = token[:place] + change + token[place + 1 :]
    assert changed == token or place < 4 or read_token(changed, key=KEY) is None


def test_a_token_signed_under_another_key_is_not_believed() -> None:
    assert read_token(sign_token(CLAIM, key=derive_key(b"another's")), key=KEY) is None


@pytest.mark.parametrize("token", ["tmt_", "tmt_.", "tmt_a.b", "tmt_é.b", "tmt_" + "a" * 2000, "tmt_a"])
def test_what_is_no_token_is_not_believed(token: str) -> None:
    assert read_token(token, key=KEY) is None


def test_a_payload_of_another_version_is_not_believed_even_when_signed() -> None:
    import hmac

    payload = base64.urlsafe_b64encode(b'[2,"key_1","m1",1]').decode().rstrip("=")
    mac = base64.urlsafe_b64encode(hmac.digest(KEY, payload.encode(), "sha256")).decode().rstrip("=")
    assert read_token(f"tmt_{payload}.{mac}", key=KEY) is None
