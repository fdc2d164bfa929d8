"""SCRAM-SHA-256 (RFC 5802, RFC 7677) from the server's side: a password is proved and never sent.

What is said, as Authentication Data of CONNECT, AUTH and CONNACK (MQTT 5.0 section 4.12):

    Client   n,,n=user,r=nonce                  in CONNECT, or in AUTH where the CONNECT had none
    Server   r=nonce+ours,s=salt,i=iterations   AUTH 0x18
    Client   c=biws,r=nonce+ours,p=proof        AUTH 0x18
    Server   v=signature                        CONNACK: so the Client knows that the Server knows, too

An unknown user is asked in the same words: the salt is made of his name and a secret, the same each time, and no proof
fits. `scramp` reads, writes and compares; there is no channel binding. It takes time to import, so only a Scram does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final, Protocol

from broker.auth.methods import Denied, Identity
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
NAME: Final = "scram"  # as an Identity's method
_LONGEST: Final = 512  # bytes of a message: to prepare a name of as many takes up to 10 ms
_LEAST_ITERATIONS: Final = 4096  # RFC 7677 section 4
_LEAST_SALT: Final = 12  # bytes; `scramp` takes no shorter one


class Verifier(Protocol):
    """What is kept of a password (RFC 5802 section 3): it judges a proof, and cannot make one."""

    @property
    def salt(self) -> bytes: ...

    @property
    def iterations(self) -> int: ...

    @property
    def stored_key(self) -> bytes: ...

    @property
    def server_key(self) -> bytes: ...


class Said:
    """Go on: the Client is to hear `data`. Empty where it has not yet said anything."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Proved:
    """The Client is `identity`, and is to hear `data`."""

    __slots__ = ("data", "identity")

    def __init__(self, identity: Identity, data: bytes) -> None:
        self.identity = identity
        self.data = data


class Scram:
    """The users and their verifiers. `verifiers` gives one by user name (after SASLprep), or None.

    An unknown user is asked for `iterations` with a salt of `salt_bytes`: both as the verifiers have them, or he is
    told apart. `secret` makes his salt; without one it changes with each start of the process.
    """

    def __init__(
        self,
        verifiers: Callable[[str], Verifier | None],
        iterations: int = 10_000,
        salt_bytes: int = 16,
        secret: bytes | None = None,
    ) -> None:
        if iterations < _LEAST_ITERATIONS:
            raise ValueError(f"{iterations} iterations; it must be at least {_LEAST_ITERATIONS}")
        if not _LEAST_SALT <= salt_bytes <= hashlib.sha256().digest_size:
            raise ValueError(f"a salt of {salt_bytes} bytes; it may have {_LEAST_SALT} to 32")
        import scramp

        self._verifiers = verifiers
        self._iterations = iterations
        self._salt_bytes = salt_bytes
        self._secret = secret or secrets.token_bytes(32)
        self.error: type[Exception] = scramp.ScramException  # what `mechanism` raises
        self.mechanism = scramp.ScramMechanism(SCRAM_SHA_256)

    def begin(self, nonce: str | None = None) -> Conversation:
        """A Client wants to prove itself. `nonce` is ours: random if it is not given."""
        return Conversation(self, nonce)

    def find(self, user_name: str) -> tuple[bytes, bytes, bytes, int]:
        """Salt, stored key, server key and iterations. Raises what `verifiers` does, and on a verifier that is none."""
        invented = (
            self._invent("salt", user_name)[: self._salt_bytes],
            self._invent("stored key", user_name),
            self._invent("server key", user_name),
            self._iterations,
        )
        verifier = self._verifiers(user_name)
        if verifier is None:
            return invented
        size = hashlib.sha256().digest_size
        whole = all(isinstance(part, bytes) for part in (verifier.salt, verifier.stored_key, verifier.server_key))
        if (
            not whole
            or len(verifier.salt) < _LEAST_SALT
            or (len(verifier.stored_key), len(verifier.server_key)) != (size, size)
            or verifier.iterations < _LEAST_ITERATIONS
        ):
            raise ValueError("a verifier that can't be used")
        return verifier.salt, verifier.stored_key, verifier.server_key, verifier.iterations

    def _invent(self, part: str, user_name: str) -> bytes:
        return hmac.digest(self._secret, f"{part}:{user_name}".encode(), "sha256")


class Conversation:
    """One Client proving itself. `user_name` is whom it says to be, "" until it has said so."""

    def __init__(self, scram: Scram, nonce: str | None) -> None:
        self.user_name = ""
        self._scram = scram
        self._server = scram.mechanism.make_server(self._find, s_nonce=nonce)
        self._trouble: Exception | None = None
        self._messages = 0  # from the Client
        self._silent = False  # it has begun without data

    def step(self, data: bytes) -> Said | Proved | Denied:
        """What to say to `data`. After Proved or Denied everything is Denied.

        Raises what looking for the verifier raises, and ValueError on one that can't be used.
        """
        if not data and self._messages == 0 and not self._silent:
            self._silent = True
            return Said(b"")
        self._messages += 1
        if self._messages > 2:
            return self._over("it is over")
        try:
            return self._hear(data)
        except UnicodeDecodeError:
            return self._over("not UTF-8")
        except self._scram.error as error:
            if self._trouble is not None:
                self._messages = 2
                raise self._trouble from None
            fault = getattr(error, "server_error", None)
            if fault is not None and fault.value == "invalid-proof":
                return Denied("the proof does not fit the password")
            return self._over("not what SCRAM says here")

    def _over(self, detail: str) -> Denied:
        self._messages = 2
        return Denied(detail, ReasonCode.NOT_AUTHORIZED)

    def _hear(self, data: bytes) -> Said | Proved | Denied:
        if len(data) > _LONGEST:
            return self._over(f"{len(data)} bytes at once")
        text = data.decode()
        if self._messages == 1:
            self._server.set_client_first(text)
            return Said(self._server.get_server_first().encode())
        self._server.set_client_final(text)
        return Proved(Identity(self.user_name, NAME), self._server.get_server_final().encode())

    def _find(self, user_name: str) -> tuple[bytes, bytes, bytes, int]:
        self.user_name = user_name
        try:
            return self._scram.find(user_name)
        except Exception as error:
            self._trouble = error  # for `scramp` it is one of the Client's mistakes
            raise
