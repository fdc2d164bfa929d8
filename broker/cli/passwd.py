"""`broker passwd`: the users of a password file and their passwords.

A password comes from a terminal that does not show it, or from stdin; never from the command line, which everybody on
the machine can read. A file is replaced as a whole: a new one is written beside it, brought to the disk and put in its
place, with its owner and mode. So whoever reads it, and whatever is killed, finds the old file or the new one. Comments
and the other users' lines stay as they are.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import getpass
import json
import os
import shlex
import stat
import sys
import tempfile
import time
import unicodedata
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli.errors import ConfigurationMistake, Failure
from broker.cli.payloads import legible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.auth.passwords import Mistake, User

PATIENCE: Final = 5.0  # seconds to wait for another `broker passwd` that changes a file in the same folder

_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["--help", "-h"], "max_content_width": 100}
_FILE = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
_STDIN = click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read the password from stdin; one newline at its end is left out."
)


@click.group(
    context_settings=_SETTINGS,
    epilog="""\b
Examples:
  broker passwd add passwords alice              (asks twice; makes the file where there is none)
  broker passwd add passwords sensor-7 --scram   (also for SCRAM-SHA-256, MQTT 5.0)
  pass show mqtt/bob | broker passwd add passwords bob --stdin
  broker passwd check passwords                  (is the file good, and who is in it?)
  broker passwd check passwords alice            (is this her password?)
  broker passwd rm passwords bob
  broker passwd import /etc/mosquitto/passwd passwords

\b
A line of the file is name:hash, where hash is argon2id, or $7$ or $6$ as mosquitto_passwd writes them.
A running broker reads the file again when it is told to reload.

\b
Exit codes: 0 done, 1 failure or the wrong password, 2 usage or a mistake in a file, 130 Ctrl-C.
""",
)
def passwd() -> None:
    """Keep the password file of a broker.

    No password is ever given as an argument: it is asked for, or read from stdin.
    """


@passwd.command(
    context_settings=_SETTINGS,
    short_help="Add a user, or give one a new password.",
    epilog="""\b
Examples:
  broker passwd add passwords alice
  printf %s "$SECRET" | broker passwd add passwords alice --stdin
""",
)
@_FILE
@click.argument("name")
@_STDIN
@click.option(
    "--scram/--no-scram",
    default=None,
    help="Also write a verifier for SCRAM-SHA-256, or none. Without either a user who has one gets a new one. Who "
    "steals the file can try passwords faster against it than against argon2id.",
)
def add(file: Path, name: str, from_stdin: bool, scram: bool | None) -> None:
    """Add user NAME to the password file FILE, or give NAME a new password.

    A new FILE can be read by its owner only (mode 0600); one that is there keeps its owner and mode.
    """
    from broker.auth.hashing import Argon2id
    from broker.auth.passwords import ScramVerifier, User, name_mistake

    wrong = name_mistake(name)
    if wrong is not None:
        raise click.UsageError(f"{wrong.message}.")
    _users_of(file, name)  # what is wrong with the file is said before a password is asked for
    password = _new_password(name, from_stdin)
    hashed = Argon2id.make(password)
    with _changing(file):
        content, users = _users_of(file, name)
        there = users.get(name)
        verifier = None
        if scram if scram is not None else there is not None and there.scram is not None:
            try:
                verifier = ScramVerifier.make(password)
                _check_name(name)
            except ValueError as error:
                raise Failure(f"{error}; --no-scram writes the argon2id hash alone. Nothing was changed.") from None
        line = str(User(name, hashed, verifier)).encode()
        known, content = _with_line(content, name, line)
        _write(file, content)
    what = "argon2id and SCRAM-SHA-256" if verifier else "argon2id"
    click.echo(f"{'Changed' if known else 'Added'} {legible(repr(name))} in {file} ({what}).", err=True)


@passwd.command(
    context_settings=_SETTINGS,
    short_help="Remove a user.",
    epilog="""\b
Examples:
  broker passwd rm passwords bob
""",
)
@_FILE
@click.argument("name")
def rm(file: Path, name: str) -> None:
    """Remove user NAME from the password file FILE."""
    from broker.auth.passwords import name_mistake

    with _changing(file):
        content, users = _users_of(file, name, new=False)
        known, content = _with_line(content, name, None)
        if not known or name_mistake(name):
            raise Failure(_no_user(file, name, users))
        _write(file, content)
    click.echo(f"Removed {legible(repr(name))} from {file}.", err=True)
    if not users.keys() - {name}:
        click.echo(f"There is no user left, and a broker refuses such a file: {_adding(file)}.", err=True)


@passwd.command(
    context_settings=_SETTINGS,
    short_help="Verify a password, or the file.",
    epilog="""\b
