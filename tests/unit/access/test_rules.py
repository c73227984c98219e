"""What a key may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.access.rules import check_key, is_origin

NOW = datetime(2026, 11, 21, 11, 3, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "https://shop.example:8443",
        "http://localhost:3000",
        "https://xn--fiq228c.example",
        "http://127.0.0.1",
        "http://[::1]:8080",
    ],
)
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    assert is_origin(origin)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "",
        "shop.example",
        "https://",
        "https://shop.example/",
        "https://shop.example/path",
        "https://shop.example:443",
        "http://shop.example:80",
        "https://SHOP.example",
        "https://user@shop.example",
        "https://*.example",
        "ftp://shop.example",
        "https://shop.example\n",
        "https://shop..example",
        "https://-shop.example",
        "https://shop.example:0",
        "https://" + "a" * 300,
    ],
)
def test_anything_else_is_no_origin(text: str) -> None:
    assert not is_origin(text)


def test_only_a_storefront_key_names_origins() -> None:
    assert check_key(role="storefront", origins=["https://a.example"], expires_at=None, now=NOW) == []
    wrong = check_key(role="server", origins=["https://a.example"], expires_at=None, now=NOW)
    assert [error.pointer for error in wrong] == ["/origins"]


def test_a_bad_origin_is_pointed_at() -> None:
    wrong = check_key(role="storefront", origins=["https://a.example", "*"], expires_at=None, now=NOW)
    assert [error.pointer for error in wrong] == ["/origins/1"]


def test_a_key_does_not_end_before_it_begins() -> None:
    assert check_key(role="server", origins=[], expires_at=NOW + timedelta(seconds=1), now=NOW) == []
    assert [error.pointer for error in check_key(role="server", origins=[], expires_at=NOW, now=NOW)] == [
        "/expires_at"
    ]
