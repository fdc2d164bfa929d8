"""Pages of a long queue, read back."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import apsw
import pytest

from broker.core.journal import Queued
from broker.core.subscriptions import Subscription
from broker.store.folder import StoreFailed
from tests.store.parts import Running, delivery, message

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.build("plain")  # what stands in for a Restorer is no compiled class


def numbers(entries: list[Queued]) -> tuple[array[int], array[int]]:
    return array("q", [each.row for each in entries]), array("q", [each.message.row for each in entries])


def test_a_page_comes_back_in_order(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        entries = [running.keep(receiver, message(f"a/{at}", b"%d" % at)) for at in range(2500)]
        running.commit()
        entries.reverse()
        page = running.store.page(receiver, *numbers(entries), running.now)
        assert [(each.row, each.message.row) for each in page] == [(each.row, each.message.row) for each in entries]
        assert [each.message.payload for each in page] == [b"%d" % at for at in reversed(range(2500))]
        assert {each.delivery for each in page} == {page[0].delivery}, "one for all that are delivered alike"
        assert page[0].delivery.session is receiver
        assert all(each.message.holders == 1 and each.identifier == 0 for each in page)


def test_all_that_a_delivery_says(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        how = delivery(receiver, 2, True, (3, 70000), "drop-oldest", None, True)
        queued = Queued(message("t", b"p", 2, running.now + 60.0), how)
        running.journal.keep(queued)
        running.commit()
        (found,) = running.store.page(receiver, *numbers([queued]), running.now)
        again = found.delivery
        assert (again.maximum_qos, again.retain_as_published, again.retained) == (2, True, True)
        assert (again.identifiers, again.overflow, again.group) == ((3, 70000), "drop-oldest", None)
        assert (found.message.topic, found.message.qos, found.message.retain) == ("t", 2, False)
        assert found.message.expires_at == pytest.approx(running.now + 60.0)


def test_a_message_that_others_hold_too(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        first, second = running.session("first"), running.session("second")
        sent = message()
        entries = [running.keep(first, sent), running.keep(second, sent)]
        running.commit()
        running.journal.share(sent)
        (found,) = running.store.page(first, *numbers(entries[:1]), running.now)
        assert found.message.holders == -1
        running.journal.release(found)
        running.commit()
        assert running.journal.shared == {1: 1}


def test_the_shared_subscription_is_found_again(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        tree = running.kept.broker.subscriptions
        subscription = Subscription(receiver, "a/+", "workers", 1)
        tree.add(subscription)
        (group,) = tree.plan("a/b").groups
        queued = Queued(message("a/b"), group.members[0])
        running.journal.keep(queued)
        running.commit()
        (found,) = running.store.page(receiver, *numbers([queued]), running.now)
        assert found.delivery.group is group
        tree.remove(subscription)
        (found,) = running.store.page(receiver, *numbers([queued]), running.now)
        assert found.delivery.group is None, "it is no more"


def damage(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path / "store.db"))
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM messages WHERE id = 2", "row 2 of table messages: it is missing"),
        ("DELETE FROM queued WHERE id = 2", "row 2 of table queued: it is missing"),
        ("UPDATE messages SET rec = x'0102030405' WHERE id = 2", "row 2 of table messages: the checksum is wrong"),
        ("UPDATE queued SET rec = (SELECT rec FROM queued WHERE id = 1) WHERE id = 2", "row 2 of table queued: the"),
    ],
)
def test_damage_that_is_met_while_it_runs_is_fatal(tmp_path: Path, statement: str, what: str) -> None:
    running = Running(tmp_path / "data")
    receiver = running.session()
    entries = [running.keep(receiver) for _ in range(3)]
    running.commit()
    damage(tmp_path / "data", statement)
    with pytest.raises(StoreFailed, match=f"store.db: {what}.*broker store salvage"):
        running.store.page(receiver, *numbers(entries), running.now)
    assert running.store.state == "failed"
    running.store.close(running.now)


def test_an_entry_of_another_queue_is_not_given_out(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        first, second = running.session("first"), running.session("second")
        queued = running.keep(first)
        running.commit()
        with pytest.raises(StoreFailed, match="it belongs to another queue"):
            running.store.page(second, *numbers([queued]), running.now)


def test_never_is_never(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as running:
        receiver = running.session()
        queued = running.keep(receiver)
        running.commit()
        (found,) = running.store.page(receiver, *numbers([queued]), running.now)
        assert found.message.expires_at == math.inf
