from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, Suback, Subscribe
from tests.cli.conftest import Process, Scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from tests.cli.conftest import Command, Served


class Retained:
    """A topic of the test's own, with retained messages below it, and `sub` on it."""

    def __init__(self, command: Command, served: Served, topic: str) -> None:
        self.command = command
        self.served = served
        self.topic = topic
        self.kept: set[str] = set()

    def keep(self, level: str, payload: str, *words: str) -> None:
        self.kept.add(level)
        result = self.command("pub", "-L", self.served.mqtt, "-t", f"{self.topic}/{level}", "-m", payload, "-r", *words)
        assert result.exit_code == 0

    def sub(self, *words: str) -> Result:
        return self.command("sub", "-L", self.served.mqtt, "-t", f"{self.topic}/#", "-W", "10", *words)

    def forget(self) -> None:
        for level in self.kept:
            self.keep(level, "")


@pytest.fixture
def retained(command: Command, served: Served, request: pytest.FixtureRequest) -> Iterator[Retained]:
    found = Retained(command, served, f"sub/{request.node.name.replace('[', '/').replace(']', '')}")
    yield found
    found.forget()


@pytest.mark.parametrize("version", ["5", "3.1.1", "3.1"])
@pytest.mark.parametrize("way", ["mqtt", "ws", "unix"])
def test_prints_payloads_or_topics_with_them(
    command: Command, served: Served, retained: Retained, way: str, version: str
) -> None:
    retained.keep("a", "hello", "-q", "1")
    to = ["sub", "-L", getattr(served, way), "-V", version, "-t", f"{retained.topic}/#", "-C", "1", "-W", "10"]
    assert command(*to).stdout == "hello\n"
    assert command(*to, "-N").stdout == "hello"
    assert command(*to, "-v").stdout == f"{retained.topic}/a hello\n"
    assert command(*to, "-F", "%t %p q%q r%r", "-q", "2").stdout == f"{retained.topic}/a hello q1 r1\n"


def test_outputs_and_decodings(retained: Retained) -> None:
    retained.keep("a", '{"on":true}', "--encode", "msgpack")
    assert retained.sub("-C", "1", "-o", "json").stdout == '{"on":true}\n'
    assert retained.sub("-C", "1", "--decode", "msgpack", "-v").stdout == f'{retained.topic}/a {{"on":true}}\n'
    assert retained.sub("-C", "1", "-o", "hex").stdout == "81a26f6ec3\n"
    told = json.loads(retained.sub("-C", "1", "-o", "jsonl").stdout)
    assert told["payload"] == {"on": True}
    assert told["properties"] == {"content-type": "application/msgpack"}
    pretty = retained.sub("-C", "1", "-o", "pretty").stdout
    assert f"{retained.topic}/a q0 retained\n" in pretty
    assert "\x1b" not in pretty


def test_a_payload_that_is_not_as_told_is_an_error_and_the_next_is_printed(retained: Retained) -> None:
    retained.keep("a", "text")
    retained.keep("b", "7")
    result = retained.sub("-C", "2", "--decode", "json")
    assert (result.exit_code, result.stdout) == (0, "7\n")
    assert result.stderr.startswith(f"Error: {retained.topic}/a: not JSON")


def test_several_filters_and_those_filtered_out(command: Command, served: Served, retained: Retained) -> None:
    for level in ("a", "b", "c"):
        retained.keep(level, level)
    filters = ["-t", f"{retained.topic}/a", "-t", f"{retained.topic}/c", "-t", f"{retained.topic}/a"]
    result = command("sub", "-L", served.mqtt, *filters, "-C", "2", "-W", "10")
    assert sorted(result.stdout.split()) == ["a", "c"]
    result = retained.sub("-T", f"{retained.topic}/b", "-T", "+/+/c", "-C", "1", "-v")
    assert result.stdout == f"{retained.topic}/a a\n"


