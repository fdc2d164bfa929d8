"""Who asks over HTTP, and what he may do: bearer tokens, log-ins with a cookie, and nobody in particular.

A log-in is judged by the broker's own Authenticator, as a CONNECT would be; which role it gives stands in `[web]` and
is asked anew with each request. Whoever fails too often, by address or user name, is not asked any more for a while.

A log-in is good for MQTT too, over a WebSocket of our own page (`broker.auth.log_ins`): these are the LogIns that are
asked. When somebody logs out, `ended` is told of the user.

A browser sends the cookie along with requests that other pages make. So with it every request that changes something
needs the header field X-CSRF-Token, which only our own page can know; and one without a bearer token may come from no
other page than our own at all. Whoever proves nothing has rights from this machine only under a name of this machine:
a page elsewhere can give its own name the address 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

import trio

from broker.auth.failures import Failures
from broker.auth.log_ins import Known
from broker.core.grants import Grant
from broker.core.ports import Peer, Refusal
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect
from broker.web.settings import NONE, OPERATOR, RANKS, VIEWER
from broker.websocket.forwarded import parsed_address
from broker.websocket.origins import SAME_ORIGIN, host_and_port, origins_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.ports import Authenticator
    from broker.web.exchange import Caller
    from broker.web.settings import Settings

COOKIE: Final = "triomq_session"
CSRF: Final = "x-csrf-token"
READING: Final = ("GET", "HEAD", "OPTIONS")
SESSIONS: Final = 1000  # log-ins at once; the one that was used least recently goes first
LONGEST: Final = 7 * 86400.0  # seconds after which a log-in is over, however busy
PATIENCE: Final = 10.0  # seconds for an Authenticator
RETRY: Final = 60  # seconds after which somebody who failed too often may try again
NAME_CHARACTERS: Final = 1024

_USER: Final = "user:"  # begins the principal of whoever has proved who it is
_BUSY: Final = (ReasonCode.SERVER_UNAVAILABLE, ReasonCode.SERVER_BUSY)
_PUBLIC: Final = origins_of((SAME_ORIGIN,))


class Denied(Exception):
    """A request ends here, with `status`; `code` is for programs, the message for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class LogIn:
    """Somebody has logged in, by a proof of this `method`, which gave these `roles`. Times are those of the clock."""

    __slots__ = ("csrf", "ends_at", "method", "roles", "used_at", "user")

    def __init__(self, user: str, now: float, ends_at: float, method: str, roles: tuple[str, ...]) -> None:
        self.user = user
        self.method = method
        self.roles = roles
        self.csrf = secrets.token_urlsafe(24)
        self.used_at = now
        self.ends_at = ends_at


class Who:
    """Whoever makes a request. `log_in` is there where the cookie says so; `name` is for the log."""

    __slots__ = ("log_in", "name", "role")

    def __init__(self, name: str, role: str, log_in: LogIn | None = None) -> None:
        self.name = name
        self.role = role
        self.log_in = log_in

    def need(self, role: str) -> None:
        """Raise Denied unless this one may do what `role` may."""
        if RANKS[self.role] >= RANKS[role]:
            return
        if self.role == NONE:
            raise Denied(401, "not_authenticated", "Log in, or send a bearer token.", {"WWW-Authenticate": "Bearer"})
        raise Denied(403, "not_allowed", f"This needs the role {role}; yours is {self.role}.")


