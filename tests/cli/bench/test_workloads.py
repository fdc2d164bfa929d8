from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import click
import pytest

from broker.bench.workload import Workload
from broker.cli.bench.workloads import Place, check, cpu_of, pids_of, places, workload_of
from broker.packets.types import MQTT_3_1_1
from tests.cli.bench.test_options import parsed
from tests.secured import Papers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

HERE = Place(url="mqtt://127.0.0.1:1883")


def made(kind: str, *words: str, place: Place = HERE) -> Workload:
    workload = workload_of(kind, parsed(kind, *words), place)
    check(workload, 1)
    return workload


def refused(kind: str, *words: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        made(kind, *words)
    return caught.value.message


def test_a_publisher_has_its_subscriber() -> None:
    assert made("pub") == Workload(
        url="mqtt://127.0.0.1:1883",
        publishers=1,
        subscribers=1,
        topic="bench/%i",
        topic_filter="bench/%i",
        qos=0,
        payload=64,
        rate=0.0,
        inflight=100,
        count=0,
        seconds=10.0,
        warm_up=1.0,
        connect_rate=0.0,
    )


def test_every_option_has_its_field() -> None:
    place = Place(url="ws://127.0.0.1:8080/mqtt", username="me", password="secret")
    words = "-c 3 --subscribers 5 -d 2 --rate 1000 --connect-rate 50 --connecting 8 -q 1 -s 2MB --version 3.1.1 -k 9"
    words += " --warm-up 0 --timeout 3 -I load -t a/%i --filter a/+"
    assert made("pub", *words.split(), place=place) == Workload(
        url="ws://127.0.0.1:8080/mqtt",
        version=MQTT_3_1_1,
        publishers=3,
        subscribers=5,
        topic="a/%i",
        topic_filter="a/+",
        qos=1,
        payload=2_000_000,
        rate=1000.0,
        inflight=20,
        seconds=2.0,
        warm_up=0.0,
        connect_rate=50.0,
        connecting=8,
        timeout=3.0,
        keep_alive=9,
        client_prefix="load",
        username="me",
        password="secret",
    )


@pytest.mark.parametrize(
    ("words", "topic", "topic_filter"),
    [
        ("-c 4", "bench/%i", "bench/%i"),
        ("-c 4 --subscribers 0", "bench/%i", "bench/%i"),
        ("-c 9 --subscribers 2", "bench/%m", "bench/%i"),
        ("-c 2 --subscribers 9", "bench/%i", "bench/%m"),
        ("-c 4 -t a/%i", "a/%i", "a/%i"),
        ("-c 4 -t a/%u/x", "a/%u/x", "a/%u/x"),
        ("-c 4 -t a/%c/x", "a/%c/x", "a/+/x"),
        ("-c 4 --subscribers 1 -t a/dev%i/x", "a/dev%i/x", "a/+/x"),
        ("-c 4 --filter bench/#", "bench/%i", "bench/#"),
        ("-c 4 --filter $share/g/bench/+", "bench/%i", "$share/g/bench/+"),
    ],
)
def test_somebody_is_subscribed(words: str, topic: str, topic_filter: str) -> None:
    workload = made("pub", *words.split(), "-u", "me", place=Place(url=HERE.url, username="me"))
    assert (workload.topic, workload.topic_filter) == (topic, topic_filter)


def test_the_other_kinds() -> None:
    conn = made("conn", "-c", "50")
    assert (conn.idle, conn.publishers, conn.subscribers, conn.seconds, conn.warm_up) == (50, 0, 0, 2.0, 0.0)
    sub = made("sub", "-c", "2", "-d", "3", "-q", "2")
    assert (sub.subscribers, sub.publishers, sub.topic_filter, sub.seconds, sub.qos) == (2, 0, "bench/#", 3.0, 2)
    some = made("sub", "-n", "50", "-d", "3")
    assert (some.count, some.seconds, some.warm_up) == (50, 3.0, 0.0)
    fanout = made("fanout", "--publishers", "2", "-q", "1", "-s", "128")
    assert (fanout.publishers, fanout.subscribers, fanout.topic, fanout.topic_filter) == (2, 100, "bench/%i", "bench/+")
    assert (fanout.qos, fanout.payload) == (1, 128)
    rtt = made("rtt", "-c", "3", "-n", "100", "-t", "echo/%c")
    assert (rtt.publishers, rtt.subscribers, rtt.echo, rtt.inflight, rtt.rate) == (3, 0, True, 1, 0.0)
    assert (rtt.topic, rtt.topic_filter, rtt.count) == ("echo/%c", "echo/%c", 100)


def test_the_topic_of_the_url() -> None:
    (place,) = places(parsed("pub", "-L", "mqtt://me:secret@h/a/%i"))
    assert place == Place(url="mqtt://h:1883", topic="a/%i", username="me", password="secret")
    assert made("pub", place=place).topic == "a/%i"
    assert made("pub", "-t", "b", place=place).topic == "b"
    assert made("sub", place=place).topic_filter == "a/%i"


@pytest.mark.parametrize(
    ("words", "warm_up"), [("-d 60", 1.0), ("-d 2", 0.4), ("-n 100", 0.0), ("-n 100 --warm-up 2", 2.0)]
)
def test_a_warm_up_that_fits(words: str, warm_up: float) -> None:
    assert made("pub", *words.split()).warm_up == pytest.approx(warm_up)


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("pub", "--rate 5 --inflight 5", "(an open loop); --inflight sends the next when"),
        ("fanout", "--rate 5 --inflight 5", "Give one."),
        ("pub", "-n 5 -d 5", "-n ends a run after so many messages, -d after so long; give one."),
        ("pub", "-t a/+", "'a/+' is no Topic Name"),
        ("rtt", "-t #", "'#' is no Topic Name"),
        ("sub", "-t a/#/b", "'a/#/b' is no Topic Filter"),
        ("pub", "-t a --filter a/b#", "'a/b#' is no Topic Filter"),
        ("pub", "-c 3 -t a/%i --filter b/%i", "Nobody is subscribed to 'a/0' (3 of 3 publishers): the filter 'b/%i'"),
        ("pub", "-c 3 --subscribers 2 --filter bench/%i", "Nobody is subscribed to 'bench/2' (1 of 3 publishers)"),
        ("pub", "-c 2 -t a/%c --filter a/%c", "does not cover it. --filter 'a/+' would."),
    ],
)
def test_contradictions(kind: str, words: str, said: str) -> None:
    assert said in refused(kind, *words.split())


