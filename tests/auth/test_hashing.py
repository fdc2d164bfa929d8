from __future__ import annotations

import hashlib
import os
import threading
import time
from base64 import b64encode
from contextlib import suppress

import pytest
import trio
import trio.testing
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.auth import hashing
from broker.auth.hashing import Argon2id, Hasher, HasherBusy, HashMistake, Pbkdf2, Sha512, StoredHash, read_hash

SALT = b"0123456789ab"


def sha512(password: bytes) -> Sha512:
    return Sha512(SALT, hashlib.sha512(password + SALT).digest())


def pbkdf2(password: bytes, iterations: int = 3) -> Pbkdf2:
    return Pbkdf2(iterations, SALT, hashlib.pbkdf2_hmac("sha512", password, SALT, iterations))


class Slow:
    """A hash whose check takes as long as the test wants, and that counts how many run at once."""

    kind = "slow"
    weak = False
    cost = ""

    def __init__(self, password: bytes = b"right", seconds: float = 0.0, text: str = "$slow$") -> None:
        self.text = text
        self.password = password
        self.seconds = seconds
        self.running = 0
        self.most = 0
        self.checks = 0

    def verify(self, password: bytes) -> bool:
        self.checks += 1
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(self.seconds)
        self.running -= 1
        return password == self.password

    def decoy(self, seed: bytes) -> Slow:
        return self


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- the kinds


def test_argon2id_has_the_profile_and_is_what_others_read() -> None:
    made = Argon2id.make(b"pass\0w\xff")
    assert made.text.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PasswordHasher().verify(made.text, b"pass\0w\xff")
    assert made.verify(b"pass\0w\xff")
    assert not made.verify(b"pass")
    assert not made.verify(b"")
    assert (made.cost, made.weak) == ("19 MiB, t=2, p=1", False)
    assert Argon2id.make(b"pass\0w\xff").text != made.text


@given(st.binary(max_size=40).filter(lambda password: not password.endswith(b"\0")), st.binary(max_size=40))
def test_only_the_password_verifies_and_the_text_reads_back(password: bytes, other: bytes) -> None:
    argon = Argon2id(8, 1, 1, SALT, hashlib.sha256(password).digest())
    assert read_hash(argon.text).text == argon.text
    for made in (sha512(password), pbkdf2(password)):
        read = read_hash(made.text)
        assert type(read) is type(made)
        assert read.text == made.text
        assert read.verify(password)
        assert read.verify(other) == (password == other)


def test_a_password_with_a_nul_behind_is_another_one() -> None:
    for made in (sha512(b"x"), pbkdf2(b"x"), Argon2id.make(b"x")):
        assert made.verify(b"x")
        assert not made.verify(b"x\0")
    assert not pbkdf2(b"").verify(b"\0")


def test_argon2id_of_others_is_read() -> None:
    for memory, passes, lanes in [(64, 1, 1), (1024, 3, 4)]:
        text = PasswordHasher(passes, memory, lanes).hash(b"secret")
        read = read_hash(text)
        assert isinstance(read, Argon2id)
        assert (read.text, read.memory, read.time, read.lanes, read.weak) == (text, memory, passes, lanes, True)
        assert read.verify(b"secret")
        assert not read.verify(b"Secret")


def test_what_is_weak() -> None:
    assert sha512(b"").weak
    assert pbkdf2(b"", 101).weak
    assert not Pbkdf2(hashing.FEW_ITERATIONS, SALT, bytes(64)).weak
    assert (sha512(b"").cost, pbkdf2(b"", 101).cost) == ("1 iteration", "101 iterations")


def test_a_decoy_costs_the_same_and_nothing_verifies() -> None:
    seed = bytes(range(64))
    argon = Argon2id(8, 1, 1, SALT, bytes(32)).decoy(seed)
    assert (argon.memory, argon.time, argon.lanes) == (8, 1, 1)
    slow = pbkdf2(b"x", 7).decoy(seed)
    assert slow.iterations == 7
    for decoy in (argon, slow, sha512(b"x").decoy(seed)):
        assert read_hash(decoy.text).text == decoy.text
        assert not decoy.verify(b"x")
        assert not decoy.verify(seed)


