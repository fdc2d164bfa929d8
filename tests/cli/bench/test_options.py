from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from broker.cli.bench.options import (
    CONNECTION_PARAMETERS,
    OPTIONS,
    OUTPUT_PARAMETERS,
    BenchCommand,
    DurationType,
    NumberType,
    OutputType,
    PayloadType,
    ProcessType,
    options_of,
)
from broker.packets.types import MQTT_3_1_1, MQTT_5_0

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 2**22 + 1  # above the largest process id of Linux


def parsed(name: str, *words: str) -> dict[str, Any]:
    """What the options of `name` make of `words`."""
    found: dict[str, Any] = {}

    @click.command(cls=BenchCommand)
    @options_of(name)
    def command(**options: Any) -> None:
        found.update(options)

    command.main(words, standalone_mode=False)
    return found


def refused(name: str, *words: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        parsed(name, *words)
    assert caught.value.exit_code == 2
    message = caught.value.format_message()
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", list(OPTIONS))
def test_defaults(name: str) -> None:
    found = parsed(name)
    assert found["urls"] == ()
    assert found["version"] == MQTT_5_0
    assert (found["json_file"], found["csv_file"], found["conditions"]) == (None, None, ())
    assert found["timeout"] == 10
    assert found["workers"] is None
    assert found["duration"] is None


def test_all_of_them() -> None:
    found = parsed(
        "pub",
        *("-L", "mqtt://h:1", "-c", "7", "--subscribers", "0", "-n", "5000", "--rate", "12.5", "--connect-rate", "100"),
        *("-q", "2", "--payload", "1KiB", "-t", "a/%i", "--filter", "a/#", "--version", "3.1.1", "--warm-up", "500ms"),
        *("--workers", "3", "--pid", str(os.getpid()), "--json", "--csv", "-", "--no-progress"),
        *("--fail-if", "p99>50ms", "--fail-if", "lost>0", "-k", "0", "-I", "load", "--timeout", "2m"),
    )
    assert found == {
        "urls": ("mqtt://h:1",),
        "host": None,
        "port": None,
        "unix": None,
        "username": None,
        "pw": None,
        "password_file": None,
        "cafile": None,
        "cert": None,
        "key": None,
        "insecure": False,
        "id_prefix": "load",
        "keepalive": 0,
        "version": MQTT_3_1_1,
        "connect_rate": 100.0,
        "connecting": 64,
        "timeout": 120.0,
        "clients": 7,
        "subscribers": 0,
        "duration": None,
        "count": 5000,
        "warm_up": 0.5,
        "rate": 12.5,
        "inflight": None,
        "qos": 2,
        "payload": 1024,
        "topic": "a/%i",
        "topic_filter": "a/#",
        "workers": 3,
        "broker_cpu": None,
        "pid": os.getpid(),
        "json_file": "-",
        "csv_file": "-",
        "no_progress": True,
        "conditions": ("p99>50ms", "lost>0"),
    }


def test_json_takes_a_file_or_none(tmp_path: Path) -> None:
    file = str(tmp_path / "run.json")
    assert parsed("rtt", "--json", file, "-c", "2")["json_file"] == file
    found = parsed("rtt", "--json", "-c", "2")
    assert (found["json_file"], found["clients"]) == ("-", 2)


@pytest.mark.parametrize("word", ["5", "5.0", "mqttv5"])
def test_versions(word: str) -> None:
    assert parsed("conn", "-V", word)["version"] == MQTT_5_0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pub -s 15", "'15' is too small: 16 bytes say who sent a message, which one it is and when it was due"),
        ("pub -s 0", "'0' is too small"),
        ("pub -s 257MiB", "'257MiB' is too large: an MQTT packet ends at 256 MiB"),
        ("pub -s 268435455", "'268435455' is too large"),
        ("pub -s 1.5", "'1.5' is no whole number of bytes."),
        ("pub -s 1K", 'must be a size such as 4096, "64KiB" or "1MB", not "1K"'),
        ("pub -c 0", "'0' is no number of Clients: from 1 to 10,000,000 will do."),
        ("pub -c -1", "'-1' is no number of Clients"),
        ("pub -c many", "'many' is no number of Clients"),
        ("pub --subscribers -1", "'-1' is no number of Clients: from 0"),
        ("pub --rate 1e12", "'1e12' is no rate that can be kept: more than 0 and at most 10,000,000 will do."),
        ("pub --rate 0", "'0' is no rate that can be kept"),
        ("pub --rate nan", "'nan' is no rate that can be kept"),
        ("pub --rate -5", "'-5' is no rate that can be kept"),
        ("pub --connect-rate 0", "'0' is no rate that can be kept"),
        ("pub --inflight 0", "'0' is no number of messages under way: from 1 to 65,535 will do."),
        ("pub -n 0", "'0' is no number of messages"),
        ("pub -n 1.5", "'1.5' is no number of messages"),
        ("pub -d 0", "'0' is no time to measure anything in"),
        ("pub -d 0ms", "'0ms' is no time to measure anything in"),
        ("pub -d soon", 'must be a duration such as 2.5, "500ms"'),
        ("pub --warm-up -1", "must be a duration"),
        ("pub -q 3", "3 is not in the range 0<=x<=2"),
        ("pub --workers 0", "'0' is no number of worker processes: from 1 to 256 will do."),
        ("pub --version 3.1", "'3.1' is not measured here; 5.0 and 3.1.1 are."),
        ("pub --version 6", "'6' is none of 5, 3.1.1 and 3.1."),
        ("pub --pid 0", "'0' is no process id."),
        ("pub --pid me", "'me' is no process id."),
        (f"pub --pid {NOBODY}", f"There is no process {NOBODY}."),
        ("pub --json /nowhere/at/all.json", "cannot be written: there is no folder '/nowhere/at'"),
        ("pub --csv /", "'/' is a folder."),
        ("rtt --rate 5", "No such option '--rate'"),
        ("conn --qos 1", "No such option '--qos'"),
        ("pub mqtt://127.0.0.1:1883", "A URL is given with -L: -L mqtt://127.0.0.1:1883"),
        ("pub 1 ws://h", "A URL is given with -L: -L ws://h"),
        ("pub everything", "unexpected extra argument"),
    ],
)
def test_what_no_run_can_be_made_of(words: str, said: str) -> None:
    assert said in refused(*words.split())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.touch(mode=0o400)
    tmp_path.chmod(0o500)
    assert "may not be written" in refused("pub", "--json", str(kept))
    assert "nothing may be put into" in refused("pub", "--json", str(tmp_path / "new.json"))