def test_more_clients_than_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    check(Workload(url="mqtt://h:1", idle=936), 1)
    check(Workload(url="mqtt://h:1", idle=1872), 2)
    with pytest.raises(click.UsageError) as caught:
        check(Workload(url="mqtt://h:1", idle=1873), 2)
    assert caught.value.message == (
        "1,873 Clients need as many sockets, and a process may open 1,000 files (ulimit -Hn): "
        "1,872 Clients is the most."
    )
    with pytest.raises(click.UsageError, match="936 Clients is the most"):
        check(Workload(url="", idle=937), 2)  # all of them in our own broker's one process
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, resource.RLIM_INFINITY))
    check(Workload(url="mqtt://h:1", idle=1_000_000), 1)


def found(*words: str, several: bool = False, **more: object) -> list[Place]:
    options: Mapping[str, Any] = parsed("pub", *words) | more
    return places(options, several=several)


def test_what_a_workload_refuses_is_usage() -> None:
    with pytest.raises(click.UsageError, match=r"a Keep Alive is at most 65,535 seconds, not 65,536\."):
        check(Workload(url="", idle=1, keep_alive=65_536), 1)


def test_processes() -> None:
    two = [Place(url="mqtt://a"), Place(url="ws://b")]
    assert pids_of(two, []) == [None, None]
    assert pids_of(two, [7]) == [7, 7]
    assert pids_of(two, [7, 8]) == [7, 8]
    assert pids_of([], []) == []
    with pytest.raises(click.UsageError, match="3 times --pid for 2 URLs"):
        pids_of(two, [7, 8, 9])
    with pytest.raises(click.UsageError, match="say where with -L"):
        pids_of([], [7])