def test_the_topic_in_the_url(command: Command, served: Served, retained: Retained) -> None:
    retained.keep("a", "x")
    result = command("sub", "-L", f"{served.mqtt}/{retained.topic}/#", "-C", "1", "-W", "10")
    assert (result.exit_code, result.stdout) == (0, "x\n")


def test_time_is_up_with_27_as_mosquitto_sub(retained: Retained) -> None:
    began = time.monotonic()
    result = retained.sub("-W", "0.4")
    assert (result.exit_code, result.output) == (27, "")
    assert 0.4 <= time.monotonic() - began < 20
    retained.keep("a", "x")
    result = retained.sub("-W", "1.5")
    assert (result.exit_code, result.stdout) == (27, "x\n")


def test_leaves_once_subscribed(retained: Retained) -> None:
    retained.keep("a", "x")
    result = retained.sub("-E")
    assert (result.exit_code, result.output) == (0, "")


def test_retained_or_not(command: Command, served: Served, retained: Retained) -> None:
    retained.keep("a", "old")
    assert retained.sub("-R", "-W", "0.4").output == ""
    assert retained.sub("--retain-handling", "never", "-W", "0.4").output == ""
    words = ["-t", f"{retained.topic}/#", "--retained-only", "-W", "15", "-v"]
    with Process("sub", "-L", served.mqtt, *words) as process:
        assert process.popen.stdout is not None
        assert process.popen.stdout.readline() == f"{retained.topic}/a old\n".encode()
        assert command("pub", "-L", served.mqtt, "-t", f"{retained.topic}/b", "-m", "new").exit_code == 0
        assert process.wait() == (0, b"", b"")


def test_retained_messages_can_be_removed(retained: Retained) -> None:
    for level in ("a", "b", "c"):
        retained.keep(level, level)
    words = ["--remove-retained", "-T", f"{retained.topic}/c"]
    assert sorted(retained.sub(*words, "-C", "2").stdout.split()) == ["a", "b"]
    assert retained.sub("-W", "0.5").stdout == "c\n"


def test_a_kept_session_gets_what_came_meanwhile(command: Command, served: Served, retained: Retained) -> None:
    me = ["-i", retained.topic.replace("/", "-"), "-c", "-q", "1"]
    assert retained.sub(*me, "-E").exit_code == 0
    for payload in ("one", "two"):
        words = ["-t", f"{retained.topic}/a", "-m", payload, "-q", "1"]
        assert command("pub", "-L", served.ws, *words).exit_code == 0
    assert retained.sub(*me, "-C", "2").stdout == "one\ntwo\n"
    gone = command("sub", "-L", served.mqtt, *me, "-U", f"{retained.topic}/#", "-E", "-W", "10")
    assert gone.exit_code == 0
    assert command("pub", "-L", served.mqtt, "-t", f"{retained.topic}/a", "-m", "three", "-q", "1").exit_code == 0
    assert command("sub", "-L", served.mqtt, *me, "-t", f"{retained.topic}/x", "-W", "0.4").stdout == ""
    # Clean Start and no expiry: the Session is gone
    assert command("sub", "-L", served.mqtt, "-i", me[1], "-t", "x", "-E", "-W", "10").exit_code == 0


def test_random_filter(retained: Retained) -> None:
    retained.keep("a", "x")
    assert retained.sub("--random-filter", "0", "-W", "0.4").output == ""
    assert retained.sub("--random-filter", "100", "-C", "1").stdout == "x\n"


def test_no_local(retained: Retained) -> None:
    retained.keep("a", "x")
    # Clearing it is our own message, which would come back and be printed as the second one
    result = retained.sub("--remove-retained", "--no-local", "-v", "-W", "0.8")
    assert result.stdout == f"{retained.topic}/a x\n"
    retained.keep("a", "x")
    assert retained.sub("--remove-retained", "-v", "-C", "2").stdout.endswith("/a (null)\n")


