"""`broker.auth.log_ins`: whose cookie counts, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.auth.log_ins import Known, LogInMethod
from broker.core.ports import Peer
from broker.packets.types import Connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.auth.methods import Identity

HOST = "broker.example"
HERE = {"cookie": "c=ann", "host": HOST, "origin": f"https://{HOST}"}


class Table:
    """Knows ann by her cookie, for a minute more."""

    def known(self, headers: Mapping[str, str]) -> Known | None:
        return Known("ann", ("floor",), 60.0) if headers.get("cookie") == "c=ann" else None

    def stands(self, user_name: str) -> bool:
        raise AssertionError

    def keep(self, is_there: Callable[[str, str], bool]) -> None:
        raise AssertionError


def said(headers: dict[str, str], transport: str = "wss", connect: Connect | None = None) -> Identity | None:
    method = LogInMethod(lambda: 1000.0)
    method.log_ins = Table()
    return method.check(connect or Connect("c"), Peer("192.0.2.1:5", transport, headers=headers))


def test_a_cookie_of_ours() -> None:
    identity = said(HERE)
    assert identity is not None
    assert (identity.user_name, identity.method, identity.roles, identity.expires_at) == (
        "ann",
        "log-in",
        ("floor",),
        1060.0,
    )
    assert said({**HERE, "origin": f"http://{HOST}"}, "ws") is not None


@pytest.mark.parametrize(
    "connect", [Connect("c", user_name="ann"), Connect("c", user_name=""), Connect("c", password=b"")]
)
def test_whoever_gives_a_name_or_a_password_has_to_prove_it(connect: Connect) -> None:
    assert said(HERE, connect=connect) is None


@pytest.mark.parametrize(
    ("headers", "transport"),
    [
        ({**HERE, "cookie": "c=eve"}, "wss"),
        ({"host": HOST, "origin": f"https://{HOST}"}, "wss"),
        ({"cookie": "c=ann", "host": HOST}, "wss"),
        ({"cookie": "c=ann", "origin": f"https://{HOST}"}, "wss"),
        ({**HERE, "origin": "https://evil.example"}, "wss"),
        ({**HERE, "origin": f"https://{HOST}:8443"}, "wss"),
        ({**HERE, "origin": f"http://{HOST}"}, "wss"),
        ({**HERE, "origin": "null"}, "ws"),
        (HERE, "http"),
        (HERE, "tcp"),
    ],
)
def test_what_proves_nothing(headers: dict[str, str], transport: str) -> None:
    assert said(headers, transport) is None


def test_where_nobody_keeps_log_ins() -> None:
    assert LogInMethod(lambda: 0.0).check(Connect("c"), Peer("192.0.2.1:5", "wss", headers=HERE)) is None
