"""What the API does, and what it leaves alone."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from broker.core.flight import WATCHED
from broker.packets.encode import encode
from broker.packets.types import Pingreq
from broker.web import steering
from broker.web.bans import Bans
from broker.web.system import ReloadRefused
from tests.core.parts import LateStore
from tests.web.asking import site
from tests.web.holding import assert_holds
from tests.web.systems import Bench, subscribe


async def test_ending_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench()
    connection, other = bench.client("a/b"), bench.client("c")
    asker = site(bench)
    assert (await asker.ask("DELETE", "/api/v1/clients/a%2Fb")).status == 204
    assert connection.ended
    assert connection.end_reason.startswith("0x98")
    assert not other.ended
    assert bench.settled == 1
    assert "'anonymous at 127.0.0.1:4711' has ended the connection of 'a/b'" in caplog.text
    assert (await asker.ask("DELETE", "/api/v1/clients/a%2Fb")).status == 404


async def test_banning() -> None:
    bench = Bench()
    bans = Bans(bench.broker)
    asker = site(bench, bans=bans)
    first, second = bench.client("one"), bench.client("two")
    assert (await asker.ask("DELETE", "/api/v1/clients/one?ban_s=600")).status == 204
    made = await asker.ask("POST", "/api/v1/bans", {"client_identifier": "two", "seconds": 60.5, "reason": "<b>"})
    assert_holds(made.json, "Ban")
    assert first.ended
    assert second.ended
    listed = await asker.get("/api/v1/bans")
    assert_holds(listed.json, "Bans")
    assert [(each["client_identifier"], each["reason"]) for each in listed.json["items"]] == [
        ("one", ""),
        ("two", "<b>"),
    ]
    assert (await asker.ask("DELETE", "/api/v1/bans/one")).status == 204
    assert (await asker.ask("DELETE", "/api/v1/bans/one")).status == 404
    assert (await asker.get("/api/v1/bans")).json["total"] == 1


async def test_watching() -> None:
    bench = Bench()
    client = bench.client("a/b")
    client.outbox.take()
    asker = site(bench)
    assert (await asker.ask("DELETE", "/api/v1/watches/a%2Fb")).status == 404
    assert (await asker.ask("POST", "/api/v1/watches", {"client_identifier": "a/b"})).status == 204
    client.receive(encode(Pingreq(), 5), 1.0)
    client.outbox.take()
    found = (await asker.get("/api/v1/clients/a%2Fb")).json
    assert found["watched"] is True
    assert [event["packet"] for event in found["record"]][-2:] == ["PINGREQ", "PINGRESP"]
    assert (await asker.ask("DELETE", "/api/v1/watches/a%2Fb")).status == 204
    assert client.tap is None
    for number in range(WATCHED):
        assert (await asker.ask("POST", "/api/v1/watches", {"client_identifier": f"{number}"})).status == 204
    refused = await asker.ask("POST", "/api/v1/watches", {"client_identifier": "one more"})
    assert (refused.status, refused.json["error"]["code"]) == (409, "full")


@pytest.mark.parametrize("seconds", [0, -1, 1e9, "60", None])
async def test_a_ban_has_an_end(seconds: object) -> None:
    answer = await site(Bench()).ask("POST", "/api/v1/bans", {"client_identifier": "a", "seconds": seconds})
    assert answer.status == 422


async def test_deleting_one_retained_message() -> None:
    bench = Bench()
    bench.retain("a/b", b"x")
    asker = site(bench)
    assert (await asker.ask("DELETE", "/api/v1/retained/a%2Fb")).status == 204
    assert bench.broker.retained.count == 0
    assert (await asker.ask("DELETE", "/api/v1/retained/a/b")).status == 404
    assert (await asker.ask("DELETE", "/api/v1/retained/$SYS/broker/uptime")).status == 422


async def test_deleting_many_needs_their_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench()
    for each in range(300):
        bench.retain(f"a/{each}", b"x")
    bench.retain("b", b"x")
    asker = site(bench)
    for query in ("filter=a/%23", "filter=a/%23&expected=299", "filter=a/%23&expected=0"):
        asked = await asker.ask("DELETE", f"/api/v1/retained?{query}")
        assert (asked.status, asked.json["count"]) == (409, 300)
        assert_holds(asked.json, "Failure")
    assert bench.broker.retained.count == 301
    done = await asker.ask("DELETE", "/api/v1/retained?filter=a/%23&expected=300")
    assert (done.status, done.json) == (200, {"deleted": 300})
    assert bench.broker.retained.count == 1
    assert "has deleted 300 retained messages of 'a/#'" in caplog.text
    for query in ("", "filter=$SYS/%23&expected=0", "filter=$SYS&expected=0"):
        assert (await asker.ask("DELETE", f"/api/v1/retained?{query}")).status in (400, 422)


async def test_too_many_are_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "MOST_DELETED", 2)
    bench = Bench()
    for each in range(3):
        bench.retain(f"a/{each}", b"x")
    assert (await site(bench).ask("DELETE", "/api/v1/retained?filter=a/%23&expected=3")).status == 422
    assert bench.broker.retained.count == 3


async def test_publishing() -> None:
    bench = Bench()
    asker = site(bench)
    nobody = await asker.ask("POST", "/api/v1/publish", {"topic": "a", "payload": "x", "qos": 1})
    assert_holds(nobody.json, "Published")
    assert nobody.json == {"reason": 16, "name": "no_matching_subscribers"}
    connection = bench.client("reader", subscribe("a"))
    connection.outbox.take()
    done = await asker.ask("POST", "/api/v1/publish", {"topic": "a", "payload_base64": "AP8=", "retain": True})
    assert done.json == {"reason": 0, "name": "success"}
    assert connection.outbox.take().endswith(b"\x00\xff")
    kept = bench.broker.retained.get("a", 0.0)
    assert kept is not None
    assert kept.payload == b"\x00\xff"
    assert bench.settled == 2
    for body in (
        {"topic": "$SYS/x", "payload": ""},
        {"topic": "a/#", "payload": ""},
        {"topic": "a"},
        {"topic": "a", "payload": "", "properties": {"content_type": "\0"}},
    ):
        refused = await asker.ask("POST", "/api/v1/publish", body)
        assert refused.status == 422
        assert_holds(refused.json, "Failure")


async def test_what_is_published_is_kept_before_it_is_said_to_be(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "PATIENCE", 0.1)
    store = LateStore()
    bench = Bench(store=store)
    store.broker = bench.broker
    asker = site(bench)
    body = {"topic": "a", "payload": "x", "qos": 1, "retain": True}
    answers: list[int] = []

    async def ask() -> None:
        answers.append((await asker.ask("POST", "/api/v1/publish", body)).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(steering.PATIENCE / 2)
        assert store.writing is not None
        assert answers == []
        store.journal.written(store.writing)
        store.writing = None
    assert answers == [200]
    await ask()
    assert answers == [200, 503]
    store.journal.full = True
    full = await asker.ask("POST", "/api/v1/publish", body)
    assert full.json == {"reason": 0x97, "name": "quota_exceeded"}


async def test_reloading() -> None:
    async def well() -> list[str]:
        return ["log.level: info -> debug"]

    async def badly() -> list[str]:
        raise ReloadRefused(["broker.toml:3: no", "broker.toml:4: no"])

    done = await site(Bench(reload=well), anonymous="admin").ask("POST", "/api/v1/reload")
    assert (done.status, done.json) == (200, {"changes": ["log.level: info -> debug"]})
    refused = await site(Bench(reload=badly), anonymous="admin").ask("POST", "/api/v1/reload")
    assert_holds(refused.json, "Failure")
    assert (refused.status, len(refused.json["mistakes"])) == (422, 2)
    assert (await site(Bench(), anonymous="admin").ask("POST", "/api/v1/reload")).status == 503
    assert (await site(Bench(reload=well)).ask("POST", "/api/v1/reload")).status == 403


async def test_what_does_not_fit_into_the_memory_of_bans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.web.bans.KEPT", 0)
    bench = Bench()
    connection = bench.client("a")
    asker = site(bench)
    assert (await asker.ask("DELETE", "/api/v1/clients/a?ban_s=5")).status == 409
    assert not connection.ended
    assert (await asker.ask("POST", "/api/v1/bans", {"client_identifier": "a", "seconds": 5})).status == 409
