"""Tokens: believed only when made here, for this member, in their window."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recommendations.attribution import AttributionKeys, sign_token, verify_token
from service.recommendations.errors import TokenExpired, TokenForeign, TokenForged

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = NOW + timedelta(days=60)
KEYS = AttributionKeys.derive(b"one")


def token(keys: AttributionKeys = KEYS, member_id: str | None = "m-1") -> str:
    return sign_token(keys, recommendation_id="rec_1", member_id=member_id, issued_at=NOW, window_end=END)


def test_a_token_says_what_was_signed() -> None:
    said = verify_token(KEYS, token(), member_id="m-1", now=NOW, recommendation_id="rec_1")
    assert (said.recommendation_id, said.issued_at, said.window_end) == ("rec_1", NOW, END)
    assert token().startswith("v1.")
    assert token().count(".") == 2


def test_nobodys_token_is_nobodys() -> None:
    assert verify_token(KEYS, token(member_id=None), member_id=None, now=NOW).recommendation_id == "rec_1"
    with pytest.raises(TokenForeign):
        verify_token(KEYS, token(member_id=None), member_id="m-1", now=NOW)


def test_the_member_cannot_be_read_from_a_token() -> None:
    import base64

    payload = token(member_id="somebody@example.com").split(".")[1]
    assert b"somebody" not in base64.urlsafe_b64decode(payload + "==")


def test_another_members_token_is_foreign() -> None:
    with pytest.raises(TokenForeign):
        verify_token(KEYS, token(), member_id="m-2", now=NOW)


def test_another_recommendations_token_is_foreign() -> None:
    with pytest.raises(TokenForeign):
        verify_token(KEYS, token(), member_id="m-1", now=NOW, recommendation_id="rec_2")


def test_a_token_expires_when_its_window_ends() -> None:
    assert verify_token(KEYS, token(), member_id="m-1", now=END - timedelta(seconds=1))
    with pytest.raises(TokenExpired):
        verify_token(KEYS, token(), member_id="m-1", now=END)


def test_a_token_of_another_installation_is_forged() -> None:
    with pytest.raises(TokenForged):
        verify_token(AttributionKeys.derive(b"two"), token(), member_id="m-1", now=NOW)


def test_after_rotation_older_tokens_still_verify_and_the_new_key_signs() -> None:
    rotated = AttributionKeys.derive(b"two", older=[b"one"])
    assert verify_token(rotated, token(), member_id="m-1", now=NOW)
    with pytest.raises(TokenForged):
        verify_token(KEYS, token(rotated), member_id="m-1", now=NOW)


@given(st.integers(0, 200), st.characters())
def test_a_changed_token_is_forged(position: int, character: str) -> None:
    whole = token()
    position %= len(whole)
    changed = whole[:position] + character + whole[position + 1 :]
    if changed == whole:
        return
    with pytest.raises(TokenForged):
        verify_token(KEYS, changed, member_id="m-1", now=NOW)


@given(st.text())
def test_anything_else_is_forged(rubbish: str) -> None:
    with pytest.raises(TokenForged):
        verify_token(KEYS, rubbish, member_id="m-1", now=NOW)


@given(st.binary(max_size=64), st.binary(max_size=200))
def test_a_signature_is_the_hmac_of_rfc_2104(secret: bytes, text: bytes) -> None:
    keys = AttributionKeys(current="k", secrets={"k": secret})
    assert keys.sign("k", text) == hmac.digest(secret, text, "sha256")
    assert keys.sign("k", text) == keys.sign("k", text)
