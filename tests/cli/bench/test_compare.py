from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from broker.bench.compare import Progress
from broker.bench.results import from_json
from broker.bench.sweep import Axis
from broker.cli.bench.compare import announcement, axes_of, heading, workload_for
from broker.cli.bench.workloads import Place
from tests.cli.bench.test_options import parsed
from tests.cli.bench.test_single import children
from tests.cli.conftest import Process

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Served

QUICK = ("--no-progress", "--workers", "1", "--connections", "0", "-n", "100")


def wait_for_rounds(pid: int) -> dict[int, str]:
    """Until the fifth worker of the process `pid` has begun: two do not count, two are a round. Its children."""
    seen: set[int] = set()
    for _ in range(3000):
        found = children(pid)
        seen |= {child for child, words in found.items() if "broker.bench.worker" in words}
        if len(seen) >= 5:
            return found
        time.sleep(0.02)
    raise AssertionError("no rounds")


def test_tcp_and_websocket_side_by_side(command: Command, served: Served) -> None:
    words = ["-L", served.mqtt, "-L", f"web={served.ws}", "--rounds", "1", "--json-progress", "--json"]
    result = command("bench", "compare", *words, *QUICK)
    assert result.exit_code == 0, result.stderr
    comparison = from_json(result.stdout).first
    assert [subject.label for subject in comparison.subjects] == ["tcp", "web"]
    assert [(run.subject, run.number) for run in comparison.rounds] == [("tcp", 1), ("web", 1)]
    figures = comparison.figures()
    assert (figures["tcp"]["sent_framing"], figures["web"]["lost"]) == (0, 0)
    assert figures["web"]["sent_framing"] > 0
    assert "web / tcp" in result.stderr
    first = json.loads(result.stderr.splitlines()[0])
    assert (first["done"], first["text"].partition(",")[0]) == (0, "tcp")


def test_a_page(command: Command, served: Served, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ["-L", served.mqtt, "--rounds", "1", "--workload", "rtt", "--html", str(page)]
    assert command("bench", "compare", *words, *QUICK).exit_code == 0
    assert "<svg" in page.read_text("utf-8")


def test_a_sweep(command: Command, served: Served) -> None:
    words = ["-L", served.mqtt, "--rounds", "1", "--sweep", "payload=16,64", "qos=0,1", "--csv"]
    result = command("bench", "compare", *words, *QUICK)
    assert result.exit_code == 0, result.stderr
    rows = [line.split(",")[:4] for line in result.stdout.splitlines()]
    assert rows[0] == ["payload", "qos", "subject", "round"]
    assert [row[:2] for row in rows[1:] if row[3] == "all"] == [["16", "0"], ["16", "1"], ["64", "0"], ["64", "1"]]


def test_a_broker_of_its_own(command: Command) -> None:
    result = command("bench", "compare", "--rounds", "1", *QUICK, "--fail-if", "ws.sent_framing>3")
    assert result.exit_code == 3
    assert result.stderr.startswith("--fail-if ws.sent_framing>3: ws has ")
    assert "ws / tcp" in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("-L mqtt://127.0.0.1:1 -L ws://127.0.0.1:1", 4, "cannot connect: mqtt://127.0.0.1:1: Connection refused"),
        ("-L x=mqtt://a -L x=mqtt://b", 2, "two subjects are called 'x': give each a name of its own."),
        ("-L mqtt://a -L ws://b --insecure", 2, "mqtt://a:1883 is without it: say mqtts://."),
        ("mqtt://a", 2, "'mqtt://a' stands alone: URLs are given with -L, axes with --sweep."),
        ("payload=16..64", 2, "'payload=16..64' stands alone: URLs are given with -L, axes with --sweep."),
        ("--sweep payload=1..64", 2, "--sweep: payload=1 is out of bounds: 16 to"),
        ("--sweep payload=16..64 colour=red", 2, "--sweep: 'colour' cannot be varied"),
        ("--sweep clients=1..1000000", 2, "63,246 Clients need as many sockets"),
        ("--workload rtt --rate 5", 2, "--rate says nothing of --workload rtt"),
        ("--workload rtt --filter x", 2, "--filter says nothing of --workload rtt"),
        ("--workload conn", 2, "'conn' is not one of 'pub', 'fanout', 'rtt'"),
        ("--rounds 0", 2, "'0' is no number of rounds"),
        ("--fail-if unix.p99>1ms", 2, "there is no subject 'unix' here, but tcp, ws."),
        ("-L mqtt://a -L ws://b --pid 1 --pid 1 --pid 1", 2, "3 times --pid for 2 URLs"),
        ("--html /nowhere/page.html", 2, "there is no folder '/nowhere'"),
    ],
)
def test_what_does_not_run(command: Command, words: str, code: int, said: str) -> None:
    result = command("bench", "compare", *words.split(), *QUICK)
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_keeps_the_rounds_that_were_complete(tmp_path: Path) -> None:
    file = tmp_path / "compared.json"
    words = [
        "--rounds",
        "500",
        "-d",
        "0.1",
        "--warm-up",
        "0",
        "--connections",
        "0",
        "--workers",
        "1",
        "--json",
        str(file),
    ]
    with Process("bench", "compare", *words, "--no-progress") as process:
        started = wait_for_rounds(process.popen.pid)
        process.popen.send_signal(signal.SIGINT)
        code, out, err = process.wait()
    assert (code, err) == (130, b"")
    comparison = from_json(file.read_text()).first
    numbers = [run.number for run in comparison.rounds]
    assert numbers == sorted([*range(1, numbers[-1] + 1)] * 2)
    assert b"! Ended by a signal" in out
    assert not [pid for pid in started if (Path("/proc") / str(pid)).exists()]


