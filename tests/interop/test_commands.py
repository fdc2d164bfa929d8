"""`broker pub` and `broker sub` against Mosquitto, and their output beside that of the mosquitto clients."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.interop import tools
from tests.interop.paho_client import PahoClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.brokers import Door, RunningBroker

SECONDS = 20

every_version = pytest.mark.parametrize("version", ["3.1", "3.1.1", "5"])
oldest_and_newest = pytest.mark.parametrize("version", ["3.1", "5"])


@pytest.fixture(params=["tcp", "ws"])
def door(request: pytest.FixtureRequest, mosquitto: RunningBroker) -> Door:
    return mosquitto.doors[request.param]


def command(name: str, door: Door, version: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "broker", name, "-L", door.url, "-V", version, *arguments]


def run(name: str, door: Door, version: str, *arguments: str) -> str:
    """Run `broker pub` or `broker sub` to its end; return what it printed."""
    ended = subprocess.run(
        command(name, door, version, *arguments), check=True, timeout=SECONDS, stdout=subprocess.PIPE, text=True
    )
    return ended.stdout


class Lines:
    """A running `broker sub`, read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def read(self, count: int) -> list[str]:
        assert self.process.stdout is not None
        return [self.process.stdout.readline().removesuffix("\n") for _ in range(count)]


@contextmanager
def subscribed(door: Door, version: str, root: str, *arguments: str) -> Iterator[Lines]:
    """Run `broker sub -v` on all below `root` until a retained message has shown that it is subscribed."""
    with PahoClient(door) as publisher:
        publisher.publish(f"{root}/ready", b"now", qos=1, retain=True)
    arguments = ("-v", "-t", f"{root}/#", "-W", str(SECONDS), *arguments)
    process = subprocess.Popen(command("sub", door, version, *arguments), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = Lines(process)
        assert lines.read(1) == [f"{root}/ready now"]
        yield lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@every_version
def test_pub_sends_at_every_qos(door: Door, version: str, root: str) -> None:
    with PahoClient(door) as subscriber:
        subscriber.subscribe(f"{root}/#", qos=2)
        for qos in (0, 1, 2):
            run("pub", door, version, "-t", f"{root}/{qos}", "-m", f"payload {qos}", "-q", str(qos))
        received = [subscriber.receive() for _ in range(3)]
    assert [(message.topic, message.payload, message.qos) for message in received] == [
        (f"{root}/{qos}", f"payload {qos}".encode(), qos) for qos in (0, 1, 2)
    ]


@every_version
def test_sub_prints_what_comes_at_every_qos(door: Door, version: str, root: str) -> None:
    with subscribed(door, version, root, "-q", "2") as lines, PahoClient(door) as publisher:
        for qos in (0, 1, 2):
            publisher.publish(f"{root}/{qos}", f"payload {qos}".encode(), qos)
        assert lines.read(3) == [f"{root}/{qos} payload {qos}" for qos in (0, 1, 2)]


@oldest_and_newest
@pytest.mark.parametrize("own_door", ["tcp", "ws"])
def test_lines_of_stdin_arrive_in_order(served: RunningBroker, own_door: str, version: str, root: str) -> None:
    """With our broker between them: Mosquitto 2.0.11 leaves out messages of a burst of QoS 2, as its own log shows."""
    door = served.doors[own_door]
    sent = [f"line {number}" for number in range(200)]
    with subscribed(door, version, root, "-q", "2") as lines:
        subprocess.run(
            command("pub", door, version, "-t", f"{root}/x", "-q", "2", "-l"),
            input="\n".join(sent) + "\n",
            text=True,
            check=True,
            timeout=SECONDS,
        )
        assert lines.read(200) == [f"{root}/x {line}" for line in sent]


@oldest_and_newest
def test_a_retained_message_is_kept_and_cleared(door: Door, version: str, root: str) -> None:
    run("pub", door, version, "-t", f"{root}/state", "-m", "on", "-q", "1", "-r")
    assert run("sub", door, version, "-t", f"{root}/#", "-C", "1", "-F", "%t %r %p") == f"{root}/state 1 on\n"
    run("pub", door, version, "-t", f"{root}/state", "-n", "-q", "1", "-r")
    ended = subprocess.run(command("sub", door, version, "-t", f"{root}/#", "-W", "1"), timeout=SECONDS, check=False)
    assert ended.returncode == 27


@oldest_and_newest
def test_a_killed_sub_publishes_its_will(door: Door, version: str, root: str) -> None:
    will = ("--will-topic", f"{root}-gone", "--will-payload", "killed", "--will-qos", "1")
    with PahoClient(door) as watcher:
        watcher.subscribe(f"{root}-gone", qos=1)
        with subscribed(door, version, root, *will):
            pass
        message = watcher.receive()
    assert (message.payload, message.qos) == (b"killed", 1)


def test_properties_pass_both_ways(door: Door, root: str) -> None:
    properties = (
        *("-D", "publish", "content-type", "text/plain"),
        *("-D", "publish", "response-topic", "answers"),
        *("-D", "publish", "correlation-data", "42"),
        *("-D", "publish", "user-property", "colour", "red"),
    )
    run("pub", door, "5", "-t", root, "-m", "x", "-r", "-q", "1", *properties)
    printed = run("sub", door, "5", "-t", root, "-C", "1", "-F", "%C|%R|%D|%P|%p")
    assert printed == "text/plain|answers|42|colour:red|x\n"


@pytest.mark.parametrize("payload", ["21.5", '{"on": true, "level": [1, 2]}', "grün", "two words"])
def test_formats_are_those_of_mosquitto_sub(served: RunningBroker, root: str, payload: str) -> None:
    """The same message through both commands; %j carries the time at which each of them got it."""
    topic = f"{root}/x"
    run("pub", served.tcp, "5", "-t", topic, "-m", payload, "-r", "-q", "1")
    mosquitto_sub = tools.program("mosquitto_sub", "mosquitto-clients")
    theirs = [mosquitto_sub, "-h", served.tcp.host, "-p", str(served.tcp.port), "-V", "mqttv5"]
    formats = ["%t %q %r %l [%p] ~ %x %X ~ %%@@ \\t|\\n|", "%j"]
    if payload[0] in "{2":  # what %J can print
        formats.append("%J")
    for format in formats:
        arguments = ["-t", topic, "-q", "1", "-C", "1", "-F", format]
        expected = subprocess.run(
            [*theirs, *arguments], check=True, timeout=SECONDS, stdout=subprocess.PIPE, text=True
        ).stdout
        printed = run("sub", served.tcp, "5", *arguments)
        if format in ("%j", "%J"):
            ours, other = json.loads(printed), json.loads(expected)
            assert ours.keys() == other.keys()
            assert {**ours, "tst": ""} == {**other, "tst": ""}
        else:
            assert printed == expected
