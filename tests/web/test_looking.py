"""What the API shows, each answer held to its schema."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import trio

from broker.auth.roles import Role, Roles, Rules
from broker.core.limits import Limits
from broker.core.message import ApplicationMessage
from broker.core.ports import Peer
from broker.packets.types import Connect, Properties, Publish, Will
from tests.web.asking import Asker, site
from tests.web.holding import assert_holds
from tests.web.systems import NOW, WS, Bench, subscribe

if TYPE_CHECKING:
    from broker.core.grants import Grant


async def get(asker: Asker, target: str, schema: str) -> Any:
    answer = await asker.get(f"/api/v1{target}")
    assert answer.status == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert_holds(answer.json, schema)
    return answer.json


def durable() -> Properties:
    properties = Properties()
    properties.session_expiry_interval = 1000
    return properties


@pytest.fixture
def bench() -> Bench:
    """Three Clients, one of which is away."""
    found = Bench(names={WS: "web"})
    found.client("meter/1", subscribe("a/#", "b", qos=1), user_name="ann", will=Will("w", b"x"))
    found.client("meter/2", subscribe("$share/g/a/+"), transport="ws", address="198.51.100.9:1")
    found.client("Zähler", subscribe("c", qos=1), properties=durable()).lost(found.now)
    found.client("sender", Publish("c", b"12345", qos=1, packet_identifier=1), Publish("c", b"1"))
    found.broker.flush(found.now)
    return found


async def test_the_overview(bench: Bench) -> None:
    tcp = bench.broker.stats.transport("tcp").latency
    tcp.written[0].record(0.004, 3, trio.current_time())
    tcp.acknowledged[1].record(0.002, 1, trio.current_time())
    found = await get(site(bench), "/overview", "Overview")
    assert found["latency"]["tcp"]["0"] == {"p50_ms": 4.0, "p90_ms": 4.0, "p99_ms": 4.0, "max_ms": 4.0, "count": 3}
    assert found["acknowledge"] == {"tcp": {"1": tcp.acknowledged[1].ever().figures()}, "ws": {}}
    assert found["clients"] == {"connected": 3, "total_sessions": 4, "by_transport": {"tcp": 2, "ws": 1}}
    assert (found["sessions_disconnected"], found["subscriptions"]) == (1, 4)
    assert found["messages"]["publish_received"] == 2
    assert found["queue"]["messages"] == 1
    assert [each["name"] for each in found["listeners"]] == ["web", "mqtt://127.0.0.1:1883"]
    assert (found["now"], found["version"], found["build"], found["store"]) == (NOW, "9.8.7", "plain", None)


async def test_an_explanation_names_the_rule() -> None:
    reader = Role("reader", subscribe=Rules(["home/#"], ["home/%c/secret"]))

    class Readers:
        def authenticate(self, connect: Connect, peer: object) -> Grant:
            return Roles([reader], {"anonymous": ["reader"]}).grant("", connect.client_identifier)

    bench = Bench()
    bench.broker.authenticator = Readers()
    bench.client("c1", subscribe("home/#"))
    found = await get(site(bench), "/explain?client=c1&topic=home/c1/secret", "Account")
    assert found["verdict"] == "not_allowed"
    assert found["text"].endswith(': role "reader", deny_subscribe[0] = "home/%c/secret", here "home/c1/secret".')
    found = await get(site(bench), "/explain?client=c1&topic=home/x", "Account")
    assert found["steps"][2] == {
        "what": "permission",
        "outcome": "ok",
        "detail": 'It may receive this topic: role "reader", allow_subscribe[0] = "home/#".',
    }


async def test_history(bench: Bench) -> None:
    found = await get(site(bench), "/history", "History")
    assert found["rows"] == []
    assert found["columns"][0] == "time"


@pytest.mark.parametrize(
    ("query", "expected", "total"),
    [
        ("", ["meter/1", "meter/2", "Zähler", "sender"], 4),
        ("?limit=2", ["meter/1", "meter/2"], 4),
        ("?offset=3&limit=2", ["sender"], 4),
        ("?offset=100", [], 4),
        ("?filter=meter", ["meter/1", "meter/2"], 2),
        ("?filter=Z%C3%A4", ["Zähler"], 1),
        ("?filter=ann", ["meter/1"], 1),
        ("?filter=198.51.100", ["meter/2"], 1),
        ("?connected=false", ["Zähler"], 1),
        ("?connected=true&transport=ws", ["meter/2"], 1),
        ("?sort=client_identifier", ["Zähler", "meter/1", "meter/2", "sender"], 4),
        ("?sort=-subscriptions&limit=1", ["meter/1"], 4),
        ("?sort=-queue_messages&limit=1", ["Zähler"], 4),
        ("?sort=-rtt_ms", ["meter/1", "meter/2", "Zähler", "sender"], 4),
        ("?sort=connected_since", ["meter/1", "meter/2", "sender", "Zähler"], 4),
    ],
)
async def test_clients(bench: Bench, query: str, expected: list[str], total: int) -> None:
    found = await get(site(bench), f"/clients{query}", "Clients")
    assert [each["client_identifier"] for each in found["items"]] == expected
    assert found["total"] == total


async def test_one_client(bench: Bench) -> None:
    found = await get(site(bench), "/clients/meter%2F1", "OneClient")
    assert [each["topic_filter"] for each in found["subscriptions_list"]] == ["a/#", "b"]
    assert found["will"]["topic"] == "w"
    assert (await get(site(bench), "/clients/Z%C3%A4hler", "OneClient"))["will"] is None
    answer = await site(bench).get("/api/v1/clients/meter")
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


async def test_the_flight_record_of_a_client(bench: Bench) -> None:
    found = await get(site(bench), "/clients/meter%2F1", "OneClient")
    assert [event["direction"] for event in found["record"]] == ["decision", "decision"]
    assert found["record"][0]["detail"].startswith("connected from ")
    assert found["record"][1]["detail"].startswith("subscribed: a/# at QoS ")
    assert found["watched"] is False


async def test_why_a_message_does_not_arrive(bench: Bench) -> None:
    found = await get(site(bench), "/explain?client=meter/1&topic=A/x", "Account")
    assert found["verdict"] == "not_subscribed"
    assert "Nearly: 'a/#'" in found["text"]
    assert found["steps"][-1] == {"what": "subscription", "outcome": "stop", "detail": found["text"]}
    found = await get(site(bench), "/explain?client=nobody&topic=a", "Account")
    assert (found["verdict"], found["last"]) == ("no_session", None)
    assert (await site(bench).get("/api/v1/explain?client=c&topic=a/%23")).status == 400
    assert (await site(bench).get("/api/v1/explain?client=c")).status == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a/#", "b", "a/+", "c"]),
        ("?client=meter/1", ["a/#", "b"]),
        ("?client=nobody", []),
        ("?filter=a/", ["a/#", "a/+"]),
        ("?topic=a/x", ["a/#", "a/+"]),
        ("?topic=a", ["a/#"]),
        ("?topic=a/x&client=meter/2", ["a/+"]),
        ("?offset=1&limit=2", ["b", "a/+"]),
    ],
)
async def test_subscriptions(bench: Bench, query: str, expected: list[str]) -> None:
    found = await get(site(bench), f"/subscriptions{query}", "Subscriptions")
    assert [each["topic_filter"] for each in found["items"]] == expected


async def test_retained_messages() -> None:
    bench = Bench()
    for topic in ("a/1", "a/2", "b/c/d", "b"):
        bench.retain(topic, f"of {topic}".encode() * 1000)
    bench.retain("old", b"x", expires_at=0.5)
    asker = site(bench)
    found = await get(asker, "/retained", "RetainedMessages")
    assert (found["total"], [each["topic"] for each in found["items"]]) == (4, ["a/1", "a/2", "b", "b/c/d"])
    assert [found["items"][0][name] for name in ("bytes", "truncated")] == [6000, True]
    found = await get(asker, "/retained?filter=a/%2B&offset=1", "RetainedMessages")
    assert (found["total"], [each["topic"] for each in found["items"]]) == (2, ["a/2"])
    one = await get(asker, "/retained/b%2Fc%2Fd", "RetainedMessage")
    assert (base64.b64decode(one["payload_base64"]), one["truncated"]) == (b"of b/c/d" * 1000, False)
    assert (await asker.get("/api/v1/retained/b/c")).status == 404


async def test_the_overview_counts_clients_and_what_they_retain() -> None:
    bench = Bench()
    first, other = bench.client("a", transport="ws"), bench.client("b")
    bench.broker.accept(Peer("192.0.2.1:80", "ws"), Limits(), bench.now)  # and says nothing, as an HTTP client would
    bench.retain("kept", b"x")
    bench.retain("$SYS/broker/uptime", b"1 seconds")
    found = await get(site(bench), "/overview", "Overview")
    assert found["clients"]["by_transport"] == {"tcp": 1, "ws": 1}
    assert found["transports"]["ws"]["connections"] == 2
    assert found["retained"] == {"messages": 1, "bytes": ApplicationMessage("kept", b"x").size}
    for connection in (first, other):
        connection.lost(bench.now)
    assert (await get(site(bench), "/overview", "Overview"))["clients"]["by_transport"] == {"tcp": 0, "ws": 0}


async def test_topics() -> None:
    bench = Bench()
    for topic in ("a", "a/1", "a/2/x", "a/2/y", "b/c", "$x/y", "/z"):
        bench.retain(topic, b"x")
    asker = site(bench)

    async def levels(query: str) -> list[tuple[str, str | None, int]]:
        found = await get(asker, f"/topics{query}", "Topics")
        return [(each["level"], each["topic"], each["children"]) for each in found["items"]]

    assert await levels("") == [("", None, 1), ("a", "a", 3), ("b", None, 1)]
    assert await levels("?prefix=a") == [("1", "a/1", 0), ("2", None, 2)]
    assert await levels("?prefix=$x") == [("y", "$x/y", 0)]
    assert await levels("?prefix=nothing") == []
    assert await levels("?offset=1&limit=1") == [("a", "a", 3)]


async def test_topics_that_messages_go_to() -> None:
    bench = Bench()
    bench.retain("a/kept", b"x")
    for topic in ("a/live", "a/live", "a/kept", "a/live/deep", "$SYS/x"):
        bench.broker.publish(ApplicationMessage(topic, b"x"), None, trio.current_time())
    bench.broker.subscriptions.plan("a/asked about")
    found = await get(site(bench), "/topics?prefix=a", "Topics")
    assert [(each["topic"], each["messages"], each["children"]) for each in found["items"]] == [
        ("a/kept", 2, 0),
        ("a/live", 2, 1),
    ]
    assert [each["retained"] for each in found["items"]] == [True, False]
    assert NOW - 60 < found["items"][0]["last"] <= NOW
    assert [each["level"] for each in (await get(site(bench), "/topics", "Topics"))["items"]] == ["a"]


async def test_who_is_looked_at_has_its_round_trip_measured(bench: Bench) -> None:
    connection = bench.client("looked-at")
    asked_at = []

    class Measured:
        def flush(self) -> None:
            pass

        def measure(self, now: float) -> None:
            asked_at.append(now)

    connection.outbox.sink = Measured()
    await get(site(bench), "/clients/looked-at", "OneClient")
    assert len(asked_at) == 1


@pytest.mark.parametrize(
    "target",
    [
        "/clients?sort=password",
        "/clients?limit=0",
        "/clients?limit=1001",
        "/clients?offset=-1",
        "/clients?connected=yes",
        "/clients?unknown=1",
        "/subscriptions?topic=a/%23",
        "/subscriptions?topic=",
        "/retained?filter=a/%23/b",
        "/retained?filter=$share/g/a",
        "/retained?filter=",
        "/topics?prefix=%2B",
    ],
)
async def test_what_cannot_be_meant(bench: Bench, target: str) -> None:
    answer = await site(bench).get(f"/api/v1{target}")
    assert answer.status == 400
    assert_holds(answer.json, "Failure")


async def test_the_settings() -> None:
    settings: dict[str, tuple[object, str]] = {
        "limits.maximum_qos": (1, "broker.toml"),
        "log.level": ("info", "default"),
    }
    bench = Bench(effective=lambda: settings)
    assert (await get(site(bench), "/config", "Settings"))["limits.maximum_qos"] == {
        "value": 1,
        "source": "broker.toml",
    }
    assert (await site(Bench()).get("/api/v1/config")).status == 503