def b64(count: int) -> str:
    return b64encode(bytes(count)).decode()


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("", 0, "no hash"),
        ("secret", 0, "plain text"),
        ("$7", 0, "plain text"),
        ("$2y$10$abcdefghijk", 0, "$2y$ is no hash that is read here"),
        ("$argon2i$v=19$m=8,t=1,p=1$AAAA$AAAA", 0, "$argon2i$ is no hash that is read here"),
        ("$argon2id$m=8,t=1,p=1$AAAA$AAAA", 0, "v=19"),
        (f"$argon2id$v=19$m=7,t=1,p=1${'A' * 16}${'A' * 32}", 17, "memory (KiB) must be from 8"),
        (f"$argon2id$v=19$m=262145,t=1,p=1${'A' * 16}${'A' * 32}", 17, "to 262,144"),
        (f"$argon2id$v=19$m=8,t=0,p=1${'A' * 16}${'A' * 32}", 21, "passes"),
        (f"$argon2id$v=19$m=8,t=21,p=1${'A' * 16}${'A' * 32}", 21, "passes"),
        (f"$argon2id$v=19$m=8,t=1,p=2${'A' * 16}${'A' * 32}", 25, "lanes"),
        (f"$argon2id$v=19$m=08,t=1,p=1${'A' * 16}${'A' * 32}", 17, "zero in front"),
        (f"$argon2id$v=19$m=8,t=1,p=1${'A' * 4}${'A' * 32}", 27, "the salt has 3 bytes and not 8 to 64; was the line"),
        (f"$argon2id$v=19$m=8,t=1,p=1${'A' * 16}${'A' * 12}", 44, "the hash has 9 bytes and not 16 to 64"),
        (f"$argon2id$v=19$m=8,t=1,p=1${'A' * 16}${'A' * 33}", 44, "the hash is not base64"),
        (f"$argon2id$v=19$m=8,t=1,p=1${'A' * 16}${'A' * 30}==", 44, "the hash is not base64"),
        (f"$argon2id$v=19$m=8,t=1,p=1${'A' * 15}_${'A' * 32}", 27, "the salt is not base64"),
        (f"$argon2id$v=19$m=8,t=1,p=1${'A' * 16}${'A' * 42}B", 44, "the hash is not base64"),  # bits behind the end
        (f"$argon2id$v=19$m=8,t=1,p=1${'A' * 16}${'A' * 32}$", 0, "reads $argon2id"),
        (f"$7$0${b64(12)}${b64(64)}", 3, "iterations must be from 1"),
        (f"$7$5000001${b64(12)}${b64(64)}", 3, "iterations must be from 1 to 5,000,000"),
        (f"$7$101${b64(12)}${b64(63)}", 24, "the hash has 63 bytes and not 64"),
        (f"$7$101${b64(12)}${b64(64)[:-1]}", 24, "the hash is not base64; was the line cut off?"),
        (f"$7${b64(12)}${b64(64)}", 0, "$7$iterations$salt$hash"),
        (f"$6${b64(12)}", 0, "$6$salt$hash"),
        (f"$6$${b64(64)}", 3, "the salt has 0 bytes"),
        (f"$6${b64(12)}${b64(64)} ", 20, "the hash is not base64"),
        (f"$6${b64(12)}${b64(64)}\n", 20, "the hash is not base64"),
        (f"$7$\u0661${b64(12)}${b64(64)}", 0, "$7$iterations$salt$hash"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, at: int, said: str) -> None:
    with pytest.raises(HashMistake) as caught:
        read_hash(text)
    assert said in caught.value.message
    assert caught.value.at == at


@settings(max_examples=50)
@given(st.text(max_size=60) | st.from_regex(r"\A\$(6|7|argon2id)\$[$0-9A-Za-z+/=,]{0,60}\Z"))
def test_any_text_is_a_hash_or_a_mistake(text: str) -> None:
    try:
        read, at = read_hash(text).text, 0
    except HashMistake as mistake:
        read, at = text, mistake.at
    assert read == text
    assert 0 <= at <= len(text)


# -- the Hasher


async def test_right_and_wrong() -> None:
    hasher = Hasher()
    for stored in (sha512(b"right"), pbkdf2(b"right"), Argon2id.make(b"right")):
        assert not await hasher.verify("a", stored, b"wrong")
        assert await hasher.verify("a", stored, b"right")
    assert hasher.waiting == 0
    assert hasher.hashed == 6


async def test_a_storm_of_one_user_hashes_once() -> None:
    hasher = Hasher()
    stored = Slow(seconds=0.02)
    answers: list[bool] = []

    async def check() -> None:
        answers.append(await hasher.verify("a", stored, b"right"))

    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(check)
    assert answers == [True] * 200
    assert stored.checks == 1
    assert hasher.remembers("a", stored, b"right")


