"""What a database says of itself."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from broker.core.journal import QUEUED, TABLES
from broker.store.state import State, Witness, decode_state, decode_witness, seal, unseal


@given(st.lists(st.tuples(st.integers(0, TABLES - 1), st.integers(1, 50), st.randoms(use_true_random=False))))
def test_counts_and_sums_are_those_of_the_rows(changes: list[tuple[int, int, object]]) -> None:
    state = State()
    rows: list[set[int]] = [set() for _ in range(TABLES)]
    for table, count, random in changes:
        first = state.last[table] + 1
        state.add(table, count)
        rows[table].update(range(first, first + count))
        gone = random.sample(sorted(rows[table]), count // 2)  # type: ignore[attr-defined]
        rows[table].difference_update(gone)
        state.delete(table, array("q", gone))
    assert state.counts == [len(each) for each in rows]
    assert state.sums == [sum(each) for each in rows]


def test_a_sum_may_run_over() -> None:
    state = State()
    state.last[QUEUED] = 2**62
    state.add(QUEUED, 5)
    again = decode_state(state.encode())
    assert again is not None
    assert again.sums[QUEUED] == sum(range(2**62 + 1, 2**62 + 6)) % 2**64
    again.delete(QUEUED, array("q", range(2**62 + 1, 2**62 + 6)))
    assert (again.counts[QUEUED], again.sums[QUEUED]) == (0, 0)


def test_it_comes_back_as_it_was() -> None:
    state = State()
    state.running = True
    state.commits = 2**40
    state.store_time = 1.5e9
    state.wall_time = 1.6e9
    for table in range(TABLES):
        state.last[table] = table * 10
        state.add(table, table + 1)
    again = decode_state(state.encode())
    assert again is not None
    assert vars_of(again) == vars_of(state)


def vars_of(state: State) -> list[object]:
    return [state.running, state.commits, state.store_time, state.wall_time, state.counts, state.sums, state.last]


def test_no_flipped_bit_goes_unseen() -> None:
    for decoded, data in ((decode_state, State().encode()), (decode_witness, Witness(5, True, b"boot").encode())):
        assert decoded(data) is not None
        for bit in range(len(data) * 8):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            assert decoded(bytes(damaged)) is None
        assert decoded(data[:-1]) is None
        assert decoded(data + b"x") is None
        assert decoded(b"") is None


def test_a_witness() -> None:
    found = decode_witness(Witness(12, False, b"0123456789abcdef").encode())
    assert found is not None
    assert (found.commits, found.synced, found.boot) == (12, False, b"0123456789abcdef")
    unknown = decode_witness(Witness(12, True, b"").encode())
    assert unknown is not None
    assert (unknown.synced, unknown.boot) == (True, b"")


def test_seal() -> None:
    assert unseal(seal(b"abc"), 3) == b"abc"
    assert unseal(seal(b"abc"), 2) is None