Examples:
  broker passwd check passwords                            (a table)
  broker passwd check passwords --json | jq -r '.[] | select(.weak).name'
  broker passwd check passwords alice && echo right
""",
)
@_FILE
@click.argument("name", required=False)
@_STDIN
@click.option("--json", "as_json", is_flag=True, help="A JSON array of the users instead of a table.")
@click.option("--allow-loose", is_flag=True, help="Let the file be readable by everybody on this machine.")
def check(file: Path, name: str | None, from_stdin: bool, as_json: bool, allow_loose: bool) -> None:
    """Verify that a password is that of user NAME; without NAME, that the broker would take FILE, and list its users.

    Exit code 0: right. 1: wrong password or no such user. 2: a mistake in FILE; all are named with line and column.
    """
    from broker.auth.passwords import PasswordFile, PasswordFileError

    if name is not None and as_json:
        raise click.UsageError("--json lists the users of FILE; leave NAME out.")
    if name is None and from_stdin:
        raise click.UsageError("--stdin is the password of a user; name the user behind FILE.")
    try:
        users = PasswordFile.load(file, allow_loose=allow_loose).users
    except PasswordFileError as error:
        raise ConfigurationMistake(_told(error)) from None
    if name is None:
        _list(users, as_json)
        return
    if name not in users:
        raise Failure(_no_user(file, name, users))
    password = _stdin() if from_stdin else _ask(f"Password of {legible(name)}: ")
    if not users[name].hash.verify(password):
        raise Failure(f"this is not the password of {legible(repr(name))}.")
    click.echo(f"This is the password of {legible(repr(name))}.", err=True)


@passwd.command(
    "import",
    context_settings=_SETTINGS,
    short_help="Take over a password file of Mosquitto.",
    epilog="""\b
Examples:
  broker passwd import /etc/mosquitto/passwd passwords
  broker passwd check passwords                            (who came, and whose hash is weak)
