"""The Dockerfile, the compose file and the systemd unit: nothing of them runs here, so what they promise is read.

`make lint` has hadolint and the schema of compose judge their form. That their commands are commands of ours, and that
nothing runs as root, writes where it need not, or listens for more than this machine, is judged here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import click
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from broker.cli import cli
from broker.config.settings import TABLES
from hatch_ui import BUILT

pytestmark = pytest.mark.build("plain")  # it reads files

ROOT: Final = Path(__file__).parent.parent
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: Final[dict[str, Any]] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text("utf-8"))
UNIT: Final = (ROOT / "config" / "systemd" / "triomq.service").read_text("utf-8")
SERVICES: Final = sorted(COMPOSE["services"])
OURS: Final = ["broker", "compare", "devices"]
MONITORING: Final = ["grafana", "prometheus"]


def stages() -> list[list[tuple[str, str]]]:
    """The stages of the Dockerfile, each a list of (instruction, the rest of its line)."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            found.append([])
        if instruction and found:
            found[-1].append((instruction, re.sub(r"\s+", " ", rest.strip())))
    return found


def last(instruction: str) -> str:
    """What the image's own stage says last with this instruction."""
    return [rest for name, rest in stages()[-1] if name == instruction][-1]


def understood(words: list[str]) -> bool:
    """Whether `broker …` takes these words; nothing is done."""
    assert words[0].rpartition("/")[2] == "broker", words
    context = click.Context(cli)
    command: click.Command = cli
    rest = words[1:]
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, f"no command {rest[0]}"
        command, rest = found, rest[1:]
    try:
        command.make_context(command.name, list(rest))
    except click.ClickException as error:
        raise AssertionError(error.format_message()) from error
    return True