async def test_what_is_wrong_is_hashed_each_time() -> None:
    hasher = Hasher()
    stored = Slow()
    for _ in range(3):
        assert not await hasher.verify("a", stored, b"wrong")
        assert not hasher.remembers("a", stored, b"wrong")
    assert stored.checks == 3
    assert hasher.users == ()
    assert await hasher.verify("a", stored, b"right")
    assert not hasher.remembers("a", stored, b"wrong")
    assert not await hasher.verify("a", stored, b"wrong")
    assert hasher.remembers("a", stored, b"right")


async def test_no_more_than_so_many_at_once() -> None:
    hasher = Hasher(parallel=2)
    stored = Slow(seconds=0.01)
    async with trio.open_nursery() as nursery:
        for count in range(8):
            nursery.start_soon(hasher.verify, f"user {count}", stored, b"right")
    assert stored.most == 2
    assert stored.checks == 8


async def test_who_would_wait_too_long_is_told_at_once() -> None:
    hasher = Hasher(parallel=1, patience=0.1)
    hasher.seconds = 0.05
    stored = Slow(seconds=0.05)
    async with trio.open_nursery() as nursery:
        for count in range(3):
            nursery.start_soon(hasher.verify, f"user {count}", stored, b"right")
        await trio.testing.wait_all_tasks_blocked()
        assert (hasher.waiting, hasher.busy) == (3, 0)
        with pytest.raises(HasherBusy):
            await hasher.verify("one more", stored, b"right")
        with pytest.raises(HasherBusy):
            await hasher.verify("a stranger", stored, b"right", decoy=True)
        nursery.start_soon(hasher.verify, "user 2", stored, b"right")  # asks what is asked already
        await trio.testing.wait_all_tasks_blocked()
    assert (hasher.waiting, hasher.busy, hasher.hashed) == (0, 2, 3)
    assert await hasher.verify("one more", stored, b"right")


class Aging(Slow):
    """A hash whose check takes as long as the test says, by the test's own clock; or until it is let go."""

    def __init__(self, clock: Clock, takes: float) -> None:
        super().__init__()
        self.clock = clock
        self.takes = takes
        self.go_on = threading.Event()
        self.go_on.set()

    def verify(self, password: bytes) -> bool:
        self.clock.now += self.takes
        self.go_on.wait(10)
        return super().verify(password)


@pytest.mark.parametrize(("takes", "served"), [(0.02, 402), (0.5, 18), (60.0, 2)])
async def test_the_line_is_as_long_as_the_last_hashes_were_quick(takes: float, served: int) -> None:
    clock = Clock()
    hasher = Hasher(parallel=2, patience=4.0, clock=clock)
    stored = Aging(clock, takes)
    for count in range(64):
        assert not await hasher.verify(str(count), stored, b"wrong")
    assert hasher.seconds == pytest.approx(takes, rel=0.01)
    stored.go_on.clear()

    async def ask(name: str) -> None:
        with suppress(HasherBusy):
            await hasher.verify(name, stored, b"right")

    try:
        async with trio.open_nursery() as nursery:
            for count in range(served + 10):
                nursery.start_soon(ask, f"user {count}")
            await trio.testing.wait_all_tasks_blocked()
            assert hasher.waiting == pytest.approx(served, abs=1)
            assert hasher.busy == served + 10 - hasher.waiting
            nursery.cancel_scope.cancel()
    finally:
        stored.go_on.set()


async def test_what_is_remembered_is_not_counted_as_waiting() -> None:
    hasher = Hasher(parallel=1, patience=0.0)
    stored = Slow(seconds=0.05)
    assert await hasher.verify("a", stored, b"right")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hasher.verify, "b", stored, b"right")
        await trio.testing.wait_all_tasks_blocked()
        assert await hasher.verify("a", stored, b"right")
    assert stored.checks == 2


async def test_who_asks_the_same_meanwhile_has_the_same_answer() -> None:
    hasher = Hasher(parallel=1, patience=0.0)
    stored = Slow(seconds=0.05)
    answers: list[bool] = []

    async def check(password: bytes, decoy: bool = False) -> None:
        answers.append(await hasher.verify("a", stored, password, decoy=decoy))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(check, b"wrong")
    assert (answers, stored.checks) == ([False] * 50, 1)
    assert hasher.users == ()