def test_where_a_broker_of_our_own_runs() -> None:
    assert cpu_of([], None) is None
    assert cpu_of([], 0) == 0
    assert cpu_of([HERE], None) is None
    with pytest.raises(click.UsageError, match="--broker-cpu is of a broker of its own, and"):
        cpu_of([HERE], 0)


def test_where() -> None:
    assert found() == []
    assert found("-L", "ws://h") == [Place(url="ws://h:80/mqtt")]
    assert found("-h", "h", "-p", "99") == [Place(url="mqtt://h:99")]
    assert found("--unix", "/s") == [Place(url="unix:/s")]
    assert found("-L", "mqtt://a:b@h", "-u", "me", "-P", "c") == [
        Place(url="mqtt://h:1883", username="me", password="c")
    ]


def test_load_goes_only_where_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "mqtt://production:1883")
    assert found() == []


def test_tls(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    words = ["--cafile", papers.ca, "--cert", papers.client_certificate, "--key", papers.client_key]
    assert found("-h", "h", *map(str, words)) == [Place(url="mqtts://h:8883")]
    assert found("-h", "h", "-p", "8883") == [Place(url="mqtts://h:8883")]
    assert [place.url for place in found("-L", "mqtt://h", "-L", "wss://h", *map(str, words), several=True)] == [
        "mqtt://h:1883",
        "wss://h:443/mqtt",
    ]
    workload = made("pub", *map(str, words), place=Place(url="mqtts://h:8883"))
    assert (workload.ca_file, workload.insecure) == (str(papers.ca), False)
    assert (workload.certificate, workload.key) == (str(papers.client_certificate), str(papers.client_key))
    assert made("pub", "--insecure", place=Place(url="mqtts://h:8883")).insecure


def test_names() -> None:
    assert found("-L", "old=mqtt://h", "-L", "ws://h/?a=b", "-L", "new one=unix:/s", several=True) == [
        Place(url="mqtt://h:1883", label="old"),
        Place(url="ws://h:80/?a=b"),
        Place(url="unix:/s", label="new one"),
    ]
    assert found("-L", "unix:/s=t", several=True) == [Place(url="unix:/s=t")]


@pytest.mark.parametrize(
    ("words", "several", "said"),
    [
        ("-L mqtt://a -L ws://b", False, "One URL at a time; there are 2. 'broker bench compare' runs"),
        ("-L http://h", False, "'http://h' begins with none of mqtt://, mqtts://, ws://, wss:// and unix:"),
        (f"-L mqtts://h --cafile {__file__}", False, "test_workloads.py holds no certificate in PEM."),
        (f"-L mqtt://h -L x=wss://h --cert {__file__}", True, "not a certificate and its key in PEM"),
        ("-L mqtt://h --insecure", False, "mqtt://h:1883 is without it: say mqtts://."),
        ("--insecure", False, "a broker of its own is without it"),
        (f"-L mqtts://h --key {__file__}", False, "--key is of no use without its certificate: --cert."),
        ("-L x=h", True, "'h' begins with none of"),
        ("-L mqtt://[::1", False, "Invalid IPv6 URL."),
        ("-L =mqtt://h", True, "has no name before its '='"),
        ("-L mqtt://h -h h", False, "-L and -h each say where to connect; give one."),
    ],
)
def test_nowhere(words: str, several: bool, said: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        found(*words.split(), several=several)
    assert said in caught.value.message