def unit(key: str) -> list[str]:
    """All values of a key of the unit."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


# -- The image


def test_the_image_is_nobodys_in_particular() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 0, "a number: an orchestrator that forbids root cannot look a name up"
    assert int(group) > 0
    instructions = [name for name, _ in stages()[-1]]
    writing = [at for at, name in enumerate(instructions) if name in ("RUN", "COPY", "ADD")]
    assert max(writing) < instructions.index("USER"), "what it runs is not its own to change"
    assert "ADD" not in instructions


def test_the_base_is_pinned_and_the_compiler_stays_behind() -> None:
    assert re.search(r"^ARG PYTHON=python:\d+\.\d+-slim-[a-z]+$", DOCKERFILE, re.MULTILINE)
    build, image = stages()
    assert (build[0][1], image[0][1]) == ("${PYTHON} AS build", "${PYTHON}")
    assert any("gcc" in rest for name, rest in build if name == "RUN")
    assert not any("gcc" in rest or "pip" in rest for name, rest in image if name == "RUN")


def test_it_stops_and_is_asked_as_the_broker_wants_it() -> None:
    assert last("STOPSIGNAL") == "SIGTERM"
    assert last("VOLUME") == "/data"
    assert "BROKER_STORE__PATH=/data" in last("ENV")
    assert "path" in TABLES["store",].model_fields
    options, _, check = last("HEALTHCHECK").partition(" CMD ")
    patience = re.search(r"--timeout=(\d+)s", options)
    assert patience is not None
    assert understood(json.loads(check))
    assert int(patience[1]) > 3, "`broker health` gives up by itself, and says why"


def test_the_image_lets_nobody_in_unasked(tmp_path: Path) -> None:
    words = json.loads(last("CMD"))
    assert understood(words)
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("BROKER_")}
    done = CliRunner().invoke(cli, words[1:], env=clean | {"BROKER_STORE__PATH": str(tmp_path)})
    assert done.exit_code == 2
    assert "allow_anonymous=true" in done.stderr
    assert "BROKER_AUTH__PASSWORD_FILE" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_only_what_the_build_needs_is_sent_to_it() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert lines[0] == "*"
    copied = {path for name, rest in stages()[0] if name == "COPY" for path in rest.split()[:-1]}
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert all((ROOT / path).exists() for path in copied)
    assert {path.name for path in ROOT.glob("hatch_*.py")} < copied, "each of them is a part of the build"
    assert BUILT.as_posix() in lines, "what stands here may be of other sources"


def test_the_image_has_the_dashboard_and_is_compiled_or_is_not_built() -> None:
    (build,) = (rest for name, rest in stages()[0] if name == "RUN" and "pip" in rest)
    for setting in ("BROKER_BUILD=compiled", "BROKER_UI=require"):
        assert f" {setting} " in build


# -- compose


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_no_more_than_it_needs(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service, "the image's own, which is not root"
    assert "network_mode" not in service
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 1024
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_ours_run_commands_of_ours_and_others_are_pinned() -> None:
    assert sorted([*OURS, *MONITORING]) == SERVICES
    for name in OURS:
        assert COMPOSE["services"][name]["image"] == "triomq"
        assert understood(COMPOSE["services"][name]["command"])
    for name in MONITORING:
        assert re.fullmatch(rf"[a-z]+/{name}:v?\d+\.\d+\.\d+", COMPOSE["services"][name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_reached_from_another_machine(name: str) -> None:
    service = COMPOSE["services"][name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert name in ("broker", *MONITORING) or "ports" not in service


def test_without_a_profile_there_is_the_broker_and_its_data() -> None:
    assert [name for name in SERVICES if "profiles" not in COMPOSE["services"][name]] == ["broker"]
    broker = COMPOSE["services"]["broker"]
    assert broker["volumes"] == ["data:/data"]
    assert sorted(COMPOSE["volumes"]) == ["data", *MONITORING]
    assert COMPOSE["services"]["devices"]["profiles"] == ["demo"]
    assert COMPOSE["services"]["compare"]["profiles"] == ["compare"]


@pytest.mark.parametrize("name", ["devices", "compare"])
def test_the_others_wait_until_it_is_healthy_and_speak_both_ways(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["depends_on"] == {"broker": {"condition": "service_healthy"}}
    assert service["healthcheck"] == {"disable": True}
    assert {"mqtt://broker:1883", "ws://broker:8080/mqtt"} < set(service["command"])


@pytest.mark.parametrize("name", MONITORING)
def test_monitoring_reads_what_is_here_and_writes_into_its_volume(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["profiles"] == ["monitoring"]
    mounts = [mount.split(":") for mount in service["volumes"]]
    assert [mount[0] for mount in mounts if len(mount) == 2] == [name]
    for source, _, *mode in mounts[:-1]:
        assert mode == ["ro"]
        assert (ROOT / source).is_dir()


def test_grafana_wants_a_log_in_and_tells_nobody() -> None:
    environment = COMPOSE["services"]["grafana"]["environment"]
    assert {name for name, value in environment.items() if value == "true"} == set()
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_settings_in_the_environment_are_settings() -> None:
    """An empty one is taken from whoever starts compose."""
    environment = COMPOSE["services"]["broker"]["environment"]
    assert environment == {"BROKER_WEB__METRICS_ANONYMOUS": "true", "BROKER_WEB__ANONYMOUS": None}
    for name in environment:
        assert name.removeprefix("BROKER_WEB__").lower() in TABLES["web",].model_fields


# -- systemd


def test_the_unit_starts_and_reloads_by_commands_of_ours() -> None:
    (start,) = unit("ExecStart")
    (again,) = unit("ExecReload")
    assert understood(shlex.split(start))
    assert understood(shlex.split(again.replace("$MAINPID", "7")))
    assert unit("Type") == ["notify"]
    assert unit("RestartPreventExitStatus") == ["2"]
    assert unit("Environment") == [f"BROKER_STORE__PATH=/var/lib/{unit('StateDirectory')[0]}"]
    assert int(unit("WatchdogSec")[0]) >= 10
    assert int(unit("LimitNOFILE")[0]) >= 65_536


def test_the_unit_gives_no_privilege() -> None:
    assert unit("User") == ["triomq"]
    assert re.search(r"^u triomq ", (ROOT / "config" / "systemd" / "triomq.sysusers").read_text("utf-8"), re.MULTILINE)
    assert unit("CapabilityBoundingSet") == unit("AmbientCapabilities") == [""]
    assert unit("ProtectSystem") == ["strict"]
    assert unit("SystemCallFilter") == ["@system-service", "~@privileged @resources"]
    wanted = {
        *("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectClock", "ProtectControlGroups"),
        *(
            "ProtectHostname",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "RestrictNamespaces",
        ),
        *("RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute"),
    }
    assert {key for key in wanted if unit(key) != ["yes"]} == set()


# -- The audit of dependencies


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_audit_is_of_all_that_is_installed_and_silence_is_no_good_news() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    listing = re.search(r"^INSTALLED := (.*?[^\\])$", makefile, re.MULTILINE | re.DOTALL)
    assert listing is not None
    done = subprocess.run(
        [sys.executable, "-c", listing[1].replace("\\\n", "")], capture_output=True, text=True, check=True
    )
    names = {normal(line.partition("==")[0]) for line in done.stdout.splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {normal(re.split(r"[<>=\[;]", each)[0]) for each in project["dependencies"]}
    assert wanted <= names
    assert "triomq" not in names
    audit = makefile.partition("\naudit:")[2].partition("\n\n")[0]
    assert "pip-audit --strict " in audit
    pipeline = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "audit" not in pipeline, "its answer changes without a change here"
