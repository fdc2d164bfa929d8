"""The mosquitto command line clients: MQTT 3.1 (`MQIsdp`), 3.1.1 and 5.0 over TCP."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.interop import tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.brokers import RunningBroker

SECONDS = 20

every_version = pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])


def command(name: str, broker: RunningBroker, version: str, *arguments: str) -> list[str]:
    path = tools.program(name, "mosquitto-clients")
    return [path, "-h", broker.tcp.host, "-p", str(broker.tcp.port), "-V", version, *arguments]


def publish(broker: RunningBroker, version: str, *arguments: str) -> None:
    """Run `mosquitto_pub` to its end."""
    subprocess.run(command("mosquitto_pub", broker, version, *arguments), check=True, timeout=SECONDS)


class Subscriber:
    """A running `mosquitto_sub` that has its SUBACK; `lines()` waits for its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def lines(self) -> list[str]:
        """Return what it printed of messages, in the format given."""
        assert self.process.stdout is not None
        output = self.process.stdout.read()
        assert self.process.wait(SECONDS) == 0, output
        return [line.removeprefix("message ") for line in output.splitlines() if line.startswith("message ")]


@contextmanager
def subscribed(
    broker: RunningBroker, version: str, *arguments: str, format: str = "%t %q %r %p"
) -> Iterator[Subscriber]:
    """Run `mosquitto_sub` until it has printed the messages that `-C` counts; wait for its SUBACK first.

    `-d` makes it tell of the SUBACK, and `stdbuf` makes it do so at once into a pipe.
    """
    arguments = ("-W", str(SECONDS), "-d", "-F", f"message {format}", *arguments)
    process = subprocess.Popen(
        [tools.program("stdbuf", "coreutils"), "-oL", *command("mosquitto_sub", broker, version, *arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "received SUBACK" in line:
                break
        yield Subscriber(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_and_subscribe(served: RunningBroker, version: str, qos: int, root: str) -> None:
    with subscribed(served, version, "-t", f"{root}/+", "-q", "2", "-C", "3") as subscriber:
        for number in range(3):
            publish(served, version, "-t", f"{root}/{number}", "-m", f"payload {number}", "-q", str(qos))
        assert subscriber.lines() == [f"{root}/{number} {qos} 0 payload {number}" for number in range(3)]


@pytest.mark.parametrize("publisher", ["mqttv31", "mqttv5"])
@pytest.mark.parametrize("subscriber", ["mqttv31", "mqttv5"])
def test_the_versions_meet(served: RunningBroker, publisher: str, subscriber: str, root: str) -> None:
    with subscribed(served, subscriber, "-t", root, "-q", "2", "-C", "1") as receiving:
        publish(served, publisher, "-t", root, "-m", "hello", "-q", "2")
        assert receiving.lines() == [f"{root} 2 0 hello"]


@every_version
def test_many_lines_arrive_in_order(served: RunningBroker, version: str, root: str) -> None:
    lines = [f"line {number}" for number in range(200)]
    with subscribed(served, version, "-t", root, "-q", "2", "-C", "200", format="%p") as subscriber:
        subprocess.run(
            command("mosquitto_pub", served, version, "-t", root, "-q", "2", "-l"),
            input="\n".join(lines) + "\n",
            text=True,
            check=True,
            timeout=SECONDS,
        )
        assert subscriber.lines() == lines


@every_version
def test_a_retained_message_is_kept_and_cleared(served: RunningBroker, version: str, root: str) -> None:
    publish(served, version, "-t", f"{root}/state", "-m", "on", "-q", "1", "-r")
    with subscribed(served, version, "-t", f"{root}/#", "-q", "1", "-C", "1") as subscriber:
        assert subscriber.lines() == [f"{root}/state 1 1 on"]
    publish(served, version, "-t", f"{root}/state", "-n", "-q", "1", "-r")
    with subscribed(served, version, "-t", f"{root}/#", "-q", "1", "-C", "1") as subscriber:
        publish(served, version, "-t", f"{root}/end", "-m", "end")
        assert subscriber.lines() == [f"{root}/end 0 0 end"]


@every_version
def test_a_killed_client_publishes_its_will(served: RunningBroker, version: str, root: str) -> None:
    will = ("--will-topic", f"{root}/gone", "--will-payload", "killed", "--will-qos", "1")
    with (
        subscribed(served, version, "-t", f"{root}/gone", "-q", "1", "-C", "1") as watcher,
        subscribed(served, version, "-t", f"{root}/x", *will) as dying,
    ):
        dying.process.kill()
        assert watcher.lines() == [f"{root}/gone 1 0 killed"]


@every_version
def test_a_session_keeps_messages(served: RunningBroker, version: str, root: str) -> None:
    # 3.1 allows 23 characters of Client Identifier.
    session = ("-i", f"sleeper-{version}", "-c", "-q", "1", "-t", f"{root}/#")
    subprocess.run(command("mosquitto_sub", served, version, *session, "-E"), check=True, timeout=SECONDS)
    for number in range(3):
        publish(served, version, "-t", f"{root}/{number}", "-m", "kept", "-q", "1")
    resumed = subprocess.run(
        command("mosquitto_sub", served, version, *session, "-C", "3", "-W", str(SECONDS), "-F", "%t %q %p"),
        check=True,
        timeout=SECONDS + 5,
        capture_output=True,
        text=True,
    )
    assert resumed.stdout.splitlines() == [f"{root}/{number} 1 kept" for number in range(3)]


def test_properties_are_forwarded(served: RunningBroker, root: str) -> None:
    with subscribed(served, "mqttv5", "-t", root, "-C", "1", format="%C|%R|%D|%F|%E|%P|%p") as subscriber:
        publish(
            served,
            "mqttv5",
            *("-t", root, "-m", "{}"),
            *("-D", "publish", "content-type", "application/json"),
            *("-D", "publish", "response-topic", "answers"),
            *("-D", "publish", "correlation-data", "42"),
            *("-D", "publish", "payload-format-indicator", "1"),
            *("-D", "publish", "message-expiry-interval", "60"),
            *("-D", "publish", "user-property", "colour", "red"),
        )
        (line,) = subscriber.lines()
    content_type, response_topic, correlation, payload_format, expiry, user, payload = line.split("|")
    assert (content_type, response_topic, correlation, payload_format) == ("application/json", "answers", "42", "1")
    assert 50 < int(expiry) <= 60
    assert re.fullmatch("colour:red ?", user)
    assert payload == "{}"


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_request_and_response(served: RunningBroker, version: str, root: str) -> None:
    with subscribed(served, version, "-t", f"{root}/request", "-C", "1") as service:
        requester = subprocess.Popen(
            command("mosquitto_rr", served, version, "-t", f"{root}/request", "-e", f"{root}/response", "-m", "ping"),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert service.lines() == [f"{root}/request 0 0 ping"]
            publish(served, version, "-t", f"{root}/response", "-m", "pong")
            output, _ = requester.communicate(timeout=SECONDS)
        finally:
            requester.kill()
            requester.communicate()
    assert output == "pong\n"


def test_a_retained_burst_is_sent_whole(served: RunningBroker, root: str) -> None:
    topics = [f"{root}/{number}" for number in range(50)]
    for topic in topics:
        publish(served, "mqttv311", "-t", topic, "-m", "x", "-r", "-q", "1")
    with subscribed(served, "mqttv311", "-t", f"{root}/#", "-q", "1", "-C", "50", format="%t") as subscriber:
        assert sorted(subscriber.lines()) == sorted(topics)


def test_the_system_topics_are_where_mosquitto_has_them(served: RunningBroker) -> None:
    arguments = ("-t", "$SYS/broker/version", "-t", "$SYS/broker/uptime", "-C", "2")
    with subscribed(served, "mqttv311", *arguments, format="%t %r") as subscriber:
        assert sorted(subscriber.lines()) == ["$SYS/broker/uptime 1", "$SYS/broker/version 1"]


def test_the_status_of_a_timeout_is_27(served: RunningBroker, root: str) -> None:
    ended = subprocess.run(command("mosquitto_sub", served, "mqttv5", "-t", root, "-W", "1"), timeout=SECONDS)
    assert ended.returncode == 27