def test_writing_is_tried_without_writing(tmp_path: Path) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    old.write_text("kept")
    for path in (new, old):
        assert OutputType().convert(str(path), None, None) == str(path)
    assert not new.exists()
    assert old.read_text() == "kept"


def test_what_types_make() -> None:
    assert PayloadType().convert("16", None, None) == 16
    assert PayloadType().convert("2MB", None, None) == 2_000_000
    assert DurationType().convert("1h", None, None) == 3600.0
    assert DurationType(zero=True).convert("0", None, None) == 0.0
    assert NumberType("", 1, 5).convert("5", None, None) == 5
    assert NumberType("", 0, 5, above=True, whole=False).convert("0.1", None, None) == 0.1
    assert ProcessType().convert("1", None, None) == 1  # another's, perhaps


@pytest.mark.skipif(sys.platform != "linux", reason="CPUs are bound on Linux")
def test_a_cpu() -> None:
    here = min(os.sched_getaffinity(0))
    assert parsed("pub")["broker_cpu"] is None
    assert parsed("pub", "--broker-cpu", str(here))["broker_cpu"] == here
    assert "'-1' is no number of a CPU" in refused("pub", "--broker-cpu", "-1")
    assert "'x' is no number of a CPU." in refused("conn", "--broker-cpu", "x")
    assert "CPU 4000 is not among those that may be used: " in refused("rtt", "--broker-cpu", "4000")
    assert "No such option" in refused("sub", "--broker-cpu", "0")  # that is of another's broker


def test_a_cpu_where_none_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.bench.processes.sys.platform", "darwin")
    assert "A process can be bound to a CPU on Linux only." in refused("compare", "--broker-cpu", "0")


@pytest.mark.parametrize("name", list(OPTIONS))
def test_help_is_in_sections_and_nothing_is_in_two(name: str) -> None:
    command = click.command(name, cls=BenchCommand)(options_of(name)(lambda **_: None))
    text = CliRunner().invoke(command, ["--help"], prog_name="x").output
    places = [text.index(f"\n{title}:\n") for title in ("Load", "Connection", "Results")]
    assert places == sorted(places)
    assert text.count("--timeout") == text.count("--connect-rate") == 1
    assert places[1] < text.index("--timeout") < places[2] < text.index("--fail-if")
    assert not any(line and not line.strip() for line in text.splitlines())
    assert not CONNECTION_PARAMETERS & OUTPUT_PARAMETERS
