from __future__ import annotations

import hashlib
import hmac
import inspect
import logging
import os
import shutil
import statistics
import subprocess
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient

from broker.auth.hashing import Argon2id, Hasher, HashMistake, Pbkdf2, Sha512, StoredHash
from broker.auth.methods import Denied, Identity, Verdict
from broker.auth.passwords import (
    PasswordFile,
    PasswordFileError,
    PasswordMethod,
    ScramVerifier,
    User,
    name_mistake,
    parse,
    read,
)
from broker.auth.scram import Proved, Said, Scram
from broker.core.ports import Peer
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect

if TYPE_CHECKING:
    from pathlib import Path

SALT = b"0123456789ab"
PEER = Peer("127.0.0.1:50000", "tcp")
CANARY = b"canary-7f3a9"


def hashed(password: bytes) -> Sha512:
    return Sha512(SALT, hashlib.sha512(password + SALT).digest())


def slow(password: bytes, iterations: int = 8_000) -> Pbkdf2:
    return Pbkdf2(iterations, SALT, hashlib.pbkdf2_hmac("sha512", password, SALT, iterations))


def file_of(**passwords: bytes) -> PasswordFile:
    return PasswordFile({name: User(name, hashed(password)) for name, password in passwords.items()})


def written(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def refused(path: str | os.PathLike[str]) -> list[str]:
    with pytest.raises(PasswordFileError) as caught:
        PasswordFile.load(path)
    assert str(caught.value) == "\n".join(f"{os.fspath(path)}:{mistake}" for mistake in caught.value.mistakes)
    return [str(mistake) for mistake in caught.value.mistakes]


async def asked(method: PasswordMethod, name: str | None, password: bytes | None) -> Verdict:
    answer = method.check(Connect("client", user_name=name, password=password), PEER)
    if inspect.isawaitable(answer):
        return await answer
    return answer


async def denial(method: PasswordMethod, name: str, password: bytes) -> Denied:
    verdict = await asked(method, name, password)
    assert isinstance(verdict, Denied)
    return verdict


# -- the file


def test_a_file_is_read(tmp_path: Path) -> None:
    verifier = ScramVerifier.make(b"c", iterations=4096)
    path = written(
        tmp_path / "passwords",
        f"# who may come in\n\nalice:{hashed(b'a').text}\n  # indented\nbøb:{slow(b'b', 3).text}\n"
        f"a#b/+$:{Argon2id(8, 1, 1, SALT, bytes(32)).text}:{verifier.text}\n",
    )
    file = PasswordFile.load(path)
    assert list(file.users) == ["alice", "bøb", "a#b/+$"]
    assert [user.line for user in file.users.values()] == [3, 5, 6]
    alice, bob = file.hash_of("alice"), file.hash_of("bøb")
    assert alice is not None
    assert bob is not None
    assert alice.verify(b"a")
    assert bob.verify(b"b")
    assert not bob.verify(b"a")
    assert file.hash_of("Alice") is None
    scram = file.scram("a#b/+$")
    assert scram is not None
    assert (scram.iterations, scram.salt) == (4096, verifier.salt)
    assert (scram.stored_key, scram.server_key) == (verifier.stored_key, verifier.server_key)
    assert file.scram("alice") is None
    assert file.scram("nobody") is None


names = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=":"), min_size=1, max_size=12).filter(
    lambda name: name_mistake(name) is None
)
stored_hashes = st.one_of(
    st.builds(Sha512, st.binary(min_size=8, max_size=64), st.binary(min_size=64, max_size=64)),
    st.builds(
        Pbkdf2, st.integers(1, 5_000_000), st.binary(min_size=8, max_size=64), st.binary(min_size=64, max_size=64)
    ),
    st.builds(
        Argon2id,
        st.integers(128, 262_144),
        st.integers(1, 20),
        st.integers(1, 16),
        st.binary(min_size=8, max_size=64),
        st.binary(min_size=16, max_size=64),
    ),
)
keys = st.binary(min_size=32, max_size=32)
verifiers = st.builds(ScramVerifier, st.integers(4096, 5_000_000), st.binary(min_size=12, max_size=64), keys, keys)
lines = st.lists(
    st.builds(User, names, stored_hashes, st.none() | verifiers),
    min_size=1,
    max_size=6,
    unique_by=lambda user: user.name,
)


