"""Hashes of passwords, and the one place where they are computed.

New hashes are argon2id (19 MiB, t=2, p=1). Two older kinds are read because `mosquitto_passwd` writes them: `$7$`
(PBKDF2-HMAC-SHA512) and `$6$` (one SHA-512). A password is bytes, as in CONNECT, and is never kept: neither it nor a
hash stands in a message, a `repr` or an exception.

The Hasher keeps the work off the loop and within limits: so many threads, no more in the line than are served in time,
and no second hash for a Client that comes back with what was right before. What it remembers is an HMAC under a key of
this process, over the user name, the hash in the file and the password: a changed hash is never matched by an old
memory. What was wrong is not remembered.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Final, Protocol

import argon2.low_level
import trio
from argon2.exceptions import VerifyMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MEMORY: Final = 19_456  # KiB; with TIME the profile that OWASP gives first for argon2id
TIME: Final = 2
LANES: Final = 1

# What a file may ask for. A check that takes seconds, or half the memory, is a mistake and no precaution.
MOST_MEMORY: Final = 262_144  # KiB
MOST_TIME: Final = 20
MOST_LANES: Final = 16
MOST_ITERATIONS: Final = 5_000_000

EXPECTED: Final = 0.04  # seconds of a hash, before one was measured

FEW_ITERATIONS: Final = 100_000  # of PBKDF2-HMAC-SHA512: with fewer a thief of the file tries passwords too fast

_ARGON2: Final = re.compile(r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,9}),p=([0-9]{1,9})\$([^$]*)\$([^$]*)")
_PBKDF2: Final = re.compile(r"\$7\$([0-9]{1,9})\$([^$]*)\$([^$]*)")
_SHA512: Final = re.compile(r"\$6\$([^$]*)\$([^$]*)")


class HashMistake(ValueError):
    """Not what can be read. `at` is the character at which it goes wrong, from 0."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


class StoredHash(Protocol):
    """The hash of one password."""

    text: str  # as it stands in the file
    kind: str

    @property
    def weak(self) -> bool:
        """Whether who steals the file finds the password soon."""
        ...

    @property
    def cost(self) -> str:
        """What a check costs, for people."""
        ...

    def verify(self, password: bytes) -> bool:
        """Whether this is the password, in a time that tells nothing of it. It blocks; see Hasher.verify."""
        ...

    def decoy(self, seed: bytes) -> StoredHash:
        """One of the same cost that no password is known to, from 64 bytes at random."""
        ...


class Argon2id:
    """`$argon2id$v=19$m=KIB,t=PASSES,p=LANES$salt$hash`, base64 without padding (the PHC string format)."""

    __slots__ = ("_encoded", "lanes", "memory", "text", "time")

    kind = "argon2id"

    def __init__(self, memory: int, passes: int, lanes: int, salt: bytes, digest: bytes) -> None:
        self.memory = memory  # KiB
        self.time = passes
        self.lanes = lanes
        costs = f"m={memory},t={passes},p={lanes}"
        self.text = f"$argon2id$v=19${costs}${_bare(salt)}${_bare(digest)}"
        self._encoded = self.text.encode()

    @classmethod
    def make(cls, password: bytes) -> Argon2id:
        """A new hash of `password`, with a salt at random. It blocks for some 50 ms."""
        salt = os.urandom(16)
        kind = argon2.low_level.Type.ID
        digest = argon2.low_level.hash_secret_raw(password, salt, TIME, MEMORY, LANES, 32, kind)
        return cls(MEMORY, TIME, LANES, salt, digest)

    @property
    def weak(self) -> bool:
        return self.memory * self.time < MEMORY * TIME // 2

    @property
    def cost(self) -> str:
        return f"{self.memory / 1024:.3g} MiB, t={self.time}, p={self.lanes}"

    def verify(self, password: bytes) -> bool:
        try:
            return argon2.low_level.verify_secret(self._encoded, password, argon2.low_level.Type.ID)
        except VerifyMismatchError:
            return False

    def decoy(self, seed: bytes) -> Argon2id:
        return Argon2id(self.memory, self.time, self.lanes, seed[:16], seed[16:48])