def test_what_is_compared() -> None:
    place = [Place(url="mqtt://h:1883")]
    pub = workload_for(parsed("compare", "-c", "3"), place, 5.0)
    assert (pub.publishers, pub.subscribers, pub.seconds, pub.warm_up, pub.url) == (3, 3, 5.0, 1.0, "mqtt://h:1883")
    fanout = workload_for(parsed("compare", "--workload", "fanout", "-c", "2"), [], 5.0)
    assert (fanout.publishers, fanout.subscribers, fanout.topic_filter, fanout.url) == (2, 100, "bench/+", "")
    few = workload_for(parsed("compare", "--workload", "fanout", "--subscribers", "5", "-d", "1"), [], 5.0)
    assert (few.publishers, few.subscribers, few.seconds) == (1, 5, 1.0)
    rtt = workload_for(parsed("compare", "--workload", "rtt", "-n", "9"), [], 5.0)
    assert (rtt.echo, rtt.inflight, rtt.count, rtt.seconds) == (True, 1, 9, 10.0)


def test_axes() -> None:
    assert axes_of([], []) == []
    assert axes_of(["payload=16,32"], ["qos=0,1"]) == [Axis("payload", (16.0, 32.0)), Axis("qos", (0.0, 1.0))]
    with pytest.raises(click.UsageError, match="'payload' is varied twice"):
        axes_of(["payload=16,32"], ["payload=64"])


def test_what_is_said_on_the_way() -> None:
    axes = [Axis("payload", (16.0, 32.0, 64.0))]
    assert announcement(["tcp", "ws"], 6, [], 95.0) == (
        "Comparing tcp and ws in 6 rounds: about 2 min. Ctrl-C ends it and tells what was seen until then."
    )
    assert "tcp in 1 round at 3 points: about 30 s." in announcement(["tcp"], 1, axes, 30.0)
    load = Progress(stage="load", label="ws", round=2, rounds=6, done=0.4, remaining=61.2)
    assert heading(load, {}) == "round 2 of 6, ws, the load; 40% done, 61 s left"
    first = Progress(stage="warm-up", label="tcp", round=0, rounds=6, done=0.0, remaining=200)
    assert heading(first, {"payload": 1024}) == (
        "payload 1,024, tcp, a first run that does not count; 0% done, 3 min left"
    )