@settings(max_examples=20)
@given(lines, st.sampled_from(["", "\n", "# a comment: with a colon\n"]))
def test_what_is_written_reads_back(users: list[User], between: str) -> None:
    content = between.join(f"{user}\n" for user in users).encode()
    found, mistakes = parse(content, "FILE")
    assert mistakes == []
    assert [str(user) for user in found.values()] == [str(user) for user in users]


@settings(max_examples=20)
@given(lines, st.data())
def test_a_file_that_is_cut_off_is_refused_or_cut_between_lines(users: list[User], drawn: st.DataObject) -> None:
    content = "".join(f"{user}\n" for user in users).encode()
    cut = content[: drawn.draw(st.integers(0, len(content) - 1))]
    found, mistakes = parse(cut, "FILE")
    if not cut or cut.endswith(b"\n"):
        assert mistakes == []
        assert [str(user) for user in found.values()] == [str(user) for user in users[: len(found)]]
    else:
        assert mistakes


@given(st.binary(max_size=80) | st.text("ab:$6#\n\r \t", max_size=40).map(str.encode))
def test_any_bytes_are_users_or_mistakes(content: bytes) -> None:
    users, mistakes = parse(content, "FILE")
    rows = content.split(b"\n")
    assert len(users) <= len(rows)
    assert mistakes or content.endswith(b"\n") or not content
    for mistake in mistakes:
        assert 1 <= mistake.line <= len(rows)
        assert 1 <= mistake.column <= len(rows[mistake.line - 1]) + 1


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    good = hashed(b"x").text
    cut = slow(b"x", 3).text[:-4]
    path = written(
        tmp_path / "pass words",
        b"\n".join(
            [
                b"just-a-line",
                f"al:{good}".encode(),
                b"bob:hunter2",
                b"b\xc3\xb8b\xff:x",
                f"al:{good}".encode(),
                f"c\td:{good}".encode(),
                f"eve:{good}\r".encode(),
                f"ivy:{cut}:$scram-sha-256$1$x$y$z".encode(),
                f":{good}".encode(),
                f" al:{good}".encode(),
                f"zoe:{good}:$scram-sha-256$1$MDEyMzQ1Njc4OTAx$y$z".encode(),
                f"last:{good}".encode(),
            ]
        ),
        0o644,
    )
    add = f"`broker passwd add '{path}'"
    assert refused(path) == [
        f"1:1: everybody on this machine may read this file; `chmod o-rwx '{path}'` keeps it to its owner and group",
        f"1:1: this is not name:hash, there is no ':'; {add} NAME` writes such a line",
        f"3:5: user 'bob': this is no hash; does the password stand here as plain text?; {add} 'bob'` writes a new one",
        f"4:4: this is not UTF-8; save '{path}' as UTF-8",
        "5:1: user 'al' is there twice; keep this line or line 2",
        "6:2: a user name may not have the control character U+0009 in it; give the user another name",
        f"7:{len(good) + 5}: the line ends as on Windows; `sed -i 's/\\r$//' '{path}'` mends all lines",
        f"8:27: user 'ivy': the hash has 63 bytes and not 64; was the line cut off?; {add} 'ivy'` writes a new one",
        f"8:{len(cut) + 21}: user 'ivy': the number of iterations must be from 4,096 to 5,000,000; "
        f"{add} 'ivy' --scram` writes a new one",
        "9:1: the user name is empty; give the user another name",
        "10:1: a user name may not begin or end with white space; give the user another name",
        f"11:{len(good) + 21}: user 'zoe': the number of iterations must be from 4,096 to 5,000,000; "
        f"{add} 'zoe' --scram` writes a new one",
        f"12:{len(good) + 6}: the last line does not end: was the file cut off?; "
        "put the rest back from a copy, or end it with a newline if nothing is missing",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "1:1: the file is empty: there is no user; `broker passwd add"),
        ("\n \n\t\n", "1:1: the file is empty: there is no user"),
        ("# alice:x\n", "1:1: there is no user, only comments; `broker passwd add"),
        ("\ufeff# c\n", "1:1: there is a byte order mark; save"),
        ("al:\n", "1:4: user 'al': there is no hash; `broker passwd add"),
        ("\0\n", "1:1: this is not name:hash"),
    ],
)
def test_a_file_without_users_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (line,) = refused(written(tmp_path / "passwords", content))
    assert line.startswith(said)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path) == ["1:1: this is a directory; name a file in it"]
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert refused(tmp_path / "fifo") == ["1:1: this is no regular file; name the file itself"]
    nowhere = tmp_path / "nowhere"
    assert refused(nowhere) == [
        f"1:1: cannot be read: No such file or directory; `broker passwd add {nowhere} NAME` makes it"
    ]
    assert refused("a\0b") == ["1:1: no path has a NUL in it"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (line,) = refused(written(tmp_path / "passwords", "al:x\n", 0))
    assert line.startswith("1:1: cannot be read: Permission denied; let the user")


def test_an_unreadable_file_is_a_mistake_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("broker.auth.passwords.os.open", failing)
    (line,) = refused(tmp_path / "passwords")
    assert line.startswith("1:1: cannot be read: Permission denied; let the user that runs this read it")


@pytest.mark.parametrize(("mode", "does"), [(0o644, "read"), (0o602, "write"), (0o666, "write"), (0o604, "read")])
def test_a_file_for_everybody_is_refused_unless_told(tmp_path: Path, mode: int, does: str) -> None:
    path = written(tmp_path / "passwords", f"al:{hashed(b'x').text}\n", mode)
    assert refused(path) == [
        f"1:1: everybody on this machine may {does} this file; `chmod o-rwx {path}` keeps it to its owner and group"
    ]
    assert list(PasswordFile.load(path, allow_loose=True).users) == ["al"]
    path.chmod(0o640)
    assert list(PasswordFile.load(path).users) == ["al"]


def test_reading_leaves_no_descriptor(tmp_path: Path) -> None:
    path = written(tmp_path / "passwords", "x")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        read(path)
        with pytest.raises(PasswordFileError):
            read(tmp_path)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


def test_no_users_is_no_file() -> None:
    with pytest.raises(ValueError, match="at least one user"):
        PasswordFile({})


@pytest.mark.parametrize(
    ("name", "at", "said"),
    [
        ("", 0, "empty"),
        ("a:b", 1, "':'"),
        ("#a", 0, "begins a comment"),
        (" a", 0, "white space"),
        ("a\u00a0", 1, "white space"),
        ("a\nb", 1, "U+000A"),
        ("a\x85b", 1, "U+0085"),
        ("a\x7fb", 1, "U+007F"),
        ("a\x00b", 1, "U+0000"),
        ("ab\udc80", 2, "U+DC80"),
        ("ä" * 32_768, 0, "65,535 bytes"),
    ],
)
def test_names_that_are_refused(name: str, at: int, said: str) -> None:
    mistake = name_mistake(name)
    assert mistake is not None
    assert mistake.at == at
    assert said in mistake.message


@pytest.mark.parametrize("name", ["a", "a b", "a#", "sensor/+/1", "日本", "ä" * 32_767])
def test_names_that_are_taken(name: str) -> None:
    assert name_mistake(name) is None


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto_passwd is not installed")
def test_what_mosquitto_passwd_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    for words in (["-c", "-b"], ["-H", "sha512", "-b"], ["-H", "sha512-pbkdf2", "-b"]):
        name = "-".join(words).strip("-")
        subprocess.run(["mosquitto_passwd", *words, str(path), name, f"pässword {name}"], check=True)
    file = PasswordFile.load(path, allow_loose=True)
    kinds = []
    for name in file.users:
        stored = file.hash_of(name)
        assert stored is not None
        assert stored.verify(f"pässword {name}".encode())
        assert not stored.verify(b"another")
        kinds.append(stored.kind)
    assert kinds == ["pbkdf2-sha512", "sha512", "pbkdf2-sha512"]


# -- SCRAM


def test_a_verifier_verifies_the_exchange_of_rfc_7677() -> None:
    made = ScramVerifier.make(b"pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    said = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    proof = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(made.stored_key, said, "sha256")
    client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == made.stored_key
    assert b64encode(hmac.digest(made.server_key, said, "sha256")) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert ScramVerifier.read(made.text).text == made.text


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u06271\u0628", "\u06271\u0628"),
    ],
)
def test_passwords_are_prepared_as_rfc_4013_says(password: str, prepared: str) -> None:
    made = ScramVerifier.make(password.encode(), SALT, 4096)
    assert made.text == ScramVerifier.make(prepared.encode(), SALT, 4096).text
    assert made.text != ScramVerifier.make(b"another", SALT, 4096).text


