"""The password file, and the Method that asks it.

    # a comment
    name:hash
    name:hash:$scram-sha-256$iterations$salt$StoredKey$ServerKey

One user a line, UTF-8, each line ended by a newline; the hashes are those of `broker.auth.hashing`. The second field is
there for those who may also connect with SCRAM (RFC 5802), which needs a verifier of its own. Empty lines and lines
that begin with `#` are skipped.

It is read strictly. One line that is not right, a name that comes twice, no user at all, a file that others may read:
the whole file is refused, and PasswordFileError names every mistake with its place. A broker with such a file does not
start, and one that runs keeps the old file. No message quotes more of a line than its user name.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
import unicodedata
from base64 import b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.auth.hashing import HasherBusy, HashMistake, data, number, read_hash
from broker.auth.methods import Denied, Identity
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from broker.auth.hashing import Hasher, StoredHash
    from broker.auth.methods import Verdict
    from broker.core.ports import Peer
    from broker.packets.types import Connect

LONGEST: Final = 65_535  # bytes of a user name or a password (MQTT 5.0 sections 1.5.4 and 1.5.6)
ITERATIONS: Final = 10_000  # of a new SCRAM verifier: the Client computes them, which may be a small device
FEWEST_ITERATIONS: Final = 4096  # RFC 7677 section 4
MOST_ITERATIONS: Final = 5_000_000

BYTE_ORDER_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"

_SCRAM: Final = re.compile(r"\$scram-sha-256\$([0-9]{1,9})\$([^$]*)\$([^$]*)\$([^$]*)")
_SHOWN: Final = 64  # characters of a user name in a log


class Mistake(NamedTuple):
    """One thing to mend. `column` counts characters; line and column begin at 1. `fix` may be empty."""

    line: int
    column: int
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message}" + (f"; {self.fix}" if self.fix else "")


class PasswordFileError(Exception):
    """The file cannot be used. `str()` of it is all that is wrong, one line a mistake, and no secret."""

    def __init__(self, path: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(f"{path}:{mistake}" for mistake in mistakes))
        self.path = path
        self.mistakes = tuple(mistakes)


class ScramVerifier:
    """What a Server needs to verify SCRAM-SHA-256 (RFC 5802 section 3); the password cannot be read from it."""

    __slots__ = ("iterations", "salt", "server_key", "stored_key")

    def __init__(self, iterations: int, salt: bytes, stored_key: bytes, server_key: bytes) -> None:
        self.iterations = iterations
        self.salt = salt
        self.stored_key = stored_key
        self.server_key = server_key

    @classmethod
    def make(cls, password: bytes, salt: bytes = b"", iterations: int = ITERATIONS) -> ScramVerifier:
        """The verifier of `password`, with a salt at random unless one is given.

        Raises ValueError for a password that SCRAM cannot carry: it has to be text that SASLprep (RFC 4013) takes.
        """
        import scramp  # it takes long, and only a new verifier needs it

        try:
            text = password.decode()
        except UnicodeDecodeError:
            raise ValueError("SCRAM takes text in UTF-8 as a password, and this one is binary") from None
        mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
        try:
            made = mechanism.make_auth_info(text, iterations, salt or os.urandom(16))
        except scramp.ScramException as error:
            raise ValueError(f"SCRAM does not take this password: {error.args[0]}") from None
        salt, stored_key, server_key, iterations = made
        return cls(iterations, salt, stored_key, server_key)

    @classmethod
    def read(cls, text: str) -> ScramVerifier:
        """The verifier that `text` writes. Raises HashMistake."""
        found = _SCRAM.fullmatch(text)
        if found is None:
            raise HashMistake(
                0, "a SCRAM verifier reads $scram-sha-256$iterations$salt$StoredKey$ServerKey; this one does not"
            )
        iterations = number(found, 1, "number of iterations", FEWEST_ITERATIONS, MOST_ITERATIONS)
        salt = data(found, 2, "salt", 12, 64)
        return cls(iterations, salt, data(found, 3, "StoredKey", 32, 32), data(found, 4, "ServerKey", 32, 32))

    @property
    def text(self) -> str:
        """As it stands in the file."""
        parts = (b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key))
        return f"$scram-sha-256${self.iterations}${'$'.join(parts)}"


class User(NamedTuple):
    """A line of the file. `line` is its number; `hash` must not be shown to anybody."""

    name: str
    hash: StoredHash
    scram: ScramVerifier | None = None
    line: int = 0

    def __str__(self) -> str:
        """The line, without its end."""
        return f"{self.name}:{self.hash.text}" + (f":{self.scram.text}" if self.scram else "")

    def __repr__(self) -> str:
        return f"User({self.name!r}, {self.hash.kind})"


class PasswordFile:
    """The users of a password file; it does not change."""

    def __init__(self, users: Mapping[str, User]) -> None:
        if not users:
            raise ValueError("a password file has at least one user")
        self.users = dict(users)
        self.hashes = tuple(user.hash for user in self.users.values())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, allow_loose: bool = False) -> PasswordFile:
        """Read the file at `path`. It blocks. Raises PasswordFileError.

        `allow_loose` lets through a file that everybody on the machine may read or write.
        """
        content, mistakes = read(path, allow_loose=allow_loose)
        quoted = shlex.quote(os.fspath(path))
        users, more = parse(content, quoted)
        mistakes += more
        if not users and not more:
            empty = "there is no user, only comments" if content.strip() else "the file is empty: there is no user"
            mistakes.append(Mistake(1, 1, empty, f"`broker passwd add {quoted} NAME` adds one"))
        if mistakes:
            raise PasswordFileError(os.fspath(path), mistakes)
        return cls(users)

    def hash_of(self, name: str) -> StoredHash | None:
        user = self.users.get(name)
        return user.hash if user else None

    def scram(self, name: str) -> ScramVerifier | None:
        """None where there is no such user, or one without a verifier."""
        user = self.users.get(name)
        return user.scram if user else None


class PasswordMethod:
    """The Method "password": User Name and Password of CONNECT against a PasswordFile."""

    name = "password"

    def __init__(self, file: PasswordFile, hasher: Hasher) -> None:
        self.file = file
        self._hasher = hasher

    def check(self, connect: Connect, peer: Peer) -> Verdict | Awaitable[Verdict]:
        """At once where there is nothing to check, or this password was right not long ago; else when it is hashed."""
        name, password = connect.user_name, connect.password
        if name is None or password is None:
            return None
        stored = self.file.hash_of(name)
        # Whoever measures the time learns nothing of who has an account
        asked = stored or self._hasher.decoy(name, self.file.hashes)
        if self._hasher.remembers(name, asked, password) and stored is not None:
            return Identity(name, self.name)
        return self._verify(name, asked, password, stored is not None)

    def replace(self, file: PasswordFile) -> None:
        """Use `file` from now on. Whose hash is another one, or gone, is forgotten and hashed again."""
        for name in self._hasher.users:
            if _text(file.hash_of(name)) != _text(self.file.hash_of(name)):
                self._hasher.forget(name)
        self.file = file

    async def _verify(self, name: str, asked: StoredHash, password: bytes, known: bool) -> Verdict:
        shown = repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")
        try:
            right = await self._hasher.verify(name, asked, password, decoy=not known)
        except HasherBusy:
            return Denied(
                "too many passwords wait to be verified, `hashing_at_once` in [auth] at a time", ReasonCode.SERVER_BUSY
            )
        if not known:
            return Denied(f"no user {shown} in the password file")
        if not right:
            return Denied(f"wrong password for user {shown}")
        if _text(self.file.hash_of(name)) != asked.text:
            self._hasher.forget(name)
            return Denied(f"the password of user {shown} was changed while it was verified")
        return Identity(name, self.name)


def read(path: str | os.PathLike[str], *, allow_loose: bool = False) -> tuple[bytes, list[Mistake]]:
    """The content of the file, and who else may read or change it. Raises PasswordFileError where it cannot be read."""
    shown = os.fspath(path)
    quoted = shlex.quote(shown)
    try:
        # A FIFO that nobody writes into would be waited for without O_NONBLOCK
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise PasswordFileError(shown, [Mistake(1, 1, "this is a directory", "name a file in it")])
            if not stat.S_ISREG(found.st_mode):
                raise PasswordFileError(shown, [Mistake(1, 1, "this is no regular file", "name the file itself")])
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        fixes = {
            errno.ENOENT: f"`broker passwd add {quoted} NAME` makes it",
            errno.EACCES: "let the user that runs this read it, with chown or chmod",
        }
        message = f"cannot be read: {os.strerror(error.errno) if error.errno else type(error).__name__}"
        raise PasswordFileError(shown, [Mistake(1, 1, message, fixes.get(error.errno or 0, ""))]) from None
    except ValueError:
        raise PasswordFileError(shown, [Mistake(1, 1, "no path has a NUL in it")]) from None
    mistakes = []
    if found.st_mode & (stat.S_IROTH | stat.S_IWOTH) and not allow_loose:
        does = "write" if found.st_mode & stat.S_IWOTH else "read"
        fix = f"`chmod o-rwx {quoted}` keeps it to its owner and group"
        mistakes.append(Mistake(1, 1, f"everybody on this machine may {does} this file", fix))
    return content, mistakes


def parse(content: bytes, path: str) -> tuple[dict[str, User], list[Mistake]]:
    """The users of a password file, which may be none, and all that is wrong with its lines.

    `path` stands in the commands that mend them.
    """
    users: dict[str, User] = {}
    mistakes: list[Mistake] = []
    lines = content.split(b"\n")
    last = lines.pop()
    if last:
        at = len(last.decode(errors="replace")) + 1
        fix = "put the rest back from a copy, or end it with a newline if nothing is missing"
        mistakes.append(Mistake(len(lines) + 1, at, "the last line does not end: was the file cut off?", fix))
        lines.append(last)
    for count, line in enumerate(lines, 1):
        user = _user(line, count, path, mistakes)
        if user is None:
            continue
        first = users.setdefault(user.name, user)
        if first is not user:
            fix = f"keep this line or line {first.line}"
            mistakes.append(Mistake(count, 1, f"user {user.name!r} is there twice", fix))
    return users, sorted(mistakes)


def name_mistake(name: str) -> HashMistake | None:
    """What keeps `name` from being a user name in the file: where it goes wrong, and why."""
    if not name:
        return HashMistake(0, "the user name is empty")
    if name.startswith("#"):
        return HashMistake(0, "a user name may not begin with '#', which begins a comment")
    if name != name.strip():
        at = 0 if name[0].isspace() else len(name.rstrip())
        return HashMistake(at, "a user name may not begin or end with white space")
    for at, character in enumerate(name):
        if character == ":":
            return HashMistake(at, "a user name may not have a ':' in it, which ends it in the file")
        if unicodedata.category(character) in ("Cc", "Cs"):
            return HashMistake(at, f"a user name may not have the control character U+{ord(character):04X} in it")
    if len(name.encode()) > LONGEST:
        return HashMistake(0, f"a user name may not have more than {LONGEST:,} bytes")
    return None


def _user(line: bytes, count: int, path: str, mistakes: list[Mistake]) -> User | None:
    """The user of a line; None for a comment, an empty line, and one with mistakes, which are added to the list."""

    def wrong(at: int, message: str, fix: str) -> None:
        mistakes.append(Mistake(count, at + 1, message, fix))

    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        wrong(len(line[: error.start].decode()), "this is not UTF-8", f"save {path} as UTF-8")
        return None
    if text.startswith(BYTE_ORDER_MARK):
        wrong(0, "there is a byte order mark", f"save {path} as UTF-8 without one")
        return None
    if not text.strip(" \t") or text.lstrip(" \t").startswith("#"):
        return None
    if text.endswith("\r"):
        wrong(len(text) - 1, "the line ends as on Windows", f"`sed -i 's/\\r$//' {path}` mends all lines")
        return None
    name, colon, rest = text.partition(":")
    if not colon:
        wrong(0, "this is not name:hash, there is no ':'", f"`broker passwd add {path} NAME` writes such a line")
        return None
    found = len(mistakes)
    if mistake := name_mistake(name):
        wrong(mistake.at, mistake.message, "give the user another name")
        renew = f"broker passwd add {path} NAME"
    else:
        renew = f"broker passwd add {path} {name!r}"
    encoded, colon, verifier = rest.partition(":")
    stored, scram = None, None
    try:
        stored = read_hash(encoded)
    except HashMistake as mistake:
        wrong(len(name) + 1 + mistake.at, f"user {name!r}: {mistake.message}", f"`{renew}` writes a new one")
    try:
        scram = ScramVerifier.read(verifier) if colon else None
    except HashMistake as mistake:
        start = len(name) + len(encoded) + 2
        wrong(start + mistake.at, f"user {name!r}: {mistake.message}", f"`{renew} --scram` writes a new one")
    return User(name, stored, scram, count) if stored and len(mistakes) == found else None


def _text(stored: StoredHash | None) -> str:
    return stored.text if stored else ""
