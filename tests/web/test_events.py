"""Messages as server-sent events: what comes, what comes again, and what does not."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from broker.core.message import ApplicationMessage
from broker.web import events
from broker.web.exchange import Exchange
from broker.web.heads import read_head
from tests.web.asking import site
from tests.web.holding import assert_holds
from tests.web.systems import Bench
from tests.web.test_publishing import Judge, basic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.asking import Asker


class Reader:
    """A browser's EventSource."""

    def __init__(self, asker: Asker, exchange: Exchange) -> None:
        self._asker = asker
        self.exchange = exchange

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Those that have come since the last time: (id, data)."""
        await trio.testing.wait_all_tasks_blocked()
        line = self._asker.line
        said, line.said = line.said.decode(), b""
        found = []
        for block in said.split("\n\n"):
            fields = dict(each.split(": ", 1) for each in block.splitlines() if ": " in each)
            if "data" in fields:
                found.append((fields.get("id", ""), json.loads(fields["data"])))
        return found


@asynccontextmanager
async def reading(asker: Asker, query: str, last: str = "") -> AsyncIterator[Reader]:
    """A stream for as long as the block lasts."""
    fields = f"Host: {asker.host}\r\n" + (f"Last-Event-ID: {last}\r\n" if last else "")
    parser, head = read_head(f"GET /events?{query} HTTP/1.1\r\n{fields}\r\n".encode())
    exchange = Exchange(asker.line, parser, head, 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, asker.app)
        yield Reader(asker, exchange)
        exchange.closed()


def publish(bench: Bench, topic: str, payload: bytes, qos: int = 1) -> None:
    now = trio.current_time()
    bench.broker.publish(ApplicationMessage(topic, payload, 0, qos), None, now)
    bench.broker.flush(now)


async def test_retained_messages_come_first_and_then_the_others() -> None:
    bench = Bench()
    bench.retain("a/b", b"kept")
    async with reading(site(bench), "filter=a/%23&filter=c") as reader:
        await trio.testing.wait_all_tasks_blocked()
        assert b"content-type: text/event-stream" in reader._asker.line.said
        assert [(data["topic"], data["payload"], data["retain"]) for _, data in await reader.events()] == [
            ("a/b", "kept", True)
        ]
        publish(bench, "c", "zwei\nZeilen ä".encode())
        publish(bench, "d", b"not asked for")
        publish(bench, "a", b"\xff\x00", qos=0)
        first, second = await reader.events()
        assert first[1]["payload"] == "zwei\nZeilen ä"
        assert second == ("", {"topic": "a", "payload_base64": "/wA=", "qos": 0, "retain": False, "time": 1.8e9})
    await trio.testing.wait_all_tasks_blocked()
    assert bench.broker.connections == {}
    assert bench.broker.stats.clients_connected == 0


async def test_whoever_comes_back_goes_on_where_it_was() -> None:
    bench = Bench()
    bench.retain("a", b"kept")
    asker = site(bench)
    async with reading(asker, "filter=a") as reader:
        seen = await reader.events()
        for each in range(4):
            publish(bench, "a", b"%d" % each)
        seen += await reader.events()
        assert [data["payload"] for _, data in seen] == ["kept", "0", "1", "2", "3"]
    publish(bench, "a", b"4")
    async with reading(asker, "filter=a", last=seen[2][0]) as reader:
        again = await reader.events()
        assert [data["payload"] for _, data in again] == ["2", "3", "4"]
        assert [name for name, _ in again[:2]] == [name for name, _ in seen[3:]]
        publish(bench, "a", b"5")
        more = await reader.events()
        assert [data["payload"] for _, data in more] == ["5"]
    assert len({name for name, _ in seen + again + more}) == 7
    assert len(bench.broker.sessions) == 1


@pytest.mark.parametrize("last", ["nonsense", "events-" + "x" * 22 + ":1", "-1", "a\tb"])
async def test_what_nobody_was_sent_begins_anew(last: str) -> None:
    bench = Bench()
    bench.retain("a", b"kept")
    async with reading(site(bench), "filter=a", last=last) as reader:
        assert [data["payload"] for _, data in await reader.events()] == ["kept"]


async def test_what_waits_for_whoever_may_come_back_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WINDOW", 3)
    bench = Bench()
    asker = site(bench)
    async with reading(asker, "filter=a") as reader:
        await reader.events()
        for each in range(200):
            publish(bench, "a", b"%d" % each)
        seen = await reader.events()
        assert [data["payload"] for _, data in seen] == [str(each) for each in range(200)]
        session = next(iter(bench.broker.sessions.values()))
        assert len(session.outgoing.unacknowledged) == 3
    async with reading(asker, "filter=a", last=seen[0][0]) as reader:
        assert [data["payload"] for _, data in await reader.events()] == ["197", "198", "199"]


async def test_a_quiet_stream_shows_that_it_lives(autojump_clock: trio.testing.MockClock) -> None:
    asker = site(Bench())
    async with reading(asker, "filter=a"):
        await trio.sleep(events.QUIET * 2 + 1)
        assert asker.line.said.count(b":\n\n") == 2


async def test_a_slow_reader_is_bounded_as_any_client() -> None:
    bench = Bench()
    bench.doors[0].limits.outbox_soft_bytes = 10_000
    asker = site(bench)
    asker.line.slow = True
    async with reading(asker, "filter=a"):
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(100):
            publish(bench, "a", b"x" * 1000, qos=0)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.broker.stats.publish_dropped > 50
        assert len(asker.line.said) < 5000


async def test_roles_hold() -> None:
    bench = Bench()
    bench.broker.authenticator = Judge()
    asker = site(bench, local=False)
    refused = await asker.get("/events?filter=a")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert_holds(refused.json, "Failure")
    assert (await asker.get("/events?filter=a", authorization=basic("ann", "wrong"))).status == 401
    assert bench.broker.sessions == {}
    assert (await asker.get("/events?filter=ann/x&filter=ben/x", authorization=basic("ann", "right"))).status == 403
    asker.host += f"\r\nAuthorization: {basic('ann', 'right')}"
    async with reading(asker, "filter=ann/%23") as reader:
        await reader.events()
        publish(bench, "ann/x", b"1")
        assert [data["payload"] for _, data in await reader.events()] == ["1"]


async def test_what_may_not_be_subscribed_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.doors[0].limits.wildcard_subscription_available = False
    answer = await site(bench).get("/events?filter=a/%23")
    assert answer.status == 422
    assert_holds(answer.json, "Failure")
    monkeypatch.setattr(events, "STREAMS", 0)
    assert (await site(bench).get("/events?filter=a")).status == 503


@pytest.mark.parametrize(
    "query", ["", "?filter=", "?filter=a/%23/b", "?filter=$share/g/a", "?filter=a&x=y", "?x=y", "?" + "filter=a&" * 21]
)
async def test_what_cannot_be_meant(query: str) -> None:
    answer = await site(Bench()).get(f"/events{query}")
    assert answer.status == 400
    assert_holds(answer.json, "Failure")


async def test_other_pages_hear_nothing() -> None:
    asker = site(Bench())
    assert (await asker.get("/events?filter=a", origin="http://evil.example")).status == 403
    asker.host = "evil.example:8080"
    assert (await asker.get("/events?filter=a")).status == 403


async def test_the_end_of_the_broker_is_the_end_of_the_stream() -> None:
    bench = Bench()
    asker = site(bench)
    async with reading(asker, "filter=a"):
        await trio.testing.wait_all_tasks_blocked()
        now = trio.current_time()
        bench.broker.shut_down(now)
        bench.broker.flush(now)
        await trio.testing.wait_all_tasks_blocked()
        assert asker.line.said.endswith(b"\r\n0\r\n\r\n")


async def test_it_can_be_switched_off() -> None:
    assert (await site(Bench(), events=False).get("/events?filter=a")).status == 404