def test_a_new_verifier_has_a_salt_of_its_own() -> None:
    one, other = (ScramVerifier.make(b"pencil", iterations=4096) for _ in range(2))
    assert len(one.salt) == 16
    assert one.text != other.text


@pytest.mark.parametrize("size", [12, 64])
def test_the_shortest_and_the_longest_salt_are_good_for_scram(size: int) -> None:
    verifier = ScramVerifier.read(ScramVerifier.make(b"pencil", bytes(range(size)), 4096).text)
    client = ScramClient(["SCRAM-SHA-256"], "user", "pencil")
    server = Scram({"user": verifier}.get).begin()
    first = server.step(client.get_client_first().encode())
    assert isinstance(first, Said)
    client.set_server_first(first.data.decode())
    proved = server.step(client.get_client_final().encode())
    assert isinstance(proved, Proved)
    client.set_server_final(proved.data.decode())


def test_a_salt_that_scram_does_not_take_is_told_with_its_line(tmp_path: Path) -> None:
    fields = ScramVerifier.make(b"pencil", SALT, 4096).text.split("$")
    fields[3] = b64encode(bytes(11)).decode()
    with pytest.raises(PasswordFileError) as caught:
        PasswordFile.load(written(tmp_path / "users", f"al:{hashed(b'a').text}:{'$'.join(fields)}\n"))
    (mistake,) = caught.value.mistakes
    assert mistake.message.startswith("user 'al': the salt has 11 bytes and not 12 to 64")
    assert mistake.fix.endswith("'al' --scram` writes a new one")


