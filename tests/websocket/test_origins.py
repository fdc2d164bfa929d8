"""`broker.websocket.origins`: who is let in, as a table."""

from __future__ import annotations

import pytest

from broker.websocket.origins import Origins, host_and_port, normal_origin, origins_of
from tests.statements import statement

SAME = ("same-origin",)
GOOD = ("https://good.example",)


@statement("RFC6455-10.2")
@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "good.example", True),
        (None, "", True),
        ("http://good.example", "good.example", True),
        ("http://good.example:80", "good.example", True),
        ("http://good.example", "good.example:80", True),
        ("https://good.example", "good.example", True),
        ("https://good.example:443", "good.example", True),
        ("https://good.example", "good.example:443", True),
        ("HTTP://Good.Example", "gOOD.eXAMPLE", True),
        ("http://good.example:8080", "good.example:8080", True),
        ("http://192.168.1.5:8080", "192.168.1.5:8080", True),
        ("http://[fe80::1]:8080", "[FE80::1]:8080", True),
        ("http://good.example:8080", "good.example", False),
        ("http://good.example", "good.example:8080", False),
        ("https://good.example", "good.example:80", False),
        ("http://good.example:8081", "good.example:8080", False),
        ("http://good.example.evil", "good.example", False),
        ("http://good.evil", "good.example", False),
        ("http://evilgood.example", "good.example", False),
        ("http://sub.good.example", "good.example", False),
        ("http://good.example@evil.example", "good.example", False),
        ("http://evil.example:80@good.example", "good.example", False),
        ("http://user@good.example", "good.example", False),
        ("http://good.example/", "good.example", False),
        ("http://good.example/path", "good.example", False),
        ("http://good.example#", "good.example", False),
        ("http://good.example:", "good.example", False),
        ("http://good.example\t", "good.example", False),
        ("http://good.example http://evil", "good.example", False),
        ("http://good.example:080808", "good.example:80808", False),
        ("ftp://good.example", "good.example", False),
        ("file://", "good.example", False),
        ("null", "null", False),
        ("null", "good.example", False),
        ("", "", False),
        ("", "good.example", False),
        ("same-origin", "good.example", False),
        ("*", "good.example", False),
        ("http://", "", False),
        ("http://good.example", "", False),
        ("http://good.example", "good.example/x", False),
        ("http://good.example", "user@good.example", False),
        ("http://göod.example", "göod.example", False),
        ("http://xn--god-sna.example", "xn--god-sna.example", True),
        ("http://göod.example", "xn--god-sna.example", False),
        ("http://xn--god-sna.example", "good.example", False),
        ("http://good.example.", "good.example", False),
        ("http://good.example", "good.example.", False),
        ("http://good.examp", "good.example", False),
        ("http://good.example\\@evil.example", "good.example", False),
        ("http://good.example%00.evil", "good.example", False),
        ("http://good.example\u2024", "good.example", False),
        ("http://\uff47ood.example", "good.example", False),
        ("http://good.example\u212a", "good.examplek", False),  # the Kelvin sign, whose lower case is k
        ("http://good.example, http://good.example", "good.example", False),
        ("http:good.example", "good.example", False),
        ("//good.example", "good.example", False),
        ("http://2130706433", "127.0.0.1", False),
        ("http://[::ffff:127.0.0.1]", "127.0.0.1", False),
        # pages of this machine, and only at a broker that is called so
        ("http://localhost:3000", "localhost:8080", True),
        ("https://localhost", "127.0.0.1:8080", True),
        ("http://127.0.0.1:5173", "localhost:8080", True),
        ("http://[::1]:5173", "[::1]:8080", True),
        ("http://localhost:3000", "good.example", False),
        ("http://localhost.evil", "localhost:8080", False),
        ("http://127.0.0.1.evil", "127.0.0.1:8080", False),
        ("http://good.example", "localhost:8080", False),
        ("null", "localhost:8080", False),
    ],
)
def test_same_origin(origin: str | None, host: str, allowed: bool) -> None:
    assert Origins(SAME).allow(origin, host) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://good.example", "good.example", True),
        ("https://good.example:8443", "good.example:8443", True),
        ("http://good.example", "good.example", False),
        ("http://good.example:8443", "good.example:8443", False),
        ("http://localhost:3000", "localhost:8443", True),
    ],
)
def test_same_origin_over_tls_of_ours_wants_an_encrypted_page(origin: str, host: str, allowed: bool) -> None:
    assert Origins(SAME).allow(origin, host, secure=True) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://rebound.evil:8080", "rebound.evil:8080", False),
        ("http://localhost:3000", "localhost:8080", True),
        ("http://localhost:3000", "127.0.0.1:8080", True),
        ("http://localhost:3000", "rebound.evil:8080", False),
        (None, "anything", True),
    ],
)
def test_a_name_rebound_to_loopback_is_no_same_origin_there(origin: str | None, host: str, allowed: bool) -> None:
    assert Origins(SAME).allow(origin, host, loopback=True) is allowed


def test_a_listed_origin_is_let_in_at_loopback_for_a_reverse_proxy() -> None:
    assert Origins((*SAME, *GOOD)).allow("https://good.example", "good.example", loopback=True)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://good.example", True),
        ("https://good.example:443", True),
        ("HTTPS://GOOD.example", True),
        (None, True),
        ("http://good.example", False),
        ("https://good.example:8443", False),
        ("https://good.example.evil", False),
        ("https://good.evil", False),
        ("https://good.exampl", False),
        ("https://good.example.", False),
        ("https://sub.good.example", False),
        ("https://evil.example/https://good.example", False),
        ("https://good.example\u200b", False),
        ("https://g\u043eod.example", False),  # a Cyrillic letter
        ("wss://good.example", False),
        ("https://good.example https://good.example", False),
        ("https://good.example/", False),
        ("https://x@good.example", False),
        ("null", False),
        ("http://broker.example", False),
    ],
)
def test_a_listed_origin_is_compared_as_a_whole(origin: str | None, allowed: bool) -> None:
    assert Origins(GOOD).allow(origin, "broker.example") is allowed


def test_other_texts_are_compared_as_they_are() -> None:
    origins = Origins(("null", "capacitor://localhost"))
    assert origins.allow("null", "h")
    assert origins.allow("capacitor://localhost", "h")
    assert not origins.allow("capacitor://LOCALHOST", "h")
    assert not origins.allow("file://", "h")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", None, "%%"])
def test_a_star_lets_every_page_in(origin: str | None) -> None:
    assert Origins(("*",)).allow(origin, "h", loopback=True)


def test_no_entry_lets_only_programs_in() -> None:
    assert Origins(()).allow(None, "h")
    assert not Origins(()).allow("http://h", "h")


def test_the_words_of_the_setting_are_no_origins() -> None:
    assert not origins_of(SAME).allow("same-origin", "same-origin")


def test_normal_forms() -> None:
    assert normal_origin("HTTP://A.Example:080") == "http://a.example"
    assert normal_origin("https://a.example:0443") == "https://a.example"
    assert normal_origin("http://a.example:443") == "http://a.example:443"
    assert host_and_port("A.Example:80") == ("a.example", 80)
    assert host_and_port("[::1]") == ("[::1]", None)
    assert host_and_port("a b") is None
