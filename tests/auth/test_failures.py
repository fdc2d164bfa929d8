"""Failures: limits for address and user that no flood can turn against a user, in bounded memory."""

from __future__ import annotations

import sys
from typing import Final

import pytest

from broker.auth.failures import Buckets, Failures
from broker.websocket.forwarded import network_of

HERE: Final = "192.0.2.1:50000"
THERE: Final = "198.51.100.7:50000"


def guess(failures: Failures, address: str, user_name: str, now: float) -> bool:
    """One wrong guess; whether it was let through."""
    if failures.limited(address, user_name, now):
        return False
    failures.failed(address, user_name, now)
    return True


def guesses(failures: Failures, count: int, address: str, user_name: str, now: float = 0.0) -> int:
    return sum(guess(failures, address, user_name, now) for _ in range(count))


def test_ten_failures_of_an_address_whoever_it_says_to_be() -> None:
    failures = Failures()
    assert sum(guess(failures, f"192.0.2.1:{port}", f"user{port}", 0.0) for port in range(40)) == 10
    assert failures.counted == 10
    assert failures.limited_by_address == 30
    assert failures.limited_by_user == 0
    assert not failures.limited(THERE, "user0", 0.0)


def test_ten_failures_of_a_user_wherever_he_is() -> None:
    failures = Failures()
    assert sum(guess(failures, f"203.0.113.{host}:1", "alice", 0.0) for host in range(40)) == 10
    assert failures.limited_by_user == 30
    assert failures.limited_by_address == 0
    assert not failures.limited("203.0.113.0:1", "bob", 0.0)


def test_ten_failures_a_minute_for_ever() -> None:
    failures = Failures()
    let_through = sum(guess(failures, HERE, "", second / 10) for second in range(6000))  # ten minutes
    assert let_through == 10 + 10 * 10 - 1


def test_being_refused_is_no_failure() -> None:
    failures = Failures()
    assert guesses(failures, 1000, HERE, "alice") == 10
    assert failures.limited(HERE, "alice", 5.9)
    assert not failures.limited(HERE, "alice", 6.1)
    assert not failures.limited(HERE, "alice", 60.0)


def test_a_long_peace_is_no_credit() -> None:
    failures = Failures()
    guess(failures, HERE, "alice", 0.0)
    assert guesses(failures, 40, HERE, "alice", 3600.0) == 10


def test_a_success_does_not_empty_the_address() -> None:
    failures = Failures()
    assert guesses(failures, 9, HERE, "bob") == 9
    failures.succeeded(HERE, "mallory", 0.0)
    assert guesses(failures, 9, HERE, "carol") == 1


def test_guesses_elsewhere_do_not_lock_a_user_out() -> None:
    failures = Failures()
    failures.succeeded(HERE, "alice", 0.0)
    for host in range(200):
        guess(failures, f"203.0.113.{host}:1", "alice", 10.0)
    assert failures.limited(THERE, "alice", 10.0)
    assert not failures.limited(HERE, "alice", 10.0)


def test_a_neighbour_behind_the_same_router_does_not_lock_a_user_out() -> None:
    failures = Failures()
    failures.succeeded(HERE, "alice", 0.0)
    assert guesses(failures, 100, HERE, "mallory") == 10
    assert failures.limited(HERE, "bob", 0.0)
    assert not failures.limited(HERE, "alice", 0.0)


def test_a_known_user_is_limited_too() -> None:
    failures = Failures()
    failures.succeeded(HERE, "alice", 0.0)
    assert guesses(failures, 100, HERE, "alice") == 10
    assert failures.limited_by_user == 90
    assert not failures.limited(HERE, "bob", 0.0), "and counts for nobody else"
    assert not failures.limited(THERE, "alice", 0.0)


def test_a_success_is_forgotten_after_a_day() -> None:
    failures = Failures()
    failures.succeeded(HERE, "alice", 0.0)
    for now, known in ((86_399.0, True), (86_401.0, False)):
        guesses(failures, 20, HERE, "mallory", now)
        assert failures.limited(HERE, "alice", now) is not known