@pytest.mark.parametrize("password", [b"\xff", b"a\x07", "😀".encode(), "\u0627a".encode(), "\u06271".encode()])
def test_passwords_that_scram_cannot_carry(password: bytes) -> None:
    with pytest.raises(ValueError, match=r"^SCRAM ") as caught:
        ScramVerifier.make(password)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("text", ["", "$scram-sha-256$4096$x", "$scram-sha-1$4096$MDEyMzQ1Njc=$x$y"])
def test_what_is_no_verifier(text: str) -> None:
    with pytest.raises(HashMistake, match="a SCRAM verifier reads"):
        ScramVerifier.read(text)


# -- the method


async def test_right_wrong_unknown_and_none_of_its_business() -> None:
    method = PasswordMethod(file_of(alice=b"\x00\xffpass"), Hasher())
    verdict = await asked(method, "alice", b"\x00\xffpass")
    assert isinstance(verdict, Identity)
    assert (verdict.user_name, verdict.method, verdict.roles) == ("alice", "password", ())
    wrong = await denial(method, "alice", b"\x00\xffpasS")
    assert (wrong.reason, wrong.detail) == (ReasonCode.BAD_USER_NAME_OR_PASSWORD, "wrong password for user 'alice'")
    unknown = await denial(method, "Alice", b"\x00\xffpass")
    assert unknown.reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert unknown.detail == "no user 'Alice' in the password file"
    assert (await denial(method, "", b"x")).reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert (await denial(method, "alice", b"")).reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert method.check(Connect("c", user_name="alice"), PEER) is None
    assert method.check(Connect("c", password=b"x"), PEER) is None
    assert method.check(Connect("c"), PEER) is None