def test_retain_as_published(command: Command, served: Served, retained: Retained) -> None:
    retained.keep("a", "probe")
    words = ["-t", f"{retained.topic}/#", "-F", "%p %r", "-C", "2", "-W", "15"]
    for more, retain in ([], "0"), (["--retain-as-published"], "1"):
        with Process("sub", "-L", served.mqtt, *words, *more) as process:
            assert process.popen.stdout is not None
            assert process.popen.stdout.readline() == b"probe 1\n"
            retained.keep("b", "new")
            assert process.wait()[:2] == (0, f"new {retain}\n".encode())
        retained.keep("b", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order(served: Served, retained: Retained, number: int, code: int) -> None:
    retained.keep("a", "x")
    will = ["--will-topic", f"{retained.topic}/will", "--will-payload", "gone", "--will-retain"]
    with Process("sub", "-L", served.mqtt, "-t", f"{retained.topic}/a", *will) as process:
        assert process.popen.stdout is not None
        assert process.popen.stdout.readline() == b"x\n"
        process.popen.send_signal(number)
        assert process.wait() == (code, b"", b"")
    assert retained.sub("-W", "0.4").stdout == "x\n"  # no Will Message


def test_the_will_of_one_that_was_killed(served: Served, retained: Retained) -> None:
    retained.keep("a", "x")
    will = ["--will-topic", f"{retained.topic}/will", "--will-payload", "gone", "--will-retain", "--will-qos", "1"]
    properties = ["-D", "will", "content-type", "text/x"]
    with Process("sub", "-L", served.mqtt, "-t", f"{retained.topic}/a", *will, *properties) as process:
        assert process.popen.stdout is not None
        assert process.popen.stdout.readline() == b"x\n"
        process.popen.kill()
        process.wait()
    retained.kept.add("will")
    result = retained.sub("-T", f"{retained.topic}/a", "-C", "1", "-F", "%p %C %q", "-q", "1")
    assert result.stdout == "gone text/x 1\n"


def test_a_reader_that_has_enough_is_no_failure(command: Command, served: Served, retained: Retained) -> None:
    retained.keep("a", "x")
    with Process("sub", "-L", served.mqtt, "-t", f"{retained.topic}/#", "-W", "15") as process:
        assert process.popen.stdout is not None
        assert process.popen.stdout.readline() == b"x\n"
        process.popen.stdout.close()
        process.popen.stdout = None
        assert command("pub", "-L", served.mqtt, "-t", f"{retained.topic}/b", "-m", "y").exit_code == 0
        code, _, err = process.wait()
    assert (code, err) == (0, b"")


def test_in_a_pipe_with_head(served: Served, retained: Retained) -> None:
    retained.keep("a", "x")
    line = f"{sys.executable} -m broker sub -L {served.mqtt} -t '{retained.topic}/#' -C 1 -W 10 | head -c 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, timeout=20)
    assert (done.stdout, done.stderr) == ("x", "")


def test_a_lost_connection_comes_back_and_is_told_of(command: Command) -> None:
    def served_at(port: int) -> tuple[Process, int]:
        process = Process("serve", "--bind", f"tcp://127.0.0.1:{port}", "--log-format", "text")
        lines = process.error_lines(b"Ctrl-C stops it")
        found = re.search(rb"mqtt://127\.0\.0\.1:(\d+)", b"".join(lines))
        assert found is not None
        return process, int(found[1])

    first, port = served_at(0)
    with first:
        assert command("pub", "-p", str(port), "-t", "a", "-m", "one", "-r").exit_code == 0
        with Process("sub", "-p", str(port), "-t", "a", "-C", "2", "-W", "30") as process:
            assert process.popen.stdout is not None
            assert process.popen.stdout.readline() == b"one\n"
            first.popen.kill()
            first.wait()
            process.error_lines(b"The connection is lost; connecting again.")
            second, _ = served_at(port)
            with second:
                process.error_lines(b"Connected again.")
                assert command("pub", "-p", str(port), "-t", "a", "-m", "two", "-q", "1").exit_code == 0
                assert process.wait() == (0, b"two\n", b"")


def test_user_properties_of_the_subscription(command: Command) -> None:
    with Scripted(encode(Connack(ReasonCode.SUCCESS), MQTT_5_0), encode(Suback(1, [0]), MQTT_5_0)) as server:
        words = ["-D", "subscribe", "user-property", "overflow", "latest", "-D", "subscribe", "user-property", "k", "v"]
        result = command("sub", "-p", str(server.port), "-t", "a", "-E", "-W", "10", *words)
        assert (result.exit_code, result.output) == (0, "")
    subscribe = server.received[1]
    assert isinstance(subscribe, Subscribe)
    assert subscribe.properties.user_properties == [("overflow", "latest"), ("k", "v")]


def test_refused(command: Command, served: Served) -> None:
    words = ["sub", "-L", served.strict, "-t", "$share/group/a", "-W", "10"]
    result = command(*words)
    assert result.exit_code == 5
    assert "the broker refused the subscription" in result.stderr
    assert "0x9E shared subscriptions not supported" in result.stderr
    result = command(*words, "--quiet")
    assert (result.exit_code, result.output) == (5, "")


def test_partly_refused_is_a_warning(command: Command, served: Served, retained: Retained) -> None:
    retained.keep("a", "x")
    words = ["-L", served.strict, "-t", f"{retained.topic}/a", "-t", "$share/group/a", "-C", "1", "-W", "10"]
    result = command("sub", *words)
    assert (result.exit_code, result.stdout) == (0, "x\n")
    assert result.stderr == (
        "Warning: the broker refused the subscription: '$share/group/a' 0x9E shared subscriptions not supported\n"
    )
    result = command("sub", *words, "--quiet")
    assert (result.exit_code, result.output) == (0, "x\n")


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_filter_that_the_broker_alone_refuses(command: Command, version: str) -> None:
    level = MQTT_5_0 if version == "5" else MQTT_3_1_1
    granted = encode(Suback(1, [0, 0x87 if version == "5" else 0x80]), level)
    with Scripted(encode(Connack(ReasonCode.SUCCESS), level), granted, b"") as server:
        result = command("sub", "-p", str(server.port), "-V", version, "-t", "a", "-t", "b", "-E", "-W", "10")
    said = "0x87 not authorized" if version == "5" else "0x80 unspecified error"
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Warning: the broker refused the subscription: 'b' {said}\n"


def test_a_filter_that_the_broker_does_not_take(command: Command, served: Served) -> None:
    deep = "/".join("x" * 250)
    result = command("sub", "-L", served.mqtt, "-t", deep, "-W", "20")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "the broker ended the connection: 0x8F topic filter invalid" in result.stderr


def test_nobody_there(command: Command) -> None:
    result = command("sub", "-p", "1", "-t", "a")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "Connection refused" in result.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("", "No topic"),
        ("-t a/#/b", "'a/#/b' is no Topic Filter"),
        ("-t a -T b+", "'b+' is no Topic Filter"),
        ("-t a -R --retained-only", "leave nothing to print"),
        ("-t a -F %z", "-F: invalid format specifier 'z'"),
        ("-t a -F %p -o hex", "it goes with neither -o nor --decode"),
        ("-t a -C 0", "0 is not in the range"),
        ("-t a -W 0", "0.0 is not in the range"),
        ("-t a -V 3.1.1 --no-local", "are of MQTT 5.0"),
        ("-t $share/g/a --no-local", "--no-local is not for a Shared Subscription"),
    ],
)
def test_usage(command: Command, served: Served, words: str, fault: str) -> None:
    result = command("sub", "-L", served.mqtt, *words.split())
    assert result.exit_code == 2
    assert fault in " ".join(result.stderr.split())
