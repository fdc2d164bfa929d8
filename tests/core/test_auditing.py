"""Retained messages whose author may retain them no more: which go, when, and what else goes on meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.auditing import PAUSE, SLICE, Audit
from broker.core.grants import Grant
from broker.core.journal import RETAINED
from broker.core.retained import Author, RetainedMessages
from broker.packets.types import Publish, Will
from tests.core.parts import LateStore, accept, connect, message, new_broker, request, said, send
from tests.core.test_flapping import Noticing

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.ports import Peer
    from broker.packets.types import Connect

ANN, BOB = Author("user:ann", "a"), Author("user:bob", "b")


def topics(broker: Broker) -> list[str]:
    return sorted(each.topic for each in broker.retained.read("#") if each is not None)


def run(broker: Broker, now: float = 0.0) -> float:
    """Let time pass until no walk is under way; how long that took."""
    start = now
    while broker.audit is not None:
        now = broker.next_deadline()
        broker.tick(now)
        broker.flush(now)
    return now - start


class Named:
    """Whoever comes is who the user name of the Client Identifier says."""

    def authenticate(self, connect: Connect, peer: Peer) -> Grant:
        grant = Grant(principal=f"user:{connect.client_identifier}")
        grant.roles = ("of the token",)
        return grant


def test_what_goes_and_what_stays() -> None:
    broker = new_broker(Named())
    told = Noticing()
    broker.watchers = (told,)
    for name in ("ann", "bob"):
        connection = connect(broker, name)
        send(connection, Publish(f"{name}/a", b"x", retain=True), Publish(f"{name}/b", b"x", retain=True))
        connection.lost(0.0)
    broker.publish(message("server's own", b"x", retain=True), None, 0.0)
    asked: list[tuple[str, str, tuple[str, ...], str]] = []

    def may_retain(author: Author, topic: str) -> bool:
        asked.append((author.principal, author.client_identifier, author.roles, topic))
        return topic != "bob/a"

    broker.audit_retained(may_retain, 0.0)
    run(broker)
    assert topics(broker) == ["ann/a", "ann/b", "bob/b", "server's own"]
    assert sorted(asked) == [
        (f"user:{name}", name, ("of the token",), f"{name}/{end}") for name in ("ann", "bob") for end in "ab"
    ]
    assert broker.stats.retained_taken_out == 1
    assert broker.sys_topics.values(0.0)["retained messages/taken out"] == "1"
    assert [kind for kind, _ in told.noticed_] == ["audit"]
    assert "1 retained messages" in told.noticed_[0][1]


def test_nothing_is_said_where_nothing_goes() -> None:
    broker = new_broker(Named())
    told = Noticing()
    broker.watchers = (told,)
    send(connect(broker, "ann"), Publish("a", b"x", retain=True))
    broker.audit_retained(lambda author, topic: True, 0.0)
    run(broker)
    assert told.noticed_ == []
    assert topics(broker) == ["a"]


def test_who_replaces_a_message_is_its_author() -> None:
    broker = new_broker(Named())
    for name in ("ann", "bob"):
        send(connect(broker, name), Publish("a", name.encode(), retain=True))
    broker.audit_retained(lambda author, topic: author.principal == "user:bob", 0.0)
    run(broker)
    assert topics(broker) == ["a"]


def test_a_retained_will_has_its_client_as_author() -> None:
    broker = new_broker(Named())
    connection = connect(broker, "ann", will=Will("w", b"x", retain=True))
    connection.lost(0.0)
    ((author, topic),) = [each for each in broker.retained.authored() if each is not None]
    assert (author.principal, author.client_identifier, author.roles, topic) == (
        "user:ann",
        "ann",
        ("of the token",),
        "w",
    )


def test_a_walk_over_many_lets_others_have_their_turn() -> None:
    broker = new_broker()
    for number in range(10 * SLICE):
        broker.retained.set(message(f"a/{number}", b"x", retain=True), ANN if number % 2 else BOB)
    broker.audit_retained(lambda author, topic: author is ANN, 0.0)
    broker.tick(0.0)
    assert broker.stats.retained_taken_out <= SLICE
    assert broker.audit is not None
    seconds = run(broker)
    assert broker.retained.count == 5 * SLICE
    assert seconds >= 9 * PAUSE


def test_newer_roles_begin_anew_and_the_older_walk_ends() -> None:
    broker = new_broker()
    for number in range(4 * SLICE):
        broker.retained.set(message(f"a/{number}", b"x", retain=True), ANN)
    asked = [0, 0]

    def older(author: Author, topic: str) -> bool:
        asked[0] += 1
        return True

    def newer(author: Author, topic: str) -> bool:
        asked[1] += 1
        return True

    broker.audit_retained(older, 0.0)
    broker.tick(0.0)
    broker.audit_retained(newer, 0.001)
    run(broker, 0.001)
    assert asked[0] <= SLICE
    assert asked[1] == 4 * SLICE


def test_messages_may_come_and_go_on_the_way() -> None:
    retained = RetainedMessages(10_000, 1 << 30)
    for number in range(2 * SLICE):
        retained.set(message(f"{number % 7}/{number}", b"x", retain=True), ANN)
    audit = Audit(retained, lambda author, topic: False)
    assert not audit.step()
    for number in range(2 * SLICE):
        retained.remove(f"{number % 7}/{number}")
        retained.set(message(f"new/{number}", b"x", retain=True), BOB)
    while not audit.step():
        pass
    assert audit.taken_out < 2 * SLICE
    assert retained.count <= 2 * SLICE


def test_topics_that_begin_with_a_dollar_are_looked_at_too() -> None:
    retained = RetainedMessages(10, 1 << 20)
    retained.set(message("$own/a", b"x", retain=True), ANN)
    audit = Audit(retained, lambda author, topic: False)
    assert audit.step()
    assert audit.taken_out == 1
    assert retained.count == 0


def test_the_store_forgets_them_too() -> None:
    store = LateStore()
    broker = new_broker(Named(), store)
    connection = accept(broker)
    request(connection, "ann")
    said(connection)
    send(connection, Publish("a", b"x", retain=True))
    broker.flush(0.0)
    store.catch_up()
    ((row,),) = [batch.added[RETAINED] for batch in store.batches if batch.added[RETAINED]]
    number = row.row
    broker.audit_retained(lambda author, topic: False, 0.0)
    run(broker)
    store.catch_up()
    assert [batch.deleted[RETAINED] for batch in store.batches if batch.deleted[RETAINED]] == [[number]]
