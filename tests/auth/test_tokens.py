"""`broker.auth.tokens`: where a token is looked for, and that no log shows it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from broker.auth.tokens import COOKIE, PARAMETER, PASSWORD, SHOWN_CHARACTERS, find, is_same_origin, redacted
from broker.core.ports import Peer
from broker.packets.types import Connect

UNHURRIED = examples(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

HERE = {"origin": "https://broker.example", "host": "broker.example"}


def found(
    password: bytes | None = None, target: str = "", headers: dict[str, str] | None = None, transport: str = "ws"
) -> tuple[str, bytes] | None:
    peer = Peer("192.0.2.1:5", transport, headers=headers)
    peer.target = target
    token = find(Connect("c", password=password), peer, "token", "session")
    return None if token is None else (token.source, token.value)


def test_a_password_is_looked_at_and_nothing_else() -> None:
    headers = {**HERE, "cookie": "session=cookie"}
    assert found(b"secret", "/mqtt?token=query", headers) == (PASSWORD, b"secret")
    assert found(b"", "/mqtt?token=query", headers) == (PASSWORD, b"")
    assert found(None, "/mqtt?token=query", headers) == (PARAMETER, b"query")
    assert found(None, "/mqtt", headers) == (COOKIE, b"cookie")
    assert found(None, "/mqtt", HERE) is None


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("/mqtt?token=a.b.c", b"a.b.c"),
        ("/mqtt?x=1&token=a.b.c&y=2", b"a.b.c"),
        ("/mqtt?tok%65n=a%2Eb", b"a.b"),
        ("/mqtt?token=", b""),
        ("/mqtt?token=one&token=two", b""),
        ("/mqtt?token=one&tok%65n=one", b""),
        ("/mqtt?token=%ff", b"\xef\xbf\xbd"),
        ("/mqtt?Token=a", None),
        ("/mqtt?token", b""),
        ("/token=a", None),
        ("/mqtt", None),
        ("", None),
        ("/mqtt?" + "a=1&" * 80 + "token=x", None),
    ],
)
def test_a_parameter_of_the_target(target: str, value: bytes | None) -> None:
    assert found(None, target) == (None if value is None else (PARAMETER, value))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("session=a.b.c", b"a.b.c"),
        ("theme=dark; session=a.b.c; other=1", b"a.b.c"),
        (" session=a.b.c\t;", b"a.b.c"),
        ("session=a=b", b"a=b"),
        ("session=", b""),
        ("session=one; session=two", b""),
        ("Session=a", None),
        ("xsession=a", None),
        ("session", None),
        ("a=session=b", None),
        ("", None),
    ],
)
def test_a_cookie(header: str, value: bytes | None) -> None:
    assert found(None, "/mqtt", {**HERE, "cookie": header}) == (None if value is None else (COOKIE, value))


@pytest.mark.parametrize(
    ("origin", "host", "secure", "same"),
    [
        ("https://broker.example", "broker.example", True, True),
        ("https://broker.example", "broker.example", False, True),  # behind a proxy that ends TLS
        ("https://broker.example:443", "Broker.Example", True, True),
        ("http://broker.example:8080", "broker.example:8080", False, True),
        ("http://[::1]:8080", "[::1]:8080", False, True),
        ("http://broker.example", "broker.example", True, False),  # a page that anybody on the way could have made
        ("http://broker.example:8080", "broker.example:8080", True, False),
        ("https://evil.example", "broker.example", False, False),
        ("https://broker.example.evil", "broker.example", False, False),
        ("https://sub.broker.example", "broker.example", False, False),
        ("https://broker.example:8443", "broker.example", False, False),
        ("http://localhost:3000", "localhost:8080", False, False),
        ("http://127.0.0.1:8080", "localhost:8080", False, False),
        ("https://user@broker.example", "user@broker.example", False, False),
        ("https://broker.example/", "broker.example/", False, False),
        ("null", "null", False, False),
        ("https://", "", False, False),
        ("", "", False, False),
        ("", "broker.example", False, False),
        ("https://broker.example", "", False, False),
    ],
)
def test_a_cookie_counts_for_a_page_of_the_same_origin_only(origin: str, host: str, secure: bool, same: bool) -> None:
    headers = {"origin": origin, "host": host}
    assert is_same_origin(headers, secure) is same
    cookie = found(None, "/mqtt", {**headers, "cookie": "session=x"}, "wss" if secure else "ws")
    assert cookie == ((COOKIE, b"x") if same else None)


def test_without_an_origin_a_cookie_does_not_count() -> None:
    assert found(None, "/mqtt", {"host": "broker.example", "cookie": "session=x"}) is None


def test_places_without_a_name_are_not_looked_at() -> None:
    peer = Peer("192.0.2.1:5", "ws", headers={**HERE, "cookie": "=x; session=y"})
    peer.target = "/mqtt?=x&token=y"
    assert find(Connect("c"), peer) is None


def test_the_subprotocol_is_no_place_for_a_token() -> None:
    headers = {**HERE, "sec-websocket-protocol": "mqtt, token, session=x", "authorization": "Bearer x"}
    assert found(None, "/mqtt", headers) is None


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/mqtt", "/mqtt"),
        ("/mqtt?token=canary", "/mqtt?token=***"),
        ("/mqtt?a=canary&tok%65n=canary&b=", "/mqtt?a=***&tok%65n=***&b="),
        ("/mqtt?canary", "/mqtt?***"),
        ("/mqtt?token=canary?canary=canary", "/mqtt?token=***"),
        ("/mqtt?=canary", "/mqtt?=***"),
        ("/mqtt?", "/mqtt?"),
        ("/mqtt?token=canary=canary", "/mqtt?token=***"),
        ("/a\r\nb\x1b[31m", "/a\\r\\nb\\x1b[31m"),
        ("/ö", "/\\xf6"),
    ],
)
def test_a_target_is_shown_without_what_was_given(target: str, shown: str) -> None:
    assert redacted(target) == shown


@UNHURRIED
@given(st.text(), st.text(), st.text(alphabet=st.characters(exclude_characters="&"), min_size=1))
def test_no_value_is_ever_shown(path: str, before: str, secret: str) -> None:
    canary = f"canary{secret}canary"
    shown = redacted(f"/{path.replace('?', '')}?{before.replace('canary', '')}&token={canary}")
    assert "canary" not in shown.partition("?")[2]
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= SHOWN_CHARACTERS * 10  # an escape has ten characters at most


@UNHURRIED
@given(st.binary(max_size=64), st.text(max_size=64), st.text(max_size=64), st.text(max_size=64))
def test_nothing_is_raised_for_what_a_stranger_sends(password: bytes, query: str, cookie: str, origin: str) -> None:
    for given_password in (None, password):
        found(given_password, f"/mqtt?{query}", {"cookie": cookie, "origin": origin, "host": origin})