class Pbkdf2:
    """`$7$iterations$salt$hash`: PBKDF2-HMAC-SHA512, as mosquitto_passwd writes it."""

    __slots__ = ("_digest", "_salt", "iterations", "text")

    kind = "pbkdf2-sha512"

    def __init__(self, iterations: int, salt: bytes, digest: bytes) -> None:
        self.iterations = iterations
        self._salt = salt
        self._digest = digest
        self.text = f"$7${iterations}${b64encode(salt).decode()}${b64encode(digest).decode()}"

    @property
    def weak(self) -> bool:
        return self.iterations < FEW_ITERATIONS

    @property
    def cost(self) -> str:
        return f"{self.iterations:,} iterations"

    def verify(self, password: bytes) -> bool:
        computed = hashlib.pbkdf2_hmac("sha512", password, self._salt, self.iterations)
        # HMAC fills a key up with NULs, so it cannot tell "x" from "x\0"; no password of mosquitto_passwd ends in one
        return hmac.compare_digest(computed, self._digest) and not password.endswith(b"\0")

    def decoy(self, seed: bytes) -> Pbkdf2:
        return Pbkdf2(self.iterations, seed[:12], seed)


class Sha512:
    """`$6$salt$hash`: one SHA-512 of password and salt, as mosquitto_passwd wrote it up to 1.6."""

    __slots__ = ("_digest", "_salt", "text")

    kind = "sha512"
    weak = True
    cost = "1 iteration"

    def __init__(self, salt: bytes, digest: bytes) -> None:
        self._salt = salt
        self._digest = digest
        self.text = f"$6${b64encode(salt).decode()}${b64encode(digest).decode()}"

    def verify(self, password: bytes) -> bool:
        return hmac.compare_digest(hashlib.sha512(password + self._salt).digest(), self._digest)

    def decoy(self, seed: bytes) -> Sha512:
        return Sha512(seed[:12], seed)


