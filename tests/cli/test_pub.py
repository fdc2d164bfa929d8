from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgpack
import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack, Disconnect, Properties, Puback, Publish
from tests.cli.conftest import Process, Scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Served
    from tests.secured import Secured


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return f"pub/{request.node.name.replace('[', '/').replace(']', '').replace('#', '')}"


def kept(command: Command, served: Served, topic: str) -> dict[str, object]:
    """The retained message of a topic, as %j tells it; what is there is cleared."""
    result = command("sub", "-L", served.mqtt, "-t", topic, "-C", "1", "-W", "5", "-q", "2", "-F", "%j")
    assert result.exit_code == 0, result.output
    assert command("pub", "-L", served.mqtt, "-t", topic, "-n", "-r").exit_code == 0
    told = json.loads(result.stdout)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["5", "3.1.1", "3.1"])
@pytest.mark.parametrize("way", ["mqtt", "ws", "unix"])
def test_a_message_at_every_qos_in_every_version_over_every_transport(
    command: Command, served: Served, topic: str, way: str, version: str, qos: int
) -> None:
    url = getattr(served, way)
    result = command("pub", "-L", url, "-V", version, "-t", topic, "-m", "hello", "-q", str(qos), "-r")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    told = kept(command, served, topic)
    assert (told["topic"], told["payload"], told["qos"], told["retain"]) == (topic, "hello", qos, 1)


def test_host_port_and_the_topic_in_the_url(command: Command, served: Served, topic: str) -> None:
    assert command("pub", "-p", str(served.port), "-t", topic, "-m", "1", "-r").exit_code == 0
    assert kept(command, served, topic)["payload"] == "1"
    assert command("pub", "-L", f"{served.mqtt}/{topic}", "-m", "2", "-r").exit_code == 0
    assert kept(command, served, topic)["payload"] == "2"
    assert command("pub", "-t", topic, "-m", "3", "-r", env={"BROKER_URL": served.ws}).exit_code == 0
    assert kept(command, served, topic)["payload"] == "3"


def test_where_the_payload_comes_from(command: Command, served: Served, topic: str, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"\xff\x00 of a file\n")
    to = ["pub", "-L", served.mqtt, "-t", topic, "-r"]
    assert command(*to, "-f", str(file)).exit_code == 0
    assert kept(command, served, topic)["payload"] == list(b"\xff\x00 of a file\n")
    assert command(*to, "-s", stdin="two\nlines\n").exit_code == 0
    assert kept(command, served, topic)["payload"] == "two\nlines\n"
    assert command(*to, "--size", "1KiB").exit_code == 0
    assert kept(command, served, topic)["payload"] == "0123456789abcdef" * 64
    assert command(*to, "-l", stdin="first\nlast").exit_code == 0
    assert kept(command, served, topic)["payload"] == "last"


@pytest.mark.parametrize(
    ("encoding", "text", "payload", "content_type"),
    [
        ("hex", "c0 ff ee", [0xC0, 0xFF, 0xEE], None),
        ("json", '{"on":true}', '{"on":true}', "application/json"),
        ("msgpack", '{"on":true}', list(msgpack.packb({"on": True})), "application/msgpack"),
    ],
)
def test_encodings(
    command: Command,
    served: Served,
    topic: str,
    encoding: str,
    text: str,
    payload: object,
    content_type: str | None,
) -> None:
    assert command("pub", "-L", served.mqtt, "-t", topic, "-m", text, "--encode", encoding, "-r").exit_code == 0
    told = kept(command, served, topic)
    assert told["payload"] == payload
    assert told.get("properties") == ({"content-type": content_type} if content_type else None)


def test_properties(command: Command, served: Served, topic: str) -> None:
    words = (
        "-D publish user-property k v -D publish response-topic r/t -D publish correlation-data cd "
        "-D publish message-expiry-interval 60 -D publish content-type text/x -D publish payload-format-indicator 1"
    )
    assert (
        command("pub", "-L", served.mqtt, "-t", topic, "-m", "1", "--encode", "json", "-r", *words.split()).exit_code
        == 0
    )
    assert kept(command, served, topic)["properties"] == {
        "user-properties": {"k": "v"},
        "content-type": "text/x",
        "response-topic": "r/t",
        "correlation-data": "cd",
        "payload-format-indicator": 1,
        "message-expiry-interval": 60,
    }