""",
)
@click.argument("source", type=click.Path(path_type=Path), metavar="FROM")
@click.argument("into", type=click.Path(path_type=Path), metavar="INTO")
def import_(source: Path, into: Path) -> None:
    """Add the users of FROM, written by mosquitto_passwd, to the password file INTO.

    The hashes come as they are ($7$ and $6$), so that nobody needs a new password; `broker passwd add` gives one an
    argon2id hash. All users come or none: a line that is not right, a plain-text password, or a user whom INTO has
    with another hash, is named, and INTO stays as it is.
    """
    from broker.auth.passwords import PasswordFile, PasswordFileError

    try:
        coming = PasswordFile.load(source, allow_loose=True).users
    except PasswordFileError as error:
        hint = f"\n`mosquitto_passwd -U {shlex.quote(str(source))}` hashes passwords that stand there as plain text."
        raise ConfigurationMistake(f"{_told(error)}{hint if _plain(error.mistakes) else ''}") from None
    with _changing(into):
        content, users = _users_of(into)
        clash = [name for name in coming if name in users and users[name].hash.text != coming[name].hash.text]
        if clash:
            named = ", ".join(legible(repr(name)) for name in clash)
            raise Failure(
                f"{into} has {named} with another password; `broker passwd rm` takes one out of either file. "
                "Nothing was changed."
            )
        new = [user for name, user in coming.items() if name not in users]
        content += b"".join(str(user).encode() + b"\n" for user in new)
        if new:
            _write(into, content)
    known = len(coming) - len(new)
    weak = sum(user.hash.weak for user in coming.values())
    click.echo(
        f"{len(new)} of {len(coming)} users came from {source} into {into}"
        + (f"; {known} were there already." if known else "."),
        err=True,
    )
    if weak:
        click.echo(_weak(weak), err=True)


# -- what is shown


def _list(users: dict[str, User], as_json: bool) -> None:
    rows = [
        {
            "name": user.name,
            "hash": user.hash.kind,
            "cost": user.hash.cost,
            "weak": user.hash.weak,
            "scram": user.scram is not None,
        }
        for user in users.values()
    ]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    width = max(4, *(len(legible(name)) for name in users))
    click.echo(f"{'user':<{width}}  {'hash':<13}  {'cost':<20}  scram")
    for name, user in users.items():
        scram = f"{user.scram.iterations:,} iterations" if user.scram else "-"
        weak = "  weak" if user.hash.weak else ""
        click.echo(f"{legible(name):<{width}}  {user.hash.kind:<13}  {user.hash.cost:<20}  {scram}{weak}")
    if weak_ones := sum(user.hash.weak for user in users.values()):
        click.echo(_weak(weak_ones), err=True)


def _weak(count: int) -> str:
    many = f"{count} users have hashes" if count > 1 else "1 user has a hash"
    return f"{many} that whoever steals the file breaks soon; `broker passwd add` gives a new one."


def _told(error: Exception) -> str:
    return "\n".join(legible(line) for line in str(error).split("\n"))


def _plain(mistakes: tuple[Mistake, ...]) -> bool:
    return any("plain text" in mistake.message for mistake in mistakes)


def _no_user(file: Path, name: str, users: dict[str, User]) -> str:
    near = difflib.get_close_matches(name, users, n=1)
    return f"there is no user {legible(repr(name))} in {file}" + (f"; did you mean {near[0]!r}?" if near else ".")


def _adding(file: Path) -> str:
    return f"`broker passwd add {shlex.quote(str(file))} NAME` adds one"


# -- passwords


def _new_password(name: str, from_stdin: bool) -> bytes:
    from broker.auth.passwords import LONGEST

    if from_stdin:
        password = _stdin()
    else:
        password = _ask(f"New password of {legible(name)}: ")
        if password and password != _ask("The same again: "):
            raise Failure("the two passwords differ. Nothing was changed.")
    if not password:
        raise Failure("the password is empty. Nothing was changed.")
    if len(password) > LONGEST:
        raise Failure(f"the password has more than {LONGEST:,} bytes, which MQTT cannot carry. Nothing was changed.")
    return password


def _stdin() -> bytes:
    from broker.auth.passwords import LONGEST

    if sys.stdin.isatty():
        raise click.UsageError("--stdin reads from a pipe or a file; without it you are asked.")
    data = sys.stdin.buffer.read(LONGEST + 3)
    return data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data


def _ask(question: str) -> bytes:
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password; pipe it in and say --stdin.")
    try:
        return getpass.getpass(question).encode(errors="surrogateescape")
    except EOFError:
        raise click.Abort from None


def _check_name(name: str) -> None:
    """Raises ValueError for a name that SCRAM carries in another form (RFC 4013), which the file would not find."""
    if unicodedata.normalize("NFKC", name) != name:
        raise ValueError(f"SCRAM carries this user name as {unicodedata.normalize('NFKC', name)!r}")


# -- the file


def _users_of(file: Path, name: str = "", *, new: bool = True) -> tuple[bytes, dict[str, User]]:
    """The content of `file` and its users, which may be none; nothing where it is not there and may be `new`.

    What is wrong with the line of user `name` is no mistake here, since that line is about to go.
    """
    from broker.auth.passwords import PasswordFileError, parse, read

    if new and not os.path.lexists(file):
        return b"", {}
    try:
        content, _ = read(file, allow_loose=True)
        users, mistakes = parse(content, shlex.quote(str(file)))
        if mistakes:
            lines = content.split(b"\n")
            for at in _places(lines, name):
                lines[at] = b""
            _, mistakes = parse(b"\n".join(lines), shlex.quote(str(file)))
        if mistakes:
            raise PasswordFileError(str(file), mistakes)
    except PasswordFileError as error:
        raise ConfigurationMistake(_told(error)) from None
    return content, users


def _places(lines: list[bytes], name: str) -> list[int]:
    """Where the lines of user `name` are, from 0."""
    wanted = name.encode(errors="surrogateescape")
    return [at for at, line in enumerate(lines) if name and line.startswith(wanted + b":") and b":" not in wanted]


def _with_line(content: bytes, name: str, line: bytes | None) -> tuple[bool, bytes]:
    """Whether user `name` was there, and the content with `line` in the place of the old one, or without it."""
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    old = _places(lines, name)
    for at in reversed(old):
        del lines[at]
    if line is not None:
        lines.insert(old[0] if old else len(lines), line)
    return bool(old), b"".join(each + b"\n" for each in lines)


@contextmanager
def _changing(file: Path) -> Iterator[None]:
    """Keep every other `broker passwd` off the folder of `file`, so that none loses what the other one wrote."""
    folder = os.path.dirname(os.path.realpath(file))
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(f"cannot write {file}: {folder}: {error.strerror}.") from None
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Failure(f"another `broker passwd` is changing a file in {folder}; try again.") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _write(file: Path, content: bytes) -> None:
    """Put `content` in the place of `file`, or of what it links to."""
    target = os.path.realpath(file)
    folder = os.path.dirname(target)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=folder)
        with open(descriptor, "wb") as out:
            if os.path.exists(target):
                found = os.stat(target)
                made = os.fstat(descriptor)
                if (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
                    os.fchown(descriptor, found.st_uid, found.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
                _warn(file, found.st_mode)
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
        temporary = ""
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except PermissionError as error:
        who = " as its owner" if os.path.exists(target) else ""
        raise Failure(f"cannot write {file}: {error.strerror}; run this{who} where {folder} may be written.") from None
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}.") from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _warn(file: Path, mode: int) -> None:
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        click.echo(
            f"Warning: everybody on this machine may read {file}, and a broker refuses it: "
            f"`chmod o-rwx {shlex.quote(str(file))}`.",
            err=True,
        )