async def test_who_comes_back_is_answered_at_once() -> None:
    hasher = Hasher()
    method = PasswordMethod(file_of(alice=b"a"), hasher)
    connect = Connect("client", user_name="alice", password=b"a")
    assert inspect.iscoroutine(first := method.check(connect, PEER))
    assert isinstance(await first, Identity)
    assert isinstance(method.check(connect, PEER), Identity)
    assert hasher.hashed == 1
    assert isinstance(await asked(method, "alice", b"b"), Denied)
    assert hasher.hashed == 2


async def test_a_storm_of_reconnects_hashes_once() -> None:
    hasher = Hasher()
    method = PasswordMethod(PasswordFile({"alice": User("alice", slow(b"a"))}), hasher)
    verdicts: list[Verdict] = []

    async def check() -> None:
        verdicts.append(await asked(method, "alice", b"a"))

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(check)
    assert [type(verdict) for verdict in verdicts] == [Identity] * 200
    assert hasher.hashed == 1


async def test_the_loop_goes_on_while_many_users_are_hashed() -> None:
    users = [User(f"user {count}", Argon2id(19_456, 2, 1, SALT, bytes(32))) for count in range(8)]
    hasher = Hasher()
    method = PasswordMethod(PasswordFile({user.name: user for user in users}), hasher)
    late: list[float] = []

    async def watch() -> None:
        while True:
            started = time.perf_counter()
            await trio.sleep(0.001)
            late.append(time.perf_counter() - started - 0.001)

    async with trio.open_nursery() as watching:
        watching.start_soon(watch)
        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(denial, method, user.name, b"wrong")
        watching.cancel_scope.cancel()
    assert hasher.hashed == 8
    assert len(late) > 8
    assert statistics.median(late) < 0.05


async def test_a_changed_password_is_forgotten_and_the_others_are_not() -> None:
    hasher = Hasher()
    method = PasswordMethod(file_of(alice=b"a", bob=b"b", carl=b"c"), hasher)
    for name, password in (("alice", b"a"), ("bob", b"b"), ("carl", b"c")):
        assert isinstance(await asked(method, name, password), Identity)
    method.replace(file_of(alice=b"new", bob=b"b"))
    assert hasher.users == ("bob",)
    assert isinstance(await asked(method, "alice", b"a"), Denied)
    assert isinstance(await asked(method, "alice", b"new"), Identity)
    assert isinstance(await asked(method, "carl", b"c"), Denied)
    method.replace(file_of(alice=b"a", bob=b"b"))
    assert isinstance(await asked(method, "alice", b"new"), Denied)