class Accounts:
    """See the module. `authenticator` gives the one in force; `clock` is monotonic seconds."""

    def __init__(
        self,
        settings: Settings,
        authenticator: Callable[[], Authenticator],
        clock: Callable[[], float] = trio.current_time,
        ended: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self.failures = Failures()
        self._ended = ended
        self._authenticator = authenticator
        self._clock = clock
        self._log_ins: OrderedDict[bytes, LogIn] = OrderedDict()  # by digest: the table is no list of cookies

    def __len__(self) -> int:
        """Log-ins."""
        return len(self._log_ins)

    @property
    def open(self) -> bool:
        """Whether there is anybody who could log in."""
        return bool(self.settings.users)

    def who(self, caller: Caller, method: str, headers: Mapping[str, str]) -> Who:
        """Whoever makes this request; `headers` have names in lower case. Raises Denied."""
        authorization = headers.get("authorization", "")
        if authorization:
            return self._by_token(caller, authorization)
        self._check_page(caller, method, headers)
        log_in = self._by_cookie(headers)
        if log_in is None:
            return Who(f"anonymous at {caller.address}", self._anonymous(caller))
        if method not in READING and not hmac.compare_digest(headers.get(CSRF, "").encode(), log_in.csrf.encode()):
            message = "With the cookie this needs the header field X-CSRF-Token: `csrf` of GET /api/v1/session."
            raise Denied(403, "csrf", message)
        return Who(log_in.user, self.settings.users.get(log_in.user, NONE), log_in)

    def newcomer(self, caller: Caller, method: str, headers: Mapping[str, str]) -> Who:
        """Whoever is about to log in: what he was before does not matter. Raises Denied."""
        self._check_page(caller, method, headers)
        return Who(f"anonymous at {caller.address}", NONE)

    def check_client(self, caller: Caller, headers: Mapping[str, str], user: str, known: bool) -> None:
        """Whether somebody may ask for something as a Client of the broker: `known` says that he brings a proof of who
        he is, which is still to be judged. Raises Denied."""
        self._check_page(caller, "POST", headers)
        if known and self.failures.limited(caller.address, user, self._clock()):
            raise _too_many()
        if not known and _is_rebound(caller):
            raise Denied(403, "other_page", "This machine is called by a name that is not its own.")

    async def log_in(self, caller: Caller, user: str, password: str) -> tuple[str, Who]:
        """Let somebody in: what the cookie is to hold, and who it is. Raises Denied."""
        now = self._clock()
        if self.failures.limited(caller.address, user, now):
            raise _too_many()
        answer = await self._ask(caller, user, password)
        if self.failures.limited(caller.address, user, self._clock()):  # of many at once only the first are answered
            raise _too_many()
        name = answer.principal.removeprefix(_USER) if isinstance(answer, Grant) and answer.principal else ""
        if not isinstance(answer, Grant) or self.settings.users.get(name, NONE) == NONE:
            if isinstance(answer, Refusal) and answer.reason == ReasonCode.CONNECTION_RATE_EXCEEDED:
                raise _too_many()
            if isinstance(answer, Refusal) and answer.reason in _BUSY:
                raise Denied(503, "unavailable", "Nobody can tell now who you are; try again.")
            self.failures.failed(caller.address, user, now)
            message = "The user or the password is wrong, or [web] gives this user no role."
            raise Denied(401, "not_authenticated", message)
        self.failures.succeeded(caller.address, user, now)
        secret = secrets.token_urlsafe(32)
        while len(self._log_ins) >= SESSIONS:
            self._log_ins.popitem(last=False)
        log_in = LogIn(name, now, min(now + LONGEST, answer.expires_at), answer.method, answer.roles)
        self._log_ins[_digest(secret)] = log_in
        return secret, Who(name, self.settings.users[name], log_in)

    def log_out(self, headers: Mapping[str, str]) -> None:
        """Forget the log-in of this request."""
        for secret in _cookies(headers):
            log_in = self._log_ins.pop(_digest(secret), None)
            if log_in is not None and self._ended is not None:
                self._ended(log_in.user)

    # -- For MQTT

    def known(self, headers: Mapping[str, str]) -> Known | None:
        """See `LogIns`."""
        log_in = self._by_cookie(headers)
        if log_in is None or not self._may(log_in):
            return None
        return Known(log_in.user, log_in.roles, log_in.ends_at - self._clock())

    def stands(self, user_name: str) -> bool:
        """See `LogIns`."""
        now = self._clock()
        return any(
            log_in.user == user_name and self._may(log_in) and not self._is_over(log_in, now)
            for log_in in self._log_ins.values()
        )

    def keep(self, is_there: Callable[[str, str], bool]) -> None:
        """See `LogIns`."""
        for key, log_in in list(self._log_ins.items()):
            if not is_there(log_in.method, log_in.user):
                del self._log_ins[key]

    # -- Parts

    async def _ask(self, caller: Caller, user: str, password: str) -> object:
        if not user or len(user) > NAME_CHARACTERS or len(password) > NAME_CHARACTERS or "\0" in user:
            return None
        connect = Connect("", user_name=user, password=password.encode("utf-8", "surrogatepass"))
        answer: object = None
        with trio.move_on_after(PATIENCE) as patience:
            answer = self._authenticator().authenticate(connect, Peer(caller.address, "http", caller.listener))
            if isinstance(answer, Awaitable):
                answer = await answer
        return Refusal(ReasonCode.SERVER_BUSY) if patience.cancelled_caught else answer

    def _by_token(self, caller: Caller, authorization: str) -> Who:
        now = self._clock()
        if self.failures.limited(caller.address, "", now):
            raise _too_many()
        scheme, _, secret = authorization.partition(" ")
        token = self.settings.tokens.get(_digest(secret.strip())) if scheme.lower() == "bearer" else None
        if token is None:
            self.failures.failed(caller.address, "", now)
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Denied(401, "not_authenticated", "This is no bearer token of [web] tokens_file.", challenge)
        return Who(f"token {token.name}", token.role)

    def _by_cookie(self, headers: Mapping[str, str]) -> LogIn | None:
        now = self._clock()
        for secret in _cookies(headers):
            key = _digest(secret)
            log_in = self._log_ins.get(key)
            if log_in is None:
                continue
            if self._is_over(log_in, now):
                del self._log_ins[key]
                continue
            log_in.used_at = now
            self._log_ins.move_to_end(key)
            return log_in
        return None

    def _is_over(self, log_in: LogIn, now: float) -> bool:
        return now >= log_in.ends_at or now - log_in.used_at >= self.settings.session_idle

    def _may(self, log_in: LogIn) -> bool:
        """Whether `[web]` still gives this user a role."""
        return self.settings.users.get(log_in.user, NONE) != NONE

    def _anonymous(self, caller: Caller) -> str:
        role = self.settings.anonymous
        if _is_rebound(caller):
            return NONE
        if role is not None:
            return role
        return OPERATOR if self.settings.open_here and caller.loopback and not caller.proxied else NONE

    def _check_page(self, caller: Caller, method: str, headers: Mapping[str, str]) -> None:
        """No other page than our own may have a browser change something here."""
        if method in READING:
            return
        site = headers.get("sec-fetch-site", "same-origin")
        origin = headers.get("origin")
        if site not in ("same-origin", "none") or not _PUBLIC.allow(
            origin, caller.host, caller.secure, caller.loopback and not caller.proxied
        ):
            raise Denied(403, "other_page", "A page of another origin may change nothing here.")


def may_scrape(settings: Settings, who: Who) -> bool:
    """Whether this one may read /metrics."""
    return settings.metrics_anonymous or RANKS[who.role] >= RANKS[VIEWER]


def cookie(secret: str, secure: bool) -> str:
    """The value of Set-Cookie; an empty `secret` takes it away."""
    end = "" if secret else "; Max-Age=0"
    return f"{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}{end}"


def _cookies(headers: Mapping[str, str]) -> list[str]:
    """All cookies of our name: another one may have been planted beside ours."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return [value for name, _, value in pairs if name == COOKIE and value]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _too_many() -> Denied:
    message = "There were too many failed attempts; wait a minute."
    return Denied(429, "too_many_attempts", message, {"Retry-After": str(RETRY)})


def _is_rebound(caller: Caller) -> bool:
    """Whether a request came in at a loopback address by a name that could be anybody's."""
    return caller.loopback and not caller.proxied and not _is_this_machine(caller.host)


def _is_this_machine(host: str) -> bool:
    """Whether a Host names this machine and could not be anybody's."""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        called = host_and_port(host)
        name = called[0] if called is not None else ""
    address = parsed_address(name)
    return name == "localhost" if address is None else address.is_loopback
