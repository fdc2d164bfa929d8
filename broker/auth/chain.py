"""The Authenticator: asks one Method after the other, and then Grants what the roles give.

The first Identity wins, the first Denied refuses, and None passes the Client on. Where nobody knows it, a Client that
brings no credentials may be let in as nobody, if its listener allows that; with credentials that nobody takes it is
refused. Where there is no Method at all credentials mean nothing.

It fails closed. What raises, hangs or answers what is no answer refuses the Client with 0x88 and is counted. The log
gets one line a minute for each kind of failure and of refusal. Of an exception it has the type and the place only, as
the text may hold a secret; and a Client is told a Reason Code and nothing of what Denied says.

Failures limit how often somebody may guess. They are asked twice, before the Methods and again when those have
answered: of a thousand guesses under way at once no more than the limit get an answer that is worth anything.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from broker.auth.enhanced import EnhancedAuthentication
from broker.auth.failures import MINUTE
from broker.auth.methods import Denied, Identity
from broker.auth.scram import NAME, SCRAM_SHA_256
from broker.core.grants import Grant
from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode
from broker.websocket.forwarded import network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from broker.auth.failures import Failures
    from broker.auth.methods import Method
    from broker.auth.scram import Scram
    from broker.core.ports import Answer, Peer
    from broker.packets.types import Connect

    Grants: TypeAlias = Callable[[Identity | None, str, bytes], Grant | Refusal]
    Anonymous: TypeAlias = frozenset[str] | Callable[[Peer], bool]

PRINCIPAL: Final = "user:"  # begins the principal of whoever has proved who it is
ANONYMOUS: Final = "anonymous"  # in `by_method`: whom no Method knows
_KINDS: Final = 200  # of lines about refusals in the log within a minute, and as many about failures
_NOBODYS_FAULT: Final = (ReasonCode.SERVER_UNAVAILABLE, ReasonCode.SERVER_BUSY)  # a Method that cannot tell
_SHOWN: Final = 64  # characters of a user name in the log

_logger = logging.getLogger("broker.auth")


class Counts:
    """Answers, each in one of these."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0  # not who it says, or known and not let in
        self.failed = 0  # nobody could tell: 0x88, or 0x89 of a Method
        self.limited = 0  # too many failures before: 0x9F


class Policy:
    """All that a reload changes, in one piece."""

    def __init__(
        self,
        methods: Sequence[Method],
        grants: Grants,
        allow_anonymous: Anonymous,
        scram: Scram | None,
        failures: Failures,
    ) -> None:
        self.methods = tuple(methods)
        self.grants = grants
        self.allow_anonymous = allow_anonymous
        self.scram = scram
        self.failures = failures

    def lets_in(self, peer: Peer) -> bool:
        """Whether somebody who proves nothing may come in where this one did."""
        allowed = self.allow_anonymous
        return peer.listener in allowed if isinstance(allowed, frozenset) else allowed(peer) is True


