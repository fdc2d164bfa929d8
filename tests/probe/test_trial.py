from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.client import connect, parse
from broker.packets.types import MQTT_3_1_1, MQTT_5_0
from broker.probe.subject import Subject
from broker.probe.trial import Trial
from broker.probe.verdict import Lacking, Skipped, Wrong
from tests.probe.altering import announcing
from tests.probe.servers import PATIENCE, Tampered, ask
from tests.probe.webserver import page, right, web

if TYPE_CHECKING:
    from broker.client import Endpoint
    from tests.probe.webserver import Request


def trial(endpoint: Endpoint, *versions: int) -> Trial:
    subject = Subject(endpoint)
    subject.accepted |= set(versions or (MQTT_5_0,))
    return Trial(subject, "check", PATIENCE)


async def retained(endpoint: Endpoint) -> list[str]:
    """Every topic with a retained message, but those of the broker's own."""
    async with (
        connect(f"mqtt://{endpoint.authority}") as client,
        client.subscribe("triomq-probe/#", "behind", qos=1) as messages,
    ):
        await client.publish("behind", qos=1)
        topics: list[str] = []
        while (message := await messages.receive()).topic != "behind":
            topics.append(message.topic)
    return topics


async def sessions(endpoint: Endpoint) -> int:
    """How many Sessions there are beside the one that asks."""
    async with (
        connect(f"mqtt://{endpoint.authority}") as client,
        client.subscribe("$SYS/broker/clients/total") as messages,
    ):
        for _ in range(2):  # the retained one may be old
            message = await messages.receive()
        return int(message.payload) - 1


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5_0], ids=["3.1.1", "5.0"])
async def test_what_is_left_is_taken_away(version: int) -> None:
    async with Tampered().serving() as endpoint:
        run = trial(endpoint, version)
        peer = await run.connect()
        await run.retain(peer, run.topic("kept"), b"x")
        await run.durable("probe1")
        assert await retained(endpoint) == [f"{run.subject.root}/check/kept"]
        await run.clean()
        assert await retained(endpoint) == []
        after = Trial(run.subject, "after", PATIENCE)
        assert not (await after.durable("probe1")).connack.session_present
        await after.clean()
    assert run.subject.left == []


async def test_retained_messages_expire_by_themselves_at_a_5_0_server() -> None:
    async with Tampered().serving() as endpoint:
        run = trial(endpoint)
        await run.retain(await run.connect(), run.topic(), b"x")
        reader = await run.connect()
        await reader.subscribe(run.topic())
        message = await reader.message(run.topic(), b"x", retain=True)
        assert 0 < message.message_expiry_interval <= 120
        await run.clean()


async def test_a_whole_probe_leaves_nothing() -> None:
    async with Tampered().serving() as endpoint:
        subject = Subject(endpoint)
        await ask(endpoint, subject=subject)
        assert subject.left == []
        assert await retained(endpoint) == []
        for number in range(1, 200):
            run = trial(endpoint)
            name = f"{subject.identifier}{number:03d}"
            if (await run.durable(name)).connack.session_present:
                raise AssertionError(name)
            await run.clean()


async def test_a_cancelled_probe_leaves_nothing() -> None:
    async with Tampered().serving() as endpoint:
        subject = Subject(endpoint)
        with trio.move_on_after(0.4) as scope:  # in the midst of the retained ones and the Sessions
            await ask(endpoint, "retained", "sessions", subject=subject, patience=3)
        assert scope.cancelled_caught
        assert subject.left == []
        assert await retained(endpoint) == []


async def test_what_cannot_be_taken_away_is_told() -> None:
    tampered = Tampered(last=3)
    async with tampered.serving() as endpoint:
        run = trial(endpoint)
        await run.retain(await run.connect(), run.topic("kept"), b"x")
        await run.durable("probe1")
        await run.clean()
    assert run.subject.left == [f"the retained message on {run.subject.root}/check/kept", "the Session of probe1"]


async def test_a_server_that_has_gone() -> None:
    run = trial(parse("mqtt://127.0.0.1:1"))
    with pytest.raises(Wrong, match="can be reached no more"):
        await run.connect()
    assert run.subject.gone == "mqtt://127.0.0.1:1 can be reached no more: Connection refused"


async def test_a_websocket_that_is_refused_later() -> None:
    asked: list[Request] = []

    def once(request: Request) -> bytes:
        asked.append(request)
        return right(request) if len(asked) == 1 else page("503 Service Unavailable", "full")

    async with web(once) as endpoint:
        run = trial(endpoint)
        await run.connect()
        with pytest.raises(Wrong, match="the WebSocket is refused now: HTTP status 503: full"):
            await run.connect()
        await run.clean()


async def test_what_a_check_may_want() -> None:
    async with Tampered(announcing(maximum_qos=0, retain_available=0)).serving() as endpoint:
        run = trial(endpoint)
        run.subject.welcome((await run.connect()).connack)
        assert [run.qos(wanted) for wanted in (0, 1, 2)] == [0, 0, 0]
        run.want_qos(0)
        with pytest.raises(Lacking, match="Maximum QoS is 0"):
            run.want_qos(1)
        with pytest.raises(Skipped, match="retains nothing"):
            run.want_retained()
        run.want_seconds(0.1)
        with pytest.raises(Skipped, match="it takes 9 s"):
            run.want_seconds(9)
        await run.clean()


async def test_clients_side_by_side() -> None:
    async with Tampered(max_connections=4).serving() as endpoint:
        run = trial(endpoint, MQTT_5_0, MQTT_3_1_1)
        first, second = await run.clients(0, MQTT_3_1_1)
        assert (first.version, second.version) == (MQTT_5_0, MQTT_3_1_1)
        await run.clean()
        refused = trial(parse("mqtt://127.0.0.1:1"))
        with pytest.raises(Wrong):  # one of both, and in no group
            await refused.clients(0, 0)