def test_lines_and_repeats_arrive_in_order(served: Served, command: Command, topic: str) -> None:
    assert command("pub", "-L", served.mqtt, "-t", f"{topic}/probe", "-m", "x", "-r", "-q", "1").exit_code == 0
    with Process("sub", "-L", served.mqtt, "-t", f"{topic}/#", "-q", "1", "-C", "9", "-W", "15", "-v") as process:
        assert process.popen.stdout is not None
        assert process.popen.stdout.readline() == f"{topic}/probe x\n".encode()  # the subscription is there
        lines = "one\n\nnot json\n3\n"
        result = command("pub", "-L", served.ws, "-t", f"{topic}/l", "-l", "-q", "1", "--encode", "json", stdin=lines)
        assert result.exit_code == 1
        assert "line 1 is not JSON" in result.stderr
        assert "line 3 is not JSON" in result.stderr
        result = command("pub", "-L", served.ws, "-t", f"{topic}/r", "-m", "x", "-q", "1", "--repeat", "6")
        assert result.exit_code == 0
        code, out, _ = process.wait()
    assert code == 0
    assert out.decode().splitlines() == [f"{topic}/l (null)", f"{topic}/l 3", *[f"{topic}/r x"] * 6]


def test_a_topic_alias(command: Command, served: Served, topic: str) -> None:
    some = Properties()
    some.topic_alias_maximum = 3
    answers = [encode(Connack(ReasonCode.SUCCESS, False, some), MQTT_5_0), b"", b"", b""]
    with Scripted(*answers) as server:
        words = ["-t", "a", "-m", "x", "--repeat", "2", "-D", "publish", "topic-alias", "3"]
        assert command("pub", "-p", str(server.port), *words).exit_code == 0
    published = [packet for packet in server.received if isinstance(packet, Publish)]
    assert [(packet.topic, packet.topic_alias) for packet in published] == [("a", 3), ("", 3)]
    words = ["-r", "-q", "1", "--repeat", "3", "-D", "publish", "topic-alias", "1"]
    assert command("pub", "-L", served.mqtt, "-t", topic, "-m", "x", *words).exit_code == 0
    assert kept(command, served, topic)["payload"] == "x"
    result = command("pub", "-L", served.mqtt, "-t", "a", "-m", "x", "-D", "publish", "topic-alias", "65535")
    assert result.exit_code == 5
    assert "0x94 topic alias invalid: the Server's Topic Alias Maximum is" in result.stderr


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_many_lines_all_arrive_in_order(served: Served, command: Command, topic: str, qos: str) -> None:
    assert command("pub", "-L", served.mqtt, "-t", f"{topic}/probe", "-m", "x", "-r", "-q", "1").exit_code == 0
    lines = "".join(f"{number}\n" for number in range(2000))
    with Process("sub", "-L", served.mqtt, "-t", f"{topic}/#", "-q", qos, "-C", "2001", "-W", "30") as process:
        assert process.popen.stdout is not None
        assert process.popen.stdout.readline() == b"x\n"  # the subscription is there
        result = command("pub", "-L", served.ws, "-t", f"{topic}/l", "-l", "-q", qos, stdin=lines)
        assert (result.exit_code, result.output) == (0, "")
        code, out, err = process.wait(40)
    assert (code, out.decode(), err) == (0, lines, b"")


def test_a_line_of_any_length_and_one_that_comes_in_parts(served: Served, command: Command, topic: str) -> None:
    assert command("pub", "-L", served.mqtt, "-t", f"{topic}/probe", "-m", "x", "-r", "-q", "1").exit_code == 0
    long = b"x" * 300_000
    with Process("sub", "-L", served.mqtt, "-t", f"{topic}/#", "-q", "1", "-C", "5", "-W", "30") as sub:
        assert sub.popen.stdout is not None
        assert sub.popen.stdout.readline() == b"x\n"  # the subscription is there
        with Process("pub", "-L", served.mqtt, "-t", f"{topic}/l", "-l", "-q", "1") as pub:
            assert pub.popen.stdin is not None
            pub.popen.stdin.write(b"first\nsec")
            pub.popen.stdin.flush()
            assert sub.popen.stdout.readline() == b"first\n"  # at once, not with the end of stdin
            pub.popen.stdin.write(b"ond\n" + long + b"\nlast")
            assert pub.wait() == (0, b"", b"")
        code, out, err = sub.wait()
    assert (code, out, err) == (0, b"second\n" + long + b"\nlast\n", b"")


@pytest.mark.parametrize("words", [["-l"], ["-m", "x", "--repeat", "5"]])
def test_several_are_on_their_way_and_all_are_acknowledged(command: Command, words: list[str]) -> None:
    three = Properties()
    three.receive_maximum = 3
    pubacks = [encode(Puback(number), MQTT_5_0) for number in range(1, 6)]
    answers = [encode(Connack(ReasonCode.SUCCESS, False, three), MQTT_5_0), b"", b"", b"".join(pubacks[:3])]
    with Scripted(*answers, b"", b"".join(pubacks[3:]), b"") as server:
        result = command("pub", "-p", str(server.port), "-t", "a", "-q", "1", *words, stdin="1\n2\n3\n4\n5\n")
        assert (result.exit_code, result.output) == (0, "")
    payloads = [packet.payload for packet in server.received[1:6] if isinstance(packet, Publish)]
    assert payloads == ([b"1", b"2", b"3", b"4", b"5"] if words == ["-l"] else [b"x"] * 5)
    assert isinstance(server.received[6], Disconnect)