async def test_a_cancelled_check_leaves_nothing() -> None:
    hasher = Hasher(parallel=1)
    stored = Slow(seconds=0.1)
    with trio.move_on_after(0.01):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hasher.verify, "a", stored, b"right")
            nursery.start_soon(hasher.verify, "a", stored, b"right")
            nursery.start_soon(hasher.verify, "b", stored, b"right")
    assert hasher.waiting == 0
    assert hasher._turns == {}
    assert await hasher.verify("c", stored, b"right")  # has to wait for the thread that goes on
    assert stored.checks == 2
    assert stored.most == 1
    assert hasher.users == ("c",)


async def test_the_first_of_many_is_cancelled_and_the_next_one_goes_on() -> None:
    hasher = Hasher(parallel=2)
    stored = Slow(seconds=0.02)
    scope = trio.CancelScope()
    answers: list[bool] = []

    async def first() -> None:
        with scope:
            await hasher.verify("a", stored, b"right")

    async def others() -> None:
        answers.append(await hasher.verify("a", stored, b"right"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(others)
        nursery.start_soon(others)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
    assert answers == [True, True]
    assert stored.checks == 2


class Broken(Slow):
    def verify(self, password: bytes) -> bool:
        raise RuntimeError("no memory")


async def test_what_a_check_raises_comes_out_and_leaves_nothing() -> None:
    hasher = Hasher()
    with pytest.raises(RuntimeError, match="no memory"):
        await hasher.verify("a", Broken(), b"right")
    assert (hasher.waiting, hasher._turns, hasher.users) == (0, {}, ())


async def test_memory_ends() -> None:
    clock = Clock()
    hasher = Hasher(remembered_for=60.0, clock=clock)
    stored = Slow()
    await hasher.verify("a", stored, b"right")
    clock.now += 59
    assert hasher.remembers("a", stored, b"right")
    clock.now += 1  # to be seen does not lengthen it
    assert not hasher.remembers("a", stored, b"right")
    assert hasher.users == ()
    assert await hasher.verify("a", stored, b"right")
    assert stored.checks == 2


async def test_memory_is_bounded_and_the_last_seen_stay() -> None:
    hasher = Hasher(remembered=2)
    stored = Slow()
    for name in ("a", "b"):
        await hasher.verify(name, stored, b"right")
    assert hasher.remembers("a", stored, b"right")
    await hasher.verify("c", stored, b"right")
    assert hasher.users == ("a", "c")
    assert not hasher.remembers("b", stored, b"right")


@pytest.mark.parametrize("hasher", [Hasher(remembered=0), Hasher(remembered_for=0.0)], ids=["users", "seconds"])
async def test_memory_can_be_switched_off(hasher: Hasher) -> None:
    stored = Slow()
    for _ in range(2):
        assert await hasher.verify("a", stored, b"right")
    assert stored.checks == 2
    assert hasher.users == ()


async def test_another_hash_or_name_is_not_remembered() -> None:
    hasher = Hasher()
    await hasher.verify("a", Slow(text="$old$"), b"right")
    assert not hasher.remembers("a", Slow(text="$new$"), b"right")
    assert not hasher.remembers("b", Slow(text="$old$"), b"right")
    assert hasher.remembers("a", Slow(text="$old$"), b"right")
    hasher.forget("a")
    assert not hasher.remembers("a", Slow(text="$old$"), b"right")
    hasher.forget("nobody")


async def test_a_decoy_is_hashed_and_never_right() -> None:
    hasher = Hasher()
    stored = Slow()
    for _ in range(2):
        assert not await hasher.verify("a", stored, b"right", decoy=True)
    assert stored.checks == 2
    assert hasher.users == ()


def test_a_decoy_stays_the_same_and_costs_what_the_users_cost() -> None:
    hasher = Hasher()
    hashes: list[StoredHash] = [Argon2id(8, 1, 1, SALT, bytes(32)), pbkdf2(b"x", 5), pbkdf2(b"x", 9)]
    costs = {hasher.decoy(f"user {count}", hashes).cost for count in range(200)}
    assert costs == {stored.cost for stored in hashes}
    assert hasher.decoy("a", hashes).text == hasher.decoy("a", hashes).text
    assert hasher.decoy("a", hashes).text not in {hasher.decoy("b", hashes).text, Hasher().decoy("a", hashes).text}


def test_nothing_is_shown_of_a_hash() -> None:
    password = os.urandom(16)
    for stored in (sha512(password), pbkdf2(password), Argon2id(8, 1, 1, SALT, password)):
        secret = stored.text.rpartition("$")[2]
        assert secret not in repr(stored)
        assert secret not in str(stored)
        with pytest.raises(HashMistake) as caught:
            read_hash(stored.text + "!")
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value)
