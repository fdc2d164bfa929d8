"""Who somebody is, said by a web service of the operator: one POST with JSON for a CONNECT.

The law of this file:

- It fails closed. Only a whole, well-formed answer 200 that comes in time and says "allow" lets anybody in. A redirect,
  another status, an unknown field, a wrong type, too many bytes, a broken connection: Denied with 0x88, and counted.
- The service is protected from us: so many calls at a time, so many waiting, the rest is Denied with 0x89 at once. The
  time for waiting and calling together is bounded.
- Who was let in is remembered for a while, so that all who come back at once cost no calls. What is remembered is a
  keyed digest of what was shown, never the password. Who was not let in is asked for again.
- It is a question and changes nothing, so it is asked once more where a connection broke before the answer: a kept one
  may have been closed by the service in that very moment.
- No URL, password, header or word of an answer stands in a reason or an exception.

The transport of httpx2 is used without its client, which would log each URL, keep cookies and follow the proxies of the
environment. It is the extra `triomq[http]`, imported when an `HttpMethod` is made; a connection is opened at the first
call.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import json
import math
import os
import ssl
import time
from collections import OrderedDict
from logging import getLogger
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

import trio

from broker.auth.jwt import is_name
from broker.auth.methods import Denied, Identity, Verdict
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2 import Response

    from broker.core.ports import Peer
    from broker.packets.types import Connect

ANSWER_BYTES: Final = 64 * 1024
ROLES: Final = 256
CACHE_SECONDS: Final = 24 * 3600.0  # at most, whatever an answer says
KEPT_SECONDS: Final = 30.0  # an idle connection to the service

FIELDS: Final = frozenset({"result", "roles", "expires_at", "user_name", "cache"})

log = getLogger("broker.auth")


class HttpMethod:
    """Asks `url` who may come in. See the module, and docs/guides/tokens.md for the question and the answer.

    `timeout`: seconds for a question as a whole. `concurrency`: calls under way, `waiting`: questions in line for one.
    `cache`: seconds for which an allow without a `cache` of its own is remembered, `entries`: how many of them.
    `ca_file` holds the certificates to trust in place of the system's. `authorization` is the value of that header.
    `monotonic` and `wall` are the clocks, seconds.

    Raises ModuleNotFoundError with what to install, and ValueError for settings that cannot work.
    """

    name = "http"

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 2.0,
        concurrency: int = 16,
        waiting: int = 1024,
        cache: float = 30.0,
        entries: int = 4096,
        ca_file: str = "",
        authorization: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        try:
            import httpx2
        except ModuleNotFoundError:
            raise ModuleNotFoundError(_INSTALL) from None
        _check_url(url)
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError("timeout must be more than 0 seconds")
        if concurrency < 1 or waiting < 0 or entries < 0:
            raise ValueError("concurrency must be 1 or more, waiting and entries 0 or more")
        if not 0 <= cache <= CACHE_SECONDS:
            raise ValueError(f"cache must be between 0 and {CACHE_SECONDS:.0f} seconds")
        if not (authorization.isascii() and authorization.isprintable()):
            raise ValueError("authorization must be one line of printable ASCII")
        self.calls = 0  # requests sent
        self.cached = 0  # questions answered from memory
        self.failures = 0  # questions that got no answer of use
        self.turned_away = 0  # questions not asked because too many were in line
        self._httpx = httpx2
        self._url = httpx2.URL(url)
        self._timeout = timeout
        self._waiting = waiting
        self._cache = cache
        self._entries = entries
        self._monotonic = monotonic
        self._wall = wall
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        if authorization:
            self._headers["Authorization"] = authorization
        self._allowed: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()  # until when; the oldest use first
        self._secret = os.urandom(32)
        self._limiter = trio.CapacityLimiter(concurrency)
        self._transport = httpx2.AsyncHTTPTransport(
            verify=_trust(self._url.scheme == "https", ca_file),
            trust_env=False,
            limits=httpx2.Limits(
                max_connections=concurrency, max_keepalive_connections=concurrency, keepalive_expiry=KEPT_SECONDS
            ),
        )
        if self._url.scheme == "http" and not _is_local(self._url.host):
            log.warning("The callback of authentication is not https: passwords travel in the clear to another machine")

    def check(self, connect: Connect, peer: Peer) -> Verdict | Awaitable[Verdict]:
        """See `Method`."""
        key = self._key(connect, peer)
        known = self._known(key)
        if known is not None:
            self.cached += 1
            return known
        return self._asked(connect, peer, key)

    def forget(self) -> None:
        """Ask for everybody again."""
        self._allowed.clear()

    async def aclose(self) -> None:
        """Close the connections to the service."""
        await self._transport.aclose()

    async def _asked(self, connect: Connect, peer: Peer, key: bytes) -> Verdict:
        if self._limiter.available_tokens < 1 and self._limiter.statistics().tasks_waiting >= self._waiting:
            self.turned_away += 1
            return Denied("too many are in line for the callback", ReasonCode.SERVER_BUSY)
        failure = f"no answer within {self._timeout:g} s"
        with trio.move_on_after(self._timeout):
            try:
                async with self._limiter:
                    known = self._known(key)  # the same may have been asked while this one stood in line
                    if known is not None:
                        self.cached += 1
                        return known
                    body = await self._answer(_question(connect, peer))
                return self._verdict(_Answer(body), connect, key)
            except _Useless as error:
                failure = str(error)
            except Exception as error:  # fails closed; the words of a library could hold the URL
                failure = type(error).__name__
        self.failures += 1
        return Denied(f"the callback failed: {failure}", ReasonCode.SERVER_UNAVAILABLE)

    async def _answer(self, question: bytes) -> bytes:
        try:
            return await self._call(question)
        except (self._httpx.RemoteProtocolError, self._httpx.ReadError, self._httpx.WriteError):
            return await self._call(question)

    async def _call(self, question: bytes) -> bytes:
        """The body of an answer 200. Raises _Useless for others, and what httpx2 raises."""
        self.calls += 1
        request = self._httpx.Request("POST", self._url, headers=self._headers, content=question)
        response = await self._transport.handle_async_request(request)
        try:
            if response.status_code != 200:
                raise _Useless(f"the status of its answer is {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _Useless("its answer is compressed, which was not asked for")
            return await self._body(response)
        finally:
            await response.aclose()

    async def _body(self, response: Response) -> bytes:
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    # This ends the loop by an error; leaving it would leave the library's generators to the collector.
                    await response.aclose()
        except self._httpx.TransportError:
            if len(body) <= ANSWER_BYTES:
                raise
        if len(body) > ANSWER_BYTES:
            raise _Useless(f"its answer has more than {ANSWER_BYTES} bytes")
        return bytes(body)

    def _verdict(self, answer: _Answer, connect: Connect, key: bytes) -> Verdict:
        if answer.result == "ignore":
            return None
        if answer.result == "deny":
            return Denied("the callback says no")
        user_name = answer.user_name or connect.user_name
        if not user_name or not is_name(user_name):
            raise _Useless("its answer has no user_name, and CONNECT has none that could be one")
        if answer.expires_at <= self._wall():
            return Denied("the callback allows it until a time that is over", ReasonCode.NOT_AUTHORIZED)
        identity = Identity(user_name, self.name, answer.roles, answer.expires_at)
        seconds = self._cache if answer.cache is None else min(answer.cache, CACHE_SECONDS)
        if seconds > 0:
            self._allowed[key] = (self._monotonic() + seconds, identity)
            self._allowed.move_to_end(key)
            while len(self._allowed) > self._entries:
                self._allowed.popitem(last=False)
        return identity

    def _known(self, key: bytes) -> Identity | None:
        """Who it is, where that is remembered and still good."""
        entry = self._allowed.get(key)
        if entry is None:
            return None
        until, identity = entry
        if until <= self._monotonic() or identity.expires_at <= self._wall():
            del self._allowed[key]
            return None
        self._allowed.move_to_end(key)
        return identity

    def _key(self, connect: Connect, peer: Peer) -> bytes:
        """What stands for everything that the service is told, but for the port: a Client has another one each time."""
        told = {**_told(connect, peer), "address": peer.address.rpartition(":")[0] or peer.address}
        return hmac.digest(self._secret, json.dumps(told).encode(), "sha256")


_INSTALL: Final = "the callback of authentication needs a library more; install it with: pip install triomq[http]"


class _Useless(Exception):
    """An answer that says nothing; the text is ours."""


class _Answer:
    """What the service said, judged. Raises _Useless."""

    __slots__ = ("cache", "expires_at", "result", "roles", "user_name")

    def __init__(self, body: bytes) -> None:
        try:
            fields = json.loads(body.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise _Useless("its answer is no JSON") from None
        if not isinstance(fields, dict):
            raise _Useless("its answer is no JSON object")
        if not FIELDS.issuperset(fields):
            raise _Useless(f"its answer has other fields than {', '.join(sorted(FIELDS))}")
        self.result = fields.get("result")
        if self.result not in ("allow", "deny", "ignore"):
            raise _Useless('the field result of its answer is not "allow", "deny" or "ignore"')
        roles = fields.get("roles", [])
        if not isinstance(roles, list) or len(roles) > ROLES or not all(_is_text(role) for role in roles):
            raise _Useless(f"the field roles of its answer is no list of up to {ROLES} names")
        self.roles: tuple[str, ...] = tuple(roles)
        self.user_name: str | None = fields.get("user_name")
        if self.user_name is not None and not _is_text(self.user_name):
            raise _Useless("the field user_name of its answer is no name")
        expires_at = fields.get("expires_at")
        if expires_at is not None and not _is_number(expires_at):
            raise _Useless("the field expires_at of its answer is no number")
        self.expires_at: float = math.inf if expires_at is None else float(expires_at)
        self.cache: float | None = fields.get("cache")
        if self.cache is not None and not (_is_number(self.cache) and self.cache >= 0):
            raise _Useless("the field cache of its answer is no number of 0 or more")


def _told(connect: Connect, peer: Peer) -> dict[str, str | None]:
    """What the service is told. A password that is no UTF-8 goes under another name, so that none can be mistaken."""
    told: dict[str, str | None] = {
        "client_identifier": connect.client_identifier,
        "user_name": connect.user_name,
        "password": None,
        "address": peer.address,
        "transport": peer.transport,
        "listener": peer.listener,
        "certificate": peer.certificate.common_name if peer.certificate is not None else None,
    }
    if connect.password is not None:
        try:
            told["password"] = connect.password.decode()
        except UnicodeDecodeError:
            told["password_base64"] = base64.b64encode(connect.password).decode()
    return told


def _question(connect: Connect, peer: Peer) -> bytes:
    return json.dumps(_told(connect, peer)).encode()


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
        secret = parts.username is not None or parts.password is not None
    except ValueError:
        good, secret = False, False
    if secret:
        raise ValueError("the URL of the callback must hold no user name and password; give them as authorization")
    if not good:
        raise ValueError("the URL of the callback must be like https://accounts.example/mqtt")


def _trust(https: bool, ca_file: str) -> ssl.SSLContext:
    if not https and not ca_file:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and nobody asks it
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # an SSLError is one
        raise ValueError(f"the CA file {ca_file!a} cannot be read: {error.strerror or 'no certificates'}") from None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are no JSON