def test_a_refused_line_is_an_error(command: Command) -> None:
    refusal = encode(Puback(1, ReasonCode.QUOTA_EXCEEDED), MQTT_5_0)
    with Scripted(encode(Connack(ReasonCode.SUCCESS), MQTT_5_0), refusal, b"") as server:
        result = command("pub", "-p", str(server.port), "-t", "a", "-q", "1", "-l", stdin="1\n")
    assert result.exit_code == 5
    assert "the broker refused the message: 0x97 quota exceeded" in result.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("-m x", "No topic"),
        ("-t a", "No payload"),
        ("-t a -m x -n", "-m and -n each give a payload"),
        ("-t a/# -m x", "'a/#' is no Topic Name"),
        ("-t a -m x -q 3", "3 is not in the range"),
        ("-t a -m x --encode hex", "The payload is not hexadecimal"),
        ("-t a -f /nowhere/at/all", "does not exist"),
        ("-t a --size many", "is no size"),
        ("-t a -l --repeat 2", "--repeat is for one message"),
        ("-t a -m x -V 3.1.1 -D publish content-type y", "-D and -x are of MQTT 5.0"),
        ("-t a -m x -V 3.1.1 -x 5", "-D and -x are of MQTT 5.0"),
        ("-t a -m x --frobnicate", "No such option"),
        ("-t a -m x -L ws://h/a#b", "fragment"),
    ],
)
def test_usage(command: Command, words: str, fault: str) -> None:
    result = command("pub", *words.split())
    assert result.exit_code == 2
    assert fault in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_nobody_there(command: Command) -> None:
    result = command("pub", "-p", "1", "-t", "a", "-m", "x")
    assert result.exit_code == 4
    assert "Connection refused" in result.stderr
    assert "broker serve" in result.stderr
    result = command("pub", "-p", "1", "-t", "a", "-m", "x", "--quiet")
    assert (result.exit_code, result.output) == (4, "")


def test_refused(command: Command, served: Served, topic: str) -> None:
    result = command("pub", "-L", served.mqtt, "-t", topic, "-i", "x" * 300, "-m", "x")
    assert result.exit_code == 5
    assert "0x85 client identifier not valid" in result.stderr


def test_more_than_the_broker_takes(command: Command, served: Served, topic: str) -> None:
    result = command("pub", "-L", served.mqtt, "-t", topic, "--size", "2MiB", "-q", "1")
    assert result.exit_code == 5
    assert "0x95 packet too large" in result.stderr


@pytest.mark.parametrize("way", ["mqtts", "wss"])
def test_over_tls(command: Command, behind_tls: Secured, topic: str, way: str) -> None:
    papers = behind_tls.papers
    to = ["-L", getattr(behind_tls, way), "-t", topic, "--cafile", str(papers.ca)]
    ours = ["--cert", str(papers.client_certificate), "--key", str(papers.client_key)]
    result = command("pub", *to, *ours, "-s", "-r", "-q", "1", stdin=b"x" * 100_000)
    assert (result.exit_code, result.stderr) == (0, "")
    result = command("sub", *to, *ours, "-C", "1", "-W", "10", "-F", "%l")
    assert (result.exit_code, result.stdout) == (0, "100000\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("", 4, "authority that is unknown here: name its CA with --cafile (ca_file)"),
        ("--cafile {ca}", 4, "the Server wants a certificate of ours: --cert and --key"),
        ("--insecure", 4, "the Server wants a certificate of ours: --cert and --key"),
        ("--cafile {client_key}", 2, "client.key holds no certificate in PEM."),
        ("--cafile {ca} --cert {client_certificate} --key {key}", 2, "do not belong together."),
    ],
)
def test_no_tls(command: Command, behind_tls: Secured, words: str, code: int, said: str) -> None:
    given = words.format(**vars(behind_tls.papers)).split()
    result = command("pub", "-L", behind_tls.mqtts, "-t", "a", "-n", *given)
    assert result.exit_code == code
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == (1 if code == 4 else 4)


def test_tls_with_a_broker_that_has_none(command: Command, served: Served) -> None:
    result = command("pub", "-L", served.mqtt.replace("mqtt:", "mqtts:"), "-t", "a", "-n")
    assert result.exit_code == 4
    assert "does it speak TLS at this port?" in result.stderr


def test_insecure_is_said_loudly(behind_tls: Secured) -> None:
    papers = behind_tls.papers
    ours = ["--cert", str(papers.client_certificate), "--key", str(papers.client_key)]
    with Process("pub", "-L", behind_tls.mqtts, "-t", "a", "-n", "--insecure", *ours) as process:
        code, out, err = process.wait()
    assert (code, out) == (0, b"")
    assert err.decode() == f"{behind_tls.mqtts}: the certificate is NOT checked: anybody may be at the other end\n"
