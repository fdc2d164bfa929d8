from __future__ import annotations

import json
import resource
import signal
import subprocess
import tomllib
from typing import TYPE_CHECKING

import click
import pytest

from broker.cli import simulate
from broker.cli.simulate import allow_descriptors, describe
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack
from broker.simulation.scenarios import SCENARIOS, path_of
from tests.cli.conftest import Process, Scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Served
    from tests.secured import Secured

OWN = """
[[devices]]
kind = "gate"
topic = "yard/{kind}-{number}"
encoding = "text"
[devices.signals]
open = { type = "switch", on = "1s", off = "1s" }
[devices.channels]
open = { fields = ["open"], every = "50ms", retain = true }
"""


def nothing_is_left(command: Command, served: Served, root: str) -> bool:
    left = command("sub", "-L", served.mqtt, "-t", f"{root}/#", "-W", "0.3")
    return (left.exit_code, left.stdout) == (27, "")


# -- what there is


def test_the_scenarios_are_told(command: Command) -> None:
    result = command("simulate", "--list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == describe()
    assert "  meter      power, energy (msgpack)" in describe()
    assert "  lamp       light, power (json; obeys set)" in describe()
    names = [line.partition(":")[0] for line in describe() if not line.startswith(" ")]
    assert names == ["mixed", "home", "factory", "vehicles", "weather"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_shown_as_a_file_to_start_from(command: Command, name: str, tmp_path: Path) -> None:
    result = command("simulate", "--show", name)
    assert result.exit_code == 0
    assert result.stdout == path_of(name).read_text("utf-8")
    assert tomllib.loads(result.stdout)["devices"]


# -- a fleet


def test_a_fleet_for_a_while(command: Command, served: Served) -> None:
    urls = ["--url", served.mqtt, "--url", served.ws]
    words = ["--devices", "4", "--rate", "80", "--duration", "1", "--flaky", "0"]
    result = command("simulate", "vehicles", *urls, *words)
    assert result.exit_code == 0
    assert result.stdout.startswith("Ended: 4 devices published ")
    assert result.stdout.endswith("; 4 of 4 states cleared.\n")
    assert nothing_is_left(command, served, "vehicles")


def test_a_fleet_behind_tls(command: Command, behind_tls: Secured) -> None:
    papers = behind_tls.papers
    words = ["--url", behind_tls.mqtts, "--url", behind_tls.wss, "--devices", "4", "--duration", "1", "--flaky", "0"]
    ours = ["--cafile", papers.ca, "--cert", papers.client_certificate, "--key", papers.client_key]
    result = command("simulate", "vehicles", *words, *map(str, ours))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("; 4 of 4 states cleared.\n")
    result = command("simulate", "vehicles", *words)
    assert result.exit_code == 4
    assert "authority that is unknown here: name its CA with --cafile (ca_file)" in result.stderr


def test_all_that_can_be_wished(command: Command, served: Served) -> None:
    with Process(
        *("simulate", "home", "-L", served.ws, "--devices", "6", "--rate", "60", "--format", "json", "--qos", "2"),
        *("--retain", "--version", "3.1.1", "--prefix", "lab", "--seed", "-5", "--flaky", "0", "--no-watch"),
    ) as process:
        words = ["-t", "lab/home/+/+/power", "-F", "%q %p", "-C", "2", "-W", "15", "-q", "2"]
        said = command("sub", "-L", served.mqtt, *words).stdout.splitlines()
        kept = command("sub", "-L", served.mqtt, *words[:5], "1", *words[6:], "--retained-only").stdout.splitlines()
        process.popen.send_signal(signal.SIGINT)
        code, out, err = process.wait()
    assert (code, err) == (0, b"")
    assert (len(said), len(kept)) == (2, 1)
    assert all(line.startswith('2 {"time":') for line in [*said, *kept])
    assert b"came through" not in out
    assert out.endswith(b"6 of 6 states cleared.\n")
    assert nothing_is_left(command, served, "lab")


def test_a_scenario_of_ones_own(command: Command, served: Served, tmp_path: Path) -> None:
    file = tmp_path / "yard.toml"
    file.write_text(OWN)
    result = command("simulate", str(file), "--url", served.mqtt, "--devices", "3", "--duration", "0.6")
    assert result.exit_code == 0
    assert result.stdout.startswith("Ended: 3 devices published ")
    assert nothing_is_left(command, served, "yard")


def test_every_mistake_of_a_file_is_named_with_its_place(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "yard.toml"
    file.write_text(OWN.replace('"switch"', '"swich"').replace('fields = ["open"]', 'field = ["opn"], qos = 3'))
    result = command("simulate", str(file))
    assert result.exit_code == 2
    places = [line for line in result.stderr.splitlines() if line.startswith(("Error: ", str(file)))]
    assert [place.removeprefix("Error: ").removeprefix(f"{file}:").partition(": ")[0] for place in places] == [
        *("7:17", "9:8", "9:10", "9:33"),
    ]
    assert "did you mean 'switch'?" in result.stderr
    assert "did you mean 'fields'?" in result.stderr


def test_a_file_that_is_not_there(command: Command) -> None:
    result = command("simulate", "nowhere.toml")
    assert result.exit_code == 2
    assert "nowhere.toml: cannot be read: No such file or directory" in result.stderr


# -- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(command: Command, served: Served, number: int) -> None:
    words = ["--devices", "3", "--rate", "30", "--flaky", "0"]
    with Process("simulate", "weather", "--url", served.ws, *words) as process:
        births = command("sub", "-L", served.mqtt, "-t", "weather/+/+/state", "-v", "-C", "3", "-W", "15")
        assert sorted(births.stdout.splitlines()) == [
            "weather/region-001/buoy-0001/state online",
            "weather/region-001/station-0001/state online",
            "weather/region-001/station-0002/state online",
        ]
        process.popen.send_signal(number)
        code, out, err = process.wait()
    assert (code, err) == (0, b"")
    assert out.endswith(b"3 of 3 states cleared.\n")
    assert nothing_is_left(command, served, "weather")


def test_a_broker_that_dies_and_does_not_come_back(command: Command) -> None:
    with Process("serve", "--bind", "tcp://127.0.0.1:0", "--log-format", "json") as server:
        url = url_of(server)
        with Process("simulate", "home", "--url", url, "--devices", "4", "--duration", "2", "--flaky", "0") as process:
            births = command("sub", "-L", url, "-t", "home/+/+/state", "-C", "4", "-W", "15")
            assert births.stdout.splitlines() == ["online"] * 4
            server.popen.kill()
            code, out, err = process.wait()
    assert code == 1
    assert b"Ended: 4 devices published" in out
    assert b"0 of 4 states cleared." in out
    assert err.startswith(b"Error: The broker was lost and did not come back: ")
    assert b"Traceback" not in err


def test_a_second_ctrl_c_does_not_wait_for_a_broker_that_hangs(command: Command) -> None:
    with Process("serve", "--bind", "tcp://127.0.0.1:0", "--log-format", "json") as server:
        url = url_of(server)
        with Process("simulate", "home", "--url", url, "--devices", "4", "--flaky", "0") as process:
            births = command("sub", "-L", url, "-t", "home/+/+/state", "-C", "4", "-W", "15")
            assert births.exit_code == 0
            server.popen.send_signal(signal.SIGSTOP)
            process.popen.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.popen.wait(0.5)
            process.popen.send_signal(signal.SIGINT)
            code, out, err = process.wait()
    assert (code, err) == (130, b"")
    assert b"0 of 4 states cleared." in out


def url_of(server: Process) -> str:
    """Where a broker listens, as its log says."""
    (*_, line) = server.error_lines(b'"url"')
    url = json.loads(line)["url"]
    assert isinstance(url, str)
    return url


def test_nobody_there(command: Command) -> None:
    result = command("simulate", "--url", "mqtt://127.0.0.1:1")
    assert result.exit_code == 4
    assert "Connection refused" in result.stderr
    assert result.stdout == ""


def test_nobody_at_one_of_the_doors(command: Command, served: Served) -> None:
    result = command("simulate", "--url", served.mqtt, "--url", "ws://127.0.0.1:1/mqtt")
    assert result.exit_code == 4
    assert "ws://127.0.0.1:1/mqtt" in result.stderr


def test_a_broker_that_refuses(command: Command) -> None:
    refusal = encode(Connack(ReasonCode.NOT_AUTHORIZED), MQTT_5_0)
    with Scripted(refusal) as server:
        result = command("simulate", "--url", f"mqtt://127.0.0.1:{server.port}")
    assert (result.exit_code, result.stderr) == (5, "Error: the broker refused the connection: 0x87 not authorized\n")


def test_a_broker_that_lets_nobody_watch(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text(
        '[limits]\nwildcard_subscription_available = false\n[log]\nformat = "json"\n'
        '[[listeners]]\ntype = "tcp"\nport = 0\n'
    )
    with Process("serve", "-c", str(file)) as server:
        words = ["simulate", "weather", "--url", url_of(server), "--devices", "3", "--duration", "0.5"]
        result = command(*words)
        assert (result.exit_code, result.stdout) == (5, "")
        assert result.stderr.startswith("Error: the broker lets nobody watch ('weather/#' 0xA2 wildcard ")
        assert result.stderr.endswith("; --no-watch does without.\n")
        result = command(*words, "--no-watch")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.endswith("; 3 of 3 states cleared.\n")


def test_a_broker_that_speaks_something_else(command: Command) -> None:
    with Scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        result = command("simulate", "--url", f"mqtt://127.0.0.1:{server.port}")
    assert result.exit_code == 4
    assert result.stderr.startswith("Error: cannot connect: ")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("nowhere", "'nowhere' is none of mixed, home, factory, vehicles, weather"),
        ("hoem", "Did you mean 'home'?"),
        ("--show mine", "'mine' is not one of 'home'"),
        ("--devices 0", "0 is not in the range"),
        ("--devices -3", "-3 is not in the range"),
        ("--devices 100001", "100001 is not in the range"),
        ("--devices many", "'many' is not a valid integer"),
        ("--rate 0", "0.0 is not in the range"),
        ("--rate -1", "-1.0 is not in the range"),
        ("--rate 1e9", "1000000000.0 is not in the range"),
        ("--rate nan", "'nan' is no number to reckon with"),
        ("--rate inf", "inf is not in the range"),
        ("--duration 0", "0.0 is not in the range"),
        ("--duration inf", "'inf' is no number to reckon with"),
        ("--seed text", "'text' is not a valid integer"),
        ("--flaky 1.5", "1.5 is not in the range"),
        ("--flaky nan", "'nan' is no number to reckon with"),
        ("--qos 3", "3 is not in the range"),
        ("--version 4.2", "'4.2' is none of 5, 3.1.1 and 3.1"),
        ("--format xml", "'xml' is not one of 'json', 'msgpack', 'mixed'"),
        ("--prefix a/#", "--prefix: 'a/#' cannot be the beginning of a topic"),
        ("--prefix $SYS", "--prefix: '$SYS' cannot be"),
        ("--url mqtt://h --insecure", "Options of TLS were given, and mqtt://h is without it: say mqtts://."),
        ("--insecure", "Options of TLS were given, and mqtt://127.0.0.1:1883 is without it"),
        (f"--url mqtts://h --cafile {__file__}", "test_simulate.py holds no certificate in PEM."),
        ("--url h:1883", "--url:"),
    ],
)
def test_usage(command: Command, words: str, fault: str) -> None:
    result = command("simulate", *words.split())
    assert result.exit_code == 2
    assert fault in " ".join(result.stderr.split())


def test_more_connections_than_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    allow_descriptors(10)
    allow_descriptors(1000)
    assert told == [(1000 + simulate.SPARE_DESCRIPTORS, 4096)]
    with pytest.raises(click.UsageError, match="--devices 5000: so many connections need 5064 open files, and 4096"):
        allow_descriptors(5000)


def test_the_usual_doors_are_those_that_are_open(
    command: Command, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "DEFAULT_URLS", (served.mqtt, "ws://127.0.0.1:1/mqtt"))
    result = command("simulate", "home", "--devices", "2", "--duration", "0.3")
    assert result.exit_code == 0
    assert result.stderr == f"Nobody answers at ws://127.0.0.1:1/mqtt; all devices go to {served.mqtt}.\n"
    monkeypatch.setattr(simulate, "DEFAULT_URLS", ("mqtt://127.0.0.1:1", "ws://127.0.0.1:1/mqtt"))
    assert command("simulate", "home").exit_code == 4