def read_hash(text: str) -> StoredHash:
    """The hash that `text` writes. Raises HashMistake."""
    if found := _ARGON2.fullmatch(text):
        memory = number(found, 1, "memory (KiB)", 8, MOST_MEMORY)
        passes = number(found, 2, "passes", 1, MOST_TIME)
        lanes = number(found, 3, "lanes", 1, min(MOST_LANES, memory // 8))
        salt, digest = data(found, 4, "salt", 8, 64, bare=True), data(found, 5, "hash", 16, 64, bare=True)
        return Argon2id(memory, passes, lanes, salt, digest)
    if found := _PBKDF2.fullmatch(text):
        iterations = number(found, 1, "number of iterations", 1, MOST_ITERATIONS)
        return Pbkdf2(iterations, data(found, 2, "salt", 8, 64), data(found, 3, "hash", 64, 64))
    if found := _SHA512.fullmatch(text):
        return Sha512(data(found, 1, "salt", 8, 64), data(found, 2, "hash", 64, 64))
    if not text:
        raise HashMistake(0, "there is no hash")
    if text.startswith("$argon2id$"):
        raise HashMistake(
            0, "an argon2id hash reads $argon2id$v=19$m=KIB,t=PASSES,p=LANES$salt$hash; this one does not"
        )
    if text.startswith("$7$"):
        raise HashMistake(0, "a $7$ hash reads $7$iterations$salt$hash; this one does not")
    if text.startswith("$6$"):
        raise HashMistake(0, "a $6$ hash reads $6$salt$hash; this one does not")
    if foreign := re.match(r"\$(argon2i|argon2d|2[abxy]|1|5|y|scrypt|pbkdf2[a-z0-9-]*|scram-sha-256)\$", text):
        raise HashMistake(0, f"${foreign[1]}$ is no hash that is read here; $argon2id$, $7$ and $6$ are")
    raise HashMistake(0, "this is no hash; does the password stand here as plain text?")


def number(found: re.Match[str], group: int, what: str, least: int, most: int) -> int:
    """The number in a group of a match. Raises HashMistake."""
    value = int(found[group])
    if not least <= value <= most:
        raise HashMistake(found.start(group), f"the {what} must be from {least:,} to {most:,}")
    if found[group] != str(value):
        raise HashMistake(found.start(group), f"the {what} has a zero in front")
    return value


def data(found: re.Match[str], group: int, what: str, least: int, most: int, *, bare: bool = False) -> bytes:
    """The bytes that a group of a match writes in base64; `bare` is without padding. Raises HashMistake."""
    text = found[group]
    try:
        value = binascii.a2b_base64(text + "=" * (-len(text) % 4) if bare else text, strict_mode=True)
    except ValueError:
        value = None
    if value is None or (_bare(value) if bare else b64encode(value).decode()) != text:
        raise HashMistake(found.start(group), f"the {what} is not base64; was the line cut off?")
    if not least <= len(value) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise HashMistake(
            found.start(group), f"the {what} has {len(value)} bytes and not {wanted}; was the line cut off?"
        )
    return value


def _bare(value: bytes) -> str:
    return b64encode(value).decode().rstrip("=")


class _Turn:
    """One password that is being verified, and all who ask for it meanwhile."""

    __slots__ = ("lock", "right", "users")

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.right: bool | None = None
        self.users = 0


class HasherBusy(Exception):
    """So many are in the line that this check would come too late; it is not begun."""


class Hasher:
    """Verifies passwords: `parallel` at once, each in a thread; the others wait in a line.

    Nobody is let into the line who would be there for longer than `patience` seconds, by how long the last hashes took:
    a Client that is told so at once asks again later, and one whose time is up has cost a hash for nothing. Those who
    ask the same at the same time are one in the line.

    It remembers `remembered` users whose password was right, each for `remembered_for` seconds; the one that was seen
    last stays longest.
    """

    def __init__(
        self,
        parallel: int = 2,
        patience: float = 4.0,
        remembered: int = 10_000,
        remembered_for: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience = patience
        self.waiting = 0  # checks that are under way or wait
        self.hashed = 0  # checks that were hashed
        self.busy = 0  # checks that were not begun
        self.seconds = EXPECTED  # of a hash, on the average of the last few
        self._parallel = parallel
        self._limiter = trio.CapacityLimiter(parallel)
        self._capacity = remembered
        self._lifetime = remembered_for
        self._clock = clock
        self._key = os.urandom(32)
        self._memory: dict[str, tuple[bytes, float]] = {}  # user name -> HMAC, until when; the last seen at the end
        self._turns: dict[bytes, _Turn] = {}  # by HMAC: what is asked now

    @property
    def users(self) -> tuple[str, ...]:
        """Who is remembered, the last seen at the end."""
        return tuple(self._memory)

    def remembers(self, name: str, stored: StoredHash, password: bytes) -> bool:
        """Whether this very password was right for this very hash not long ago. It takes microseconds."""
        return self._remembers(name, self._digest(name, stored, password))

    def forget(self, name: str) -> None:
        """Hash the next password of `name` again."""
        self._memory.pop(name, None)

    def decoy(self, name: str, hashes: Sequence[StoredHash]) -> StoredHash:
        """What to verify for a user that is not there: the same for the same name, at the cost of one of `hashes`."""
        seed = hmac.digest(self._key, name.encode(), "sha512")
        return hashes[int.from_bytes(seed[:8], "big") % len(hashes)].decoy(seed)

    async def verify(self, name: str, stored: StoredHash, password: bytes, *, decoy: bool = False) -> bool:
        """Whether `password` is that of `stored`; what is right is remembered, a decoy's never.

        Those who ask the same at the same time have one hash together, and one answer. Cancelling leaves the line; a
        hash that is being computed goes on, and holds its place of `parallel` until it is done. Raises HasherBusy.
        """
        digest = self._digest(name, stored, password)
        if not decoy and self._remembers(name, digest):
            return True
        turn = self._turns.get(digest)
        if turn is None:
            ahead = len(self._turns) + 1 - self._parallel  # hashes that begin before this one can
            if ahead * self.seconds > self.patience * self._parallel:
                self.busy += 1
                raise HasherBusy
            turn = self._turns[digest] = _Turn()
        turn.users += 1
        self.waiting += 1
        try:
            async with turn.lock:
                if turn.right is None:
                    turn.right = await trio.to_thread.run_sync(
                        self._timed, stored, password, abandon_on_cancel=True, limiter=self._limiter
                    )
                    self.hashed += 1
                    if turn.right and not decoy:
                        self._remember(name, digest)
                return turn.right and not decoy
        finally:
            self.waiting -= 1
            turn.users -= 1
            if not turn.users:
                del self._turns[digest]

    def _timed(self, stored: StoredHash, password: bytes) -> bool:
        """In a thread. The others may write `seconds` at the same time: one of the two is lost, which does no harm."""
        began = self._clock()
        right = stored.verify(password)
        self.seconds += (self._clock() - began - self.seconds) / 8
        return right

    def _digest(self, name: str, stored: StoredHash, password: bytes) -> bytes:
        # Neither a user name of MQTT nor a hash has a NUL in it
        return hmac.digest(self._key, b"\0".join((name.encode(), stored.text.encode(), password)), "sha256")

    def _remembers(self, name: str, digest: bytes) -> bool:
        known, until = self._memory.get(name, (b"", 0.0))
        if not hmac.compare_digest(known, digest):
            return False
        del self._memory[name]
        if self._clock() >= until:
            return False
        self._memory[name] = (known, until)
        return True

    def _remember(self, name: str, digest: bytes) -> None:
        if self._capacity <= 0 or self._lifetime <= 0:
            return
        self._memory.pop(name, None)
        while len(self._memory) >= self._capacity:
            del self._memory[next(iter(self._memory))]
        self._memory[name] = (digest, self._clock() + self._lifetime)