class Chain:
    """See the module. An Authenticator with re-authentication.

    `grants` says what an Identity, None for anonymous, may do under a Client Identifier; its Grant is a new one each
    time and carries the bytes given as `data`. Principal and expiry are written into it here. `allow_anonymous` has the
    URLs of listeners, or says by Peer. `clock` is wall time, `monotonic` the time of the core, both in seconds.
    A Method that is awaited for `timeout` seconds hangs.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        grants: Grants,
        allow_anonymous: Anonymous,
        failures: Failures,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        scram: Scram | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.timeout = timeout
        self.accepted = 0  # as in Counts, for all
        self.refused = 0
        self.failed = 0
        self.limited = 0
        self.by_method: dict[str, Counts] = {}
        self._clock = clock
        self.monotonic = monotonic
        # by level: kind of a log line -> when it may be written again, how many were not
        self._said: dict[int, dict[str, tuple[float, int]]] = {logging.INFO: {}, logging.WARNING: {}, logging.ERROR: {}}
        self.policy = Policy(methods, grants, allow_anonymous, scram, failures)

    @property
    def methods(self) -> tuple[str, ...]:
        """The Authentication Methods (MQTT 5.0 section 4.12)."""
        return () if self.policy.scram is None else (SCRAM_SHA_256,)

    @property
    def failures(self) -> Failures:
        return self.policy.failures

    def replace(
        self,
        methods: Sequence[Method],
        grants: Grants,
        allow_anonymous: Anonymous,
        scram: Scram | None,
        failures: Failures | None = None,
    ) -> None:
        """From now on it goes by these; who is being asked for is asked for again. `failures` stay if not given."""
        kept = self.policy.failures if failures is None else failures
        self.policy = Policy(methods, grants, allow_anonymous, scram, kept)

    def authenticate(self, connect: Connect, peer: Peer) -> Answer | Awaitable[Answer]:
        """Never raises. It is a coroutine only where a Method has to be awaited."""
        policy = self.policy
        data = connect.properties.authentication_data or b""
        if connect.properties.authentication_method is None:
            if policy.failures.limited(peer.address, connect.user_name or "", self.monotonic()):
                return self.too_many()
            return self._ask(policy, connect, peer, 0)
        if policy.scram is None or connect.properties.authentication_method != SCRAM_SHA_256:
            return self.refuse(NAME, ReasonCode.BAD_AUTHENTICATION_METHOD)
        return EnhancedAuthentication(self, policy, policy.scram, peer, connect).go_on(data)

    def reauthenticate(self, grant: Grant, method: str, data: bytes, peer: Peer) -> Answer:
        """AUTH 0x19 of a Client that has `grant` (section 4.12.1). Who proves to be the same one keeps that Grant, with
        its new expiry; who does not is refused with what may stand in a DISCONNECT.
        """
        policy = self.policy
        if policy.scram is None or method != SCRAM_SHA_256:
            return self.refuse(NAME, ReasonCode.NOT_AUTHORIZED)
        return EnhancedAuthentication(self, policy, policy.scram, peer, grant).go_on(data)

    # -- A Client with an Authentication Method, and one without

    def _ask(self, policy: Policy, connect: Connect, peer: Peer, first: int) -> Answer | Awaitable[Answer]:
        """Ask the Methods from the one at `first` on."""
        for place in range(first, len(policy.methods)):
            method = policy.methods[place]
            try:
                verdict = method.check(connect, peer)
            except Exception as error:
                return self.failure(method.name, error)
            if isinstance(verdict, Awaitable):
                return self._wait(policy, connect, peer, place, verdict)
            if verdict is not None:
                return self._judge(policy, connect, peer, method.name, verdict)
        return self._nobody(policy, connect, peer)

    async def _wait(
        self, policy: Policy, connect: Connect, peer: Peer, place: int, waiting: Awaitable[object]
    ) -> Answer:
        name = policy.methods[place].name
        verdict: object = None
        try:
            with trio.move_on_after(self.timeout) as scope:
                verdict = await waiting
        except Exception as error:
            return self.failure(name, error)
        if scope.cancelled_caught:
            return self.failure(name, f"no answer for {self.timeout:g} s")
        if policy is not self.policy:
            answer = self.authenticate(connect, peer)
        elif verdict is None:
            answer = self._ask(policy, connect, peer, place + 1)
        else:
            answer = self._judge(policy, connect, peer, name, verdict)
        return await answer if isinstance(answer, Awaitable) else answer

    def _judge(self, policy: Policy, connect: Connect, peer: Peer, name: str, verdict: object) -> Grant | Refusal:
        """What becomes of a Method's verdict."""
        user_name = connect.user_name or ""
        now = self.monotonic()
        if policy.failures.limited(peer.address, user_name, now):
            return self.too_many()
        if isinstance(verdict, Denied):
            return self.denied(policy, name, verdict, peer, user_name, now)
        return self.admit(policy, name, verdict, connect.client_identifier, peer, user_name, b"")

    def _nobody(self, policy: Policy, connect: Connect, peer: Peer) -> Grant | Refusal:
        """No Method knows this one."""
        brings = connect.user_name is not None or connect.password is not None
        if brings and (policy.methods or policy.scram is not None):
            return self.denied(
                policy, ANONYMOUS, Denied("nobody knows them"), peer, connect.user_name or "", self.monotonic()
            )
        try:
            if not policy.lets_in(peer):
                return self.refuse(ANONYMOUS, ReasonCode.NOT_AUTHORIZED)
            grant = policy.grants(None, connect.client_identifier, b"")
        except Exception as error:
            return self.failure(ANONYMOUS, error)
        return self._give(ANONYMOUS, grant, "", math.inf)

    def admit(
        self, policy: Policy, name: str, identity: object, client_identifier: str, peer: Peer, claimed: str, data: bytes
    ) -> Grant | Refusal:
        """A Grant for whoever has proved who it is, unless the proof has run out or the roles let it do nothing."""
        if not isinstance(identity, Identity) or not isinstance(identity.user_name, str) or not identity.user_name:
            return self.failure(name, f"{type(identity).__name__} is no answer")
        try:
            expires_at = self._expiry(identity)
            if expires_at is None:
                return self.denied(policy, name, Denied("expired", ReasonCode.NOT_AUTHORIZED), peer, claimed, None)
            grant = policy.grants(identity, client_identifier, data)
            if isinstance(grant, Grant):
                grant.roles = identity.roles
                grant.method = name
        except Exception as error:
            return self.failure(name, error)
        if claimed == identity.user_name:  # or one who has proved to be somebody else makes himself known as this one
            policy.failures.succeeded(peer.address, claimed, self.monotonic())
        return self._give(name, grant, principal_of(identity), expires_at)

    def admit_again(
        self, policy: Policy, name: str, identity: Identity, grant: Grant, peer: Peer, data: bytes
    ) -> Grant | Refusal:
        """The Grant of whoever has proved once more who it is; nobody becomes somebody else."""
        now = self.monotonic()
        if grant.principal != principal_of(identity):
            other = Denied("authenticated again as somebody else", ReasonCode.NOT_AUTHORIZED)
            return self.denied(policy, name, other, peer, identity.user_name, now)
        expires_at = self._expiry(identity)
        if expires_at is None:
            return self.refuse(name, ReasonCode.NOT_AUTHORIZED)
        policy.failures.succeeded(peer.address, identity.user_name, now)
        grant.data = data
        grant.expires_at = expires_at
        return self._give(name, grant, grant.principal, expires_at)

    def _give(self, name: str, grant: object, principal: str, expires_at: float) -> Grant | Refusal:
        if isinstance(grant, Grant):
            grant.principal = principal
            grant.expires_at = min(grant.expires_at, expires_at)
            self._count(name).accepted += 1
            self.accepted += 1
            return grant
        if isinstance(grant, Refusal):
            self._count(name).refused += 1
            self.refused += 1
            return grant
        return self.failure(name, f"the roles gave {type(grant).__name__}")

    def _expiry(self, identity: Identity) -> float | None:
        """In monotonic seconds; None where it is over."""
        left = identity.expires_at - self._clock()
        return self.monotonic() + left if left > 0 else None

    # -- What ends badly

    def denied(
        self, policy: Policy, name: str, denied: Denied, peer: Peer, user_name: str, now: float | None
    ) -> Refusal:
        """Not who it says; as a failure of this user, if `now` is given."""
        if denied.reason in _NOBODYS_FAULT:
            return self.failure(name, denied.detail, denied.reason)
        if now is not None:
            policy.failures.failed(peer.address, user_name, now)
        who = f"{network_of(peer.address) or peer.address}, user name {user_name[:_SHOWN]!a}"
        self._log(logging.INFO, f"{name}: refused: {denied.detail}", f" ({who})")
        return self.refuse(name, denied.reason if denied.reason >= 0x80 else ReasonCode.NOT_AUTHORIZED)

    def refuse(self, name: str, reason: ReasonCode) -> Refusal:
        """Known, and not let in."""
        self._count(name).refused += 1
        self.refused += 1
        return Refusal(reason)

    def failure(self, name: str, what: Exception | str, reason: ReasonCode = ReasonCode.SERVER_UNAVAILABLE) -> Refusal:
        """Nobody can tell who it is."""
        kind = what if isinstance(what, str) else _where(what)
        self._count(name).failed += 1
        self.failed += 1
        self._log(logging.ERROR, f"{name}: cannot authenticate: {kind}; Clients are refused", "")
        return Refusal(reason)

    def too_many(self) -> Refusal:
        """Over a limit of failures."""
        self.limited += 1
        self._log(logging.WARNING, "too many failed authentications: Clients are refused unasked", "")
        return Refusal(ReasonCode.CONNECTION_RATE_EXCEEDED)

    def _count(self, name: str) -> Counts:
        counts = self.by_method.get(name)
        if counts is None:
            counts = self.by_method[name] = Counts()
        return counts

    def _log(self, level: int, kind: str, more: str) -> None:
        """Write a line, if none of this kind has been written for a minute."""
        now = self.monotonic()
        said = self._said[level]
        again_at, silent = said.get(kind, (-math.inf, 0))
        if now < again_at:
            said[kind] = again_at, silent + 1
            return
        if kind not in said and len(said) >= _KINDS:
            for old in [one for one, (until, _) in said.items() if until <= now]:
                del said[old]
            if len(said) >= _KINDS:
                return
        said[kind] = now + MINUTE, 0
        _logger.log(level, "%s%s%s", kind, more, f"; {silent} more since the last line" if silent else "")


def principal_of(identity: Identity) -> str:
    """Who owns what `identity` makes. It is never "", which is whoever has proved nothing."""
    return f"{PRINCIPAL}{identity.user_name}"


def _where(error: Exception) -> str:
    """The type of an exception and the line it came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{place}"
