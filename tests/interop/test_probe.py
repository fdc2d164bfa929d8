"""`broker probe` against Mosquitto, which is another opinion, and against our own broker as it is served.

What is wrong with Mosquitto 2.0.11 was looked at by hand, with nothing but sockets: to the older of two 5.0 connections
of one Client Identifier it sends nothing before it closes it, a PINGREQ with flag bits (C1 00) is answered like a good
one, and so are CONNECT and PINGREQ in text frames. It looks for silent Clients every five seconds (with a Keep Alive of
2 s one was ended after 8.5 s) and sends large WebSocket messages in pieces of 4 KiB, ten of them a second (262,144
bytes took 6.3 s), so those two are not asked for where they would take long.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop import brokers, tools
from tests.interop.paho_client import PahoClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.brokers import Door, RunningBroker

SECONDS = 60


def probe(url: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, what `--json` says, and stderr."""
    command = [sys.executable, "-m", "broker", "probe", url, "--json", *arguments]
    ended = subprocess.run(command, check=False, timeout=SECONDS, capture_output=True, text=True)
    return ended.returncode, json.loads(ended.stdout), ended.stderr


def outcomes(told: dict[str, Any], *unlike: str) -> dict[str, str]:
    """Check -> outcome, of those that are not `unlike`."""
    return {check["name"]: check["outcome"] for check in told["checks"] if check["outcome"] not in unlike}


@pytest.mark.parametrize("door", ["tcp", "ws", "auto-tcp", "auto-ws"])
def test_our_own_broker_does_nothing_wrong(served: RunningBroker, door: str) -> None:
    code, told, err = probe(served.doors[door].url, "--skip", "keep-alive,message-expiry")
    assert (code, err) == (0, "")
    assert outcomes(told, "ok") == {"response-information": "no"}
    assert told["broker"].startswith("TrioMQ version")


@pytest.mark.parametrize(("name", "also"), [("tcp", {}), ("ws", {"text-frame": "wrong"})])
def test_mosquitto(mosquitto: RunningBroker, name: str, also: dict[str, str]) -> None:
    code, told, err = probe(mosquitto.doors[name].url, "--skip", "keep-alive" if name == "tcp" else "keep-alive,large")
    assert (code, err) == (1, "")
    assert told["versions"] == ["5.0", "3.1.1", "3.1"]
    assert outcomes(told, "ok") == {"response-information": "no", "takeover": "wrong", "reserved-flags": "wrong"} | also
    assert told["left_behind"] == []
    with PahoClient(mosquitto.tcp) as client:
        client.subscribe("triomq-probe/#", qos=1)
        client.publish("triomq-probe/behind", b"last", qos=1)
        assert client.receive().payload == b"last"  # so nothing was retained


def test_mosquitto_without_5_0(mosquitto: RunningBroker) -> None:
    code, told, _ = probe(mosquitto.tcp.url, "--skip", "mqtt-5.0,keep-alive,reserved-flags")
    assert code == 0
    assert told["versions"] == ["3.1.1", "3.1"]
    assert set(outcomes(told, "ok").values()) == {"skipped"}  # what is of 5.0


@contextmanager
def guarded(folder: Path) -> Iterator[Door]:
    """Mosquitto with one user, who may publish and subscribe below `site/` alone."""
    program = tools.program("mosquitto", "mosquitto")
    passwords, accesses, configuration = folder / "passwords", folder / "accesses", folder / "guarded.conf"
    writer = tools.program("mosquitto_passwd", "mosquitto")
    subprocess.run([writer, "-b", "-c", str(passwords), "meter", "secret"], check=True, timeout=SECONDS)
    accesses.write_text("user meter\ntopic readwrite site/#\n")
    door = brokers.Door("tcp", "127.0.0.1", brokers.free_port())
    configuration.write_text(
        f"listener {door.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nacl_file {accesses}\n"
        "user root\npersistence false\nlog_dest stderr\n"
    )
    log = folder / "guarded.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=stream, stderr=stream)
    running = brokers.RunningBroker(process, log, {"tcp": door})
    try:
        brokers.wait_for(log, process, ["running"])
        yield door
    finally:
        running.end()


def test_credentials_and_topics(tmp_path: Path) -> None:
    only = ("--only", "connect,permission,qos-1,retained-kept,will")
    with guarded(tmp_path) as door:
        code, told, err = probe(door.url, *only)
        assert code == 5
        assert outcomes(told, "ok", "skipped") == {"mqtt-5.0": "no", "mqtt-3.1.1": "no", "mqtt-3.1": "no"}
        assert "not authorized" in err

        credentials = ("-u", "meter", "-P", "secret")
        code, told, err = probe(door.url, *only, *credentials)
        assert code == 5
        assert outcomes(told, "ok", "skipped") == {"permission": "no"}
        assert "with -t" in err

        code, told, err = probe(door.url, *only, *credentials, "-t", "site/probe")
        assert (code, err) == (0, "")
        assert outcomes(told, "ok") == {}
        (anonymous,) = [check for check in told["checks"] if check["name"] == "anonymous"]
        assert anonymous["text"].startswith("refused, as it should be: ")