@pytest.mark.parametrize("after", [{"alice": b"new"}, {"bob": b"b"}])
async def test_a_password_that_changes_while_it_is_verified_is_refused(after: dict[str, bytes]) -> None:
    hasher = Hasher()
    method = PasswordMethod(PasswordFile({"alice": User("alice", slow(b"a"))}), hasher)
    verdicts: list[Verdict] = []

    async def check() -> None:
        verdicts.append(await asked(method, "alice", b"a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        method.replace(file_of(**after))
    (verdict,) = verdicts
    assert isinstance(verdict, Denied)
    assert verdict.detail == "the password of user 'alice' was changed while it was verified"
    assert hasher.users == ()


async def test_too_many_at_once_are_told_that_it_is_busy() -> None:
    hasher = Hasher(parallel=1, patience=0.05)  # room for one beside the one that is hashed
    method = PasswordMethod(PasswordFile({"alice": User("alice", slow(b"a"))}), hasher)
    verdicts: list[Verdict] = []

    async def check(name: str) -> None:
        verdicts.append(await asked(method, name, b"x"))

    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob", "carl", "dora"):
            nursery.start_soon(check, name)
    assert hasher.busy == 2
    reasons = sorted(verdict.reason for verdict in verdicts if isinstance(verdict, Denied))
    assert reasons == [ReasonCode.BAD_USER_NAME_OR_PASSWORD] * 2 + [ReasonCode.SERVER_BUSY] * 2


async def test_an_unknown_user_takes_as_long_as_a_wrong_password() -> None:
    method = PasswordMethod(PasswordFile({"alice": User("alice", slow(b"a"))}), Hasher())

    async def seconds(name: str) -> float:
        started = time.perf_counter()
        assert isinstance(await asked(method, name, b"wrong"), Denied)
        return time.perf_counter() - started

    known, unknown = [], []
    for count in range(5):
        known.append(await seconds("alice"))
        unknown.append(await seconds(f"nobody {count}"))
    ratio = min(unknown) / min(known)
    assert 0.5 < ratio < 2.0, (statistics.median(known), statistics.median(unknown))


async def test_an_unknown_user_is_never_let_in_by_a_decoy(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = Hasher()
    method = PasswordMethod(file_of(alice=b"a"), hasher)
    monkeypatch.setattr(Sha512, "verify", lambda *_: True)
    assert isinstance(await asked(method, "mallory", b"a"), Denied)
    assert isinstance(await asked(method, "alice", b"whatever"), Identity)
    assert hasher.users == ("alice",)


async def test_a_broken_check_is_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> bool:
        raise MemoryError

    monkeypatch.setattr(Sha512, "verify", failing)
    with pytest.raises(MemoryError):
        await asked(PasswordMethod(file_of(alice=b"a"), Hasher()), "alice", b"a")


async def test_a_name_in_a_detail_is_escaped_and_short() -> None:
    method = PasswordMethod(file_of(alice=b"a"), Hasher())
    detail = (await denial(method, "x\n\x1b[2J\u202e" + "y" * 1000, b"z")).detail
    assert detail.isprintable()
    assert len(detail) < 150


async def test_no_secret_in_any_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canary = CANARY.decode()
    told: list[str] = []
    for line in (f"al:{canary}", f"{canary}", f"al:$6${canary}$x", f"al:$7$1${canary}$", f"al:{canary}:{canary}"):
        with pytest.raises(PasswordFileError) as caught:
            PasswordFile.load(written(tmp_path / "passwords", f"{line}\n"))
        told += [str(caught.value), repr(caught.value), repr(caught.value.mistakes)]
        assert caught.value.__cause__ is None
    with pytest.raises(ValueError, match="SCRAM") as refusal:
        ScramVerifier.make(CANARY + b"\xff")
    told += [str(refusal.value), repr(refusal.value)]
    method = PasswordMethod(file_of(alice=CANARY), Hasher())
    for name, password in (("alice", CANARY), ("alice", CANARY + b"x"), ("bob", CANARY)):
        verdict = await asked(method, name, password)
        told += [repr(verdict), getattr(verdict, "detail", "")]
    stored: StoredHash = hashed(CANARY)
    told += [repr(method), repr(method.file), repr(method.file.users), repr(ScramVerifier.make(CANARY)), caplog.text]
    for text in told:
        assert canary not in text
        assert stored.text.rpartition("$")[2] not in text
