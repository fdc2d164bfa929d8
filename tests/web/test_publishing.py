"""POST /publish/{topic}: whoever sends it is a Client, with what a Client may and may not."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest

from broker.core.grants import Grant
from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode
from tests.web.asking import Answer, Asker, site
from tests.web.holding import assert_holds
from tests.web.systems import Bench, subscribe

if TYPE_CHECKING:
    from broker.core.ports import Peer
    from broker.packets.types import Connect


class Owner(Grant):
    """May publish below its own name only, and retain nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name, False, f"user:{name}")

    def publish(self, topic: str, qos: int, retain: bool) -> ReasonCode:
        allowed = topic.startswith(f"{self.user_name}/") and not retain
        return ReasonCode.SUCCESS if allowed else ReasonCode.NOT_AUTHORIZED

    def subscribe(self, topic_filter: str, qos: int) -> ReasonCode:
        return ReasonCode.SUCCESS if topic_filter.startswith(f"{self.user_name}/") else ReasonCode.NOT_AUTHORIZED


class Judge:
    """Lets ann in by her password, and ben by his token."""

    def __init__(self) -> None:
        self.reason = ReasonCode.BAD_USER_NAME_OR_PASSWORD
        self.peers: list[Peer] = []

    async def authenticate(self, connect: Connect, peer: Peer) -> Grant | Refusal:
        self.peers.append(peer)
        if (connect.user_name, connect.password) == ("ann", b"right"):
            return Owner("ann")
        if (connect.user_name, connect.password) == (None, b"t0ken"):
            return Owner("ben")
        return Refusal(self.reason)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def post(asker: Asker, target: str, body: bytes = b"x", **headers: str) -> Answer:
    answer = await asker.ask("POST", f"/publish/{target}", body, **headers)
    assert_holds(answer.json, "Published" if answer.status == 200 else "Failure")
    return answer


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_arrives(qos: int) -> None:
    bench = Bench()
    reader = bench.client("reader", subscribe("a/#", qos=2))
    reader.outbox.take()
    answer = await post(site(bench), f"a%2Fb/c?qos={qos}&retain=true", b"\x00\xff")
    assert (answer.status, answer.json) == (200, {"reason": 0, "name": "success"})
    assert re.search(rb"\x00\x05a/b/c.*\x00\xff$", reader.outbox.take(), re.DOTALL)
    kept = bench.broker.retained.get("a/b/c", 0.0)
    assert kept is not None
    assert (kept.payload, kept.qos) == (b"\x00\xff", qos)
    stats = bench.broker.stats
    assert stats.by_transport["http"].publish_received == 1
    assert stats.by_transport["http"].connections == 0
    assert (stats.clients_connected, len(bench.broker.sessions), stats.handshakes) == (1, 1, 0)


async def test_nobody_is_there() -> None:
    assert (await post(site(Bench()), "a?qos=1")).json == {"reason": 16, "name": "no_matching_subscribers"}
    assert (await post(site(Bench()), "a?qos=2")).json == {"reason": 16, "name": "no_matching_subscribers"}


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_roles_hold(qos: int) -> None:
    bench = Bench()
    judge = Judge()
    bench.broker.authenticator = judge
    asker = site(bench, local=False)
    ann = basic("ann", "right")
    assert (await post(asker, f"ann/x?qos={qos}", authorization=ann)).status == 200
    assert (await post(asker, f"ben/x?qos={qos}", authorization=ann)).status == 403
    assert (await post(asker, f"ann/x?qos={qos}&retain=true", authorization=ann)).status == 403
    assert (await post(asker, f"ben/x?qos={qos}", authorization="Bearer t0ken")).status == 200
    assert (await post(asker, f"ann/x?qos={qos}", authorization="Bearer t0ken")).status == 403
    assert (await post(asker, f"ann/x?qos={qos}")).status == 401
    assert [(peer.transport, peer.address) for peer in judge.peers[:1]] == [("http", "192.0.2.1:5000")]
    assert bench.broker.sessions == {}
    assert bench.broker.connections == {}


async def test_guessing_is_limited() -> None:
    bench = Bench()
    judge = Judge()
    bench.broker.authenticator = judge
    asker = site(bench, local=False)
    statuses = [(await post(asker, "a", authorization=basic("ann", "wrong"))).status for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert len(judge.peers) == 10


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (ReasonCode.CONNECTION_RATE_EXCEEDED, 429),
        (ReasonCode.SERVER_UNAVAILABLE, 503),
        (ReasonCode.NOT_AUTHORIZED, 401),
        (ReasonCode.BANNED, 401),
    ],
)
async def test_whoever_is_not_let_in(reason: ReasonCode, status: int) -> None:
    bench = Bench()
    judge = Judge()
    judge.reason = reason
    bench.broker.authenticator = judge
    assert (await post(site(bench), "a", authorization=basic("x", "y"))).status == status


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("", 422),
        ("a/%23", 422),
        ("%2B", 422),
        ("a%00", 422),
        ("$SYS/x", 403),
        ("$SYS/x?qos=1", 403),
        ("a?qos=3", 400),
        ("a?retain=1", 400),
        ("a?x=y", 400),
    ],
)
async def test_what_nobody_may_publish(target: str, status: int) -> None:
    assert (await post(site(Bench()), target)).status == status


async def test_the_limits_of_the_listener_hold() -> None:
    bench = Bench()
    limits = bench.doors[0].limits
    limits.maximum_packet_size, limits.maximum_qos, limits.retain_available = 1000, 1, False
    asker = site(bench)
    assert (await post(asker, "a?qos=1", b"x" * 1000)).status == 413
    assert (await post(asker, "a?qos=0", b"x" * 1000)).status == 413
    assert (await post(asker, "a?qos=2")).status == 422
    assert (await post(asker, "a?retain=true")).status == 422
    assert (await post(asker, "a?qos=1", b"x" * 900)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"host": "evil.example:8080"},
    ],
)
async def test_other_pages_publish_nothing(headers: dict[str, str]) -> None:
    bench = Bench()
    asker = site(bench)
    asker.host = headers.pop("host", asker.host)
    assert (await post(asker, "a?retain=true", b"x", **headers)).status == 403
    assert bench.broker.retained.count == 0


@pytest.mark.parametrize(
    "sent", ["Digest x", "Basic", "Basic !", "Basic " + base64.b64encode(b"no colon").decode(), "Bearer"]
)
async def test_what_proves_nothing_is_not_anonymous_either(sent: str) -> None:
    assert (await post(site(Bench()), "a", authorization=sent)).status == 400


async def test_it_can_be_switched_off_and_is_for_post_only() -> None:
    assert (await site(Bench(), publish=False).ask("POST", "/publish/a", b"x")).status == 404
    assert (await site(Bench()).get("/publish/a")).status == 405
