"""What a configuration says of the HTTP side, as a plain object; and the file of bearer tokens.

A line of that file is `name role sha256`: what is logged about the program, what it may do, and the SHA-256 of its
token in hexadecimal digits, so that whoever reads the file has no token. Blank lines and lines that begin with `#` are
skipped. A token is to be made by a machine (`openssl rand -hex 32`): a hash without salt does not keep a password.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NONE: Final = "none"
VIEWER: Final = "viewer"
OPERATOR: Final = "operator"
ADMIN: Final = "admin"
RANKS: Final[dict[str, int]] = {NONE: 0, VIEWER: 1, OPERATOR: 2, ADMIN: 3}

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class TokensError(ValueError):
    """The file of tokens cannot be used; the message has the number of the line."""


class Token:
    """Who brings this token, and what it may do."""

    __slots__ = ("name", "role")

    def __init__(self, name: str, role: str) -> None:
        self.name = name
        self.role = role


class Settings:
    """Parts that are switched on, and who may use them. `users`: user name -> role; `tokens`: digest -> Token.

    `anonymous` is the role of whoever proves nothing. None stands for operator from this machine where `open_here`
    says that no authentication is set up, and none otherwise.
    """

    def __init__(
        self,
        *,
        health: bool = True,
        metrics: bool = True,
        metrics_anonymous: bool = False,
        api: bool = True,
        dashboard: bool = True,
        publish: bool = True,
        events: bool = True,
        bench: bool = True,
        users: Mapping[str, str] | None = None,
        tokens: Mapping[bytes, Token] | None = None,
        anonymous: str | None = None,
        open_here: bool = False,
        session_idle: float = 12 * 3600.0,
    ) -> None:
        self.health = health
        self.metrics = metrics
        self.metrics_anonymous = metrics_anonymous
        self.api = api
        self.dashboard = dashboard
        self.publish = publish
        self.events = events
        self.bench = bench
        self.users = dict(users or {})
        self.tokens = dict(tokens or {})
        self.anonymous = anonymous
        self.open_here = open_here
        self.session_idle = session_idle

    def adopt(self, fresh: Settings) -> None:
        """Go by `fresh` from now on, but for the parts: they are switched by a restart."""
        self.metrics_anonymous = fresh.metrics_anonymous
        self.users = fresh.users
        self.tokens = fresh.tokens
        self.anonymous = fresh.anonymous
        self.open_here = fresh.open_here
        self.session_idle = fresh.session_idle


def read_tokens(text: str) -> dict[bytes, Token]:
    """The tokens of a file, by their digests. Raises TokensError."""
    found: dict[bytes, Token] = {}
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) != 3:
            raise TokensError(f"line {number}: a line is `name role sha256`")
        name, role, digest = parts
        if role not in RANKS or role == NONE:
            raise TokensError(f"line {number}: the role is viewer, operator or admin")
        if _DIGEST.fullmatch(digest.lower()) is None:
            raise TokensError(f"line {number}: the SHA-256 of a token has 64 hexadecimal digits")
        key = bytes.fromhex(digest)
        if key in found:
            raise TokensError(f"line {number}: this token stands in the file already")
        found[key] = Token(name, role)
    return found
