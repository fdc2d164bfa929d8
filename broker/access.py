"""Who may connect and what they may do, put together from a Config: the methods of `[auth]`, and `[[roles]]`.

The parts are in `broker/auth/` and know nothing of a configuration. Where neither is set up there is
nothing to put together: whom the listeners let in may do everything, and no Authenticator stands in the way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from broker.auth.callback import HttpMethod
from broker.auth.certificates import CertificateMethod
from broker.auth.chain import PRINCIPAL, Chain
from broker.auth.failures import Failures
from broker.auth.hashing import Hasher
from broker.auth.jwt import JwtMethod, Key
from broker.auth.log_ins import LogInMethod
from broker.auth.methods import AccessError
from broker.auth.passwords import PasswordFile, PasswordFileError, PasswordMethod
from broker.auth.roles import Permissions, PolicyError, policy
from broker.auth.scram import NAME as SCRAM
from broker.auth.scram import Scram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.auth.log_ins import LogIns
    from broker.auth.methods import Denied, Identity, Method
    from broker.auth.scram import Verifier
    from broker.config import Config, ListenerConfig
    from broker.core.auditing import MayRetain
    from broker.core.grants import Grant
    from broker.core.ports import Peer
    from broker.core.retained import Author
    from broker.core.session import Session
    from broker.packets.types import Connect
    from broker.transport.listeners import Listener


class Certificates:
    """The method `certificate`: each listener says for itself what of a certificate is the user name."""

    name = "certificate"

    def __init__(self) -> None:
        self.of_listeners: dict[str, CertificateMethod] = {}  # by URL

    def check(self, connect: Connect, peer: Peer) -> Identity | Denied | None:
        method = self.of_listeners.get(peer.listener)
        return None if method is None else method.check(connect, peer)


class Access:
    """See the module. Raises AccessError.

    `opened` tells it of the listeners, which let nobody in before: what they allow goes by their URLs. One that is to
    take the place of `old` is told of them too, and then to `follow` it.
    """

    def __init__(self, config: Config, old: Access | None = None) -> None:
        self.config = config
        self._http: HttpMethod | None = None
        self._anonymous: set[str] = set()
        self._certificates = Certificates()
        self._log_ins = LogInMethod(time.time)
        self._passwords: PasswordMethod | None = None
        self._asked_of: Author | None = None  # whose right was looked at last: a Client mostly has several messages
        self._asked = Permissions((), "", "")
        auth = config.auth
        same = old is not None and _hashing(old.config) == _hashing(config)
        fresh = Hasher(auth.hashing_at_once, _patience(config), remembered_for=auth.password_cache)
        self._hasher: Hasher = old._hasher if old is not None and same else fresh  # it remembers by the hashes
        try:
            self._roles = policy(config.roles)
            self._methods = self._methods_of(config)
            self._scram = Scram(self._verifier) if auth.scram and self._passwords is not None else None
        except (PolicyError, PasswordFileError, OSError, ValueError, ModuleNotFoundError) as error:
            raise AccessError(str(error)) from None
        self.authenticator = Chain(
            self._methods,
            self._roles.grant_to,
            self._lets_in,
            Failures(auth.failures_per_minute, auth.failures_per_minute),
            time.time,
            trio.current_time,
            self._scram,
            auth.timeout,
        )

    def opened(self, listeners: Iterable[tuple[Listener, ListenerConfig]]) -> None:
        """These listeners are open."""
        for listener, wanted in listeners:
            if wanted.anonymous_allowed:
                self._anonymous.add(listener.url)
            if wanted.tls is not None and wanted.tls.user_name:
                self._certificates.of_listeners[listener.url] = CertificateMethod(wanted.tls.user_name)

    def follow(self, old: Access) -> None:
        """Take the place of `old`: its Authenticator goes by this from now on, and keeps what it has counted."""
        auth = self.config.auth
        same = old.config.auth.failures_per_minute == auth.failures_per_minute
        failures = None if same else self.authenticator.failures
        self.authenticator = old.authenticator
        self.authenticator.timeout = auth.timeout
        self._hasher.patience = _patience(self.config)
        self.authenticator.replace(self._methods, self._roles.grant_to, self._lets_in, self._scram, failures)

    def grant(self, session: Session) -> Grant:
        """What the owner of a Session may do by these roles."""
        holder = session.holder()
        held = holder.grant if holder is not None else session.guard
        user_name = session.principal.removeprefix(PRINCIPAL)
        if held is None:
            return self._roles.grant(user_name, session.client_identifier, (), session.principal)
        roles, expires_at = held.roles, held.expires_at
        grant = self._roles.grant(user_name, session.client_identifier, roles, session.principal, expires_at)
        grant.roles, grant.method = roles, held.method
        return grant

    def knows(self, grant: Grant) -> bool:
        """Whether the user is still there who has proved by a password, SCRAM or a log-in to be the one of `grant`."""
        user_name = grant.principal.removeprefix(PRINCIPAL)
        if grant.method == LogInMethod.name:
            log_ins = self._log_ins.log_ins
            return log_ins is not None and log_ins.stands(user_name)
        return self._has(grant.method, user_name)

    def hear_of(self, log_ins: LogIns, old: Access | None = None) -> None:
        """Let in by a cookie whom `log_ins` know, and end those whose users are not there any more, or have another
        password than under `old`."""
        self._log_ins.log_ins = log_ins
        log_ins.keep(
            lambda method, user_name: (
                self._has(method, user_name)
                and (method != PasswordMethod.name or old is None or old._hash(user_name) == self._hash(user_name))
            )
        )

    def auditor(self) -> MayRetain | None:
        """What says whether the author of a retained message may still retain it; None where everybody may."""
        return self._may_retain if self._roles.roles else None

    def _may_retain(self, author: Author, topic: str) -> bool:
        if author is not self._asked_of:
            user_name = author.principal.removeprefix(PRINCIPAL)
            self._asked_of = author
            self._asked = self._roles.permissions(user_name, author.client_identifier, author.roles)
        # Not through the Grant, whose memory is for the topics that are in use
        return self._asked.may_publish(topic, True).allowed

    def _hash(self, user_name: str) -> str:
        stored = self._passwords.file.hash_of(user_name) if self._passwords is not None else None
        return stored.text if stored is not None else ""

    def _has(self, method: str, user_name: str) -> bool:
        file = self._passwords.file if self._passwords is not None else None
        if method == PasswordMethod.name:
            return file is not None and file.hash_of(user_name) is not None
        if method == SCRAM:
            return file is not None and self._scram is not None and file.scram(user_name) is not None
        return True

    def _lets_in(self, peer: Peer) -> bool:
        return peer.listener in self._anonymous

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    def _verifier(self, name: str) -> Verifier | None:
        passwords = self._passwords
        return passwords.file.scram(name) if passwords is not None else None

    def _methods_of(self, config: Config) -> list[Method]:
        """The methods of `[auth]`, and log-ins beside them: after what a Client shows on purpose, and before `http`,
        which knows everybody or refuses him."""
        names = list(config.auth_methods)
        found = [self._method(config, name) for name in names]
        if found:
            found.insert(names.index("http") if "http" in names else len(names), self._log_ins)
        return found

    def _method(self, config: Config, name: str) -> Method:
        make: dict[str, Callable[[Config], Method]] = {
            "certificate": lambda _: self._certificates,
            "password": self._password_method,
            "jwt": _jwt_method,
            "http": self._http_method,
        }
        return make[name](config)

    def _password_method(self, config: Config) -> PasswordMethod:
        path = config.auth.password_file
        assert path is not None
        file = PasswordFile.load(path, allow_loose=config.server.allow_readable_keys)
        self._passwords = PasswordMethod(file, self._hasher)
        return self._passwords

    def _http_method(self, config: Config) -> HttpMethod:
        http = config.auth.http
        assert http is not None
        authorization = http.authorization_file.read_text("utf-8").strip() if http.authorization_file else ""
        self._http = HttpMethod(
            http.url,
            timeout=http.timeout,
            cache=http.cache,
            ca_file=str(http.ca_file or ""),
            authorization=authorization,
            monotonic=trio.current_time,
        )
        return self._http


def _hashing(config: Config) -> tuple[int, float]:
    return config.auth.hashing_at_once, config.auth.password_cache


def _patience(config: Config) -> float:
    """Seconds that a password may wait in line, so that its CONNACK comes before the time for CONNECT is over."""
    times = [config.auth.timeout, *(each.limits.handshake_timeout for each in config.listeners)]
    return 0.8 * min(times)


def _jwt_method(config: Config) -> JwtMethod:
    jwt = config.auth.jwt
    assert jwt is not None
    return JwtMethod(
        [Key.read(key.kid, key.algorithm, key.file) for key in jwt.bound_keys],
        jwt.algorithms,
        audience=jwt.audience,
        issuer=jwt.issuer,
        user_claim=jwt.user_claim,
        roles_claim=jwt.roles_claim,
        leeway=jwt.leeway,
        require_expiry=jwt.require_expiry,
        match_user_name=jwt.match_user_name,
        parameter=jwt.query_parameter,
        cookie=jwt.cookie,
    )