def test_nobody_in_particular_is_limited_by_address_only() -> None:
    failures = Failures()
    failures.succeeded(HERE, "", 0.0)
    assert guesses(failures, 20, HERE, "") == 10
    assert not failures.limited(THERE, "", 0.0)


@pytest.mark.parametrize("address", ["unix", "memory", ""])
def test_who_has_no_address_is_limited_by_user_only(address: str) -> None:
    failures = Failures()
    assert sum(guess(failures, address, f"user{number}", 0.0) for number in range(40)) == 40
    assert guesses(failures, 40, address, "alice") == 10
    failures = Failures()
    failures.succeeded(address, "alice", 0.0)
    guesses(failures, 40, THERE, "alice")
    assert not failures.limited(address, "alice", 0.0)


def test_zero_is_no_limit() -> None:
    failures = Failures(per_address=0, per_user=0)
    assert guesses(failures, 1000, HERE, "alice") == 1000
    failures.succeeded(HERE, "alice", 0.0)
    assert guesses(failures, 1000, HERE, "alice") == 1000
    assert failures.counted == 2000
    assert len(failures) == 1, "the success alone is kept"
    assert guesses(Failures(per_address=3, per_user=0), 9, HERE, "alice") == 3
    assert guesses(Failures(per_address=0, per_user=4), 9, HERE, "alice") == 4


@pytest.mark.parametrize("limit", [1, 3, 7, 60, 997])
def test_any_limit_lets_exactly_so_many_through(limit: int) -> None:
    assert guesses(Failures(per_address=limit), 2000, HERE, "", 12345.678) == limit


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1:1883", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:1883", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:1883", "fe80::/64"),
        ("[::ffff:192.0.2.1]:1883", "192.0.2.1"),
        ("unix", ""),
        ("memory", ""),
        ("", ""),
        ("[]:1", ""),
        ("a:b:c", ""),
    ],
)
def test_what_an_address_counts_as(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_network_of_ipv6_is_one() -> None:
    failures = Failures()
    assert sum(guess(failures, f"[2001:db8::{host:x}]:1", "", 0.0) for host in range(100)) == 10
    assert not failures.limited("[2001:db8:0:1::1]:1", "", 0.0)


def test_a_million_keys_take_a_bounded_place() -> None:
    buckets = Buckets(10, 65536)
    for key in range(1_000_000):
        buckets.add(key, key / 1000)
    assert len(buckets) == 65536
    assert sys.getsizeof(buckets._empty_at) < 20_000_000
    assert next(iter(buckets._empty_at)) == 1_000_000 - 65536, "the oldest went"


def test_all_tables_are_bounded() -> None:
    failures = Failures(entries=100)
    for number in range(2000):
        address = f"10.0.{number // 250}.{number % 250}:1"
        failures.failed(address, f"user{number}", 0.0)
        failures.succeeded(address, f"user{number}", 0.0)
        failures.failed(address, f"user{number}", 0.0)
    assert len(failures) == 400


def test_what_fails_again_and_again_stays() -> None:
    failures = Failures(entries=100)
    for number in range(1000):
        guess(failures, HERE, "alice", 0.0) if number < 10 else failures.failed(HERE, "alice", 0.0)
        failures.failed(f"10.0.{number // 250}.{number % 250}:1", f"user{number}", 0.0)
    assert failures.limited(HERE, "", 0.0)
    assert failures.limited(THERE, "alice", 0.0)


def test_a_long_name_takes_the_place_of_a_short_one() -> None:
    failures = Failures(per_address=0)
    for number in range(50):
        failures.failed(HERE, "x" * 60_000 + str(number), 0.0)
    assert sum(len(str(key)) for key in failures._users._empty_at) < 50 * 64
    assert guesses(failures, 20, HERE, "y" * 60_000) == 10
    assert guesses(failures, 20, HERE, "y" * 60_001) == 10
    assert guesses(failures, 20, HERE, "\udc00" * 65) == 10
