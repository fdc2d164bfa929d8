"""The README does what it says: each of its blocks runs, against a broker of its own.

Changed on the way are the two default ports, which a test cannot have for itself, and `make`, which is asked what it
would do. A block that no test here knows is a failure.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.authority import authority
from tests.interop import brokers, mqttjs
from tests.interop.paho_client import PahoClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.brokers import RunningBroker

ROOT: Final = Path(__file__).parent.parent
README: Final = (ROOT / "README.md").read_text("utf-8")
SECONDS: Final = 300  # on a machine that is busy with other tests

# Added to the page of the README: it tells the test what a person would see.
WATCHING: Final = """
<script>
  new MutationObserver(() =>
    fetch("event", { method: "POST", body: JSON.stringify({ event: "seen", text: document.body.innerText }) }),
  ).observe(document.body, { childList: true, subtree: true, characterData: true });
</script>
"""


class Block(NamedTuple):
    language: str
    number: int  # among those of its language
    text: str


def blocks(language: str) -> list[Block]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [Block(language, number, text) for number, text in enumerate(found, 1)]


def name(block: Block) -> str:
    return f"{block.language}-{block.number}"


def serves(block: Block) -> bool:
    return "broker serve" in block.text


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with brokers.served(tmp_path_factory.mktemp("readme")) as running:
        yield running


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH whose `broker` is the one under test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "broker"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m broker "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def with_ports(text: str, running: RunningBroker) -> str:
    return text.replace("1883", str(running.tcp.port)).replace("8080", str(running.ws.port))


def test_every_block_is_known() -> None:
    languages = re.findall(r"^```(\w+)$", README, re.MULTILINE)
    assert set(languages) == {"sh", "python", "html", "toml"}
    assert README.count("```") == 2 * len(languages)


@pytest.mark.parametrize("block", [block for block in blocks("sh") if not serves(block)], ids=name)
def test_shell(block: Block, served: RunningBroker, environment: dict[str, str], tmp_path: Path) -> None:
    script = re.sub(r"^make ", f"make -C {ROOT} -n ", with_ports(block.text, served), flags=re.MULTILINE)
    script = script.replace("compare --rounds 2 -d 1", "compare --rounds 1 -d 0.2 --connections 20")  # it takes long
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=tmp_path,
        env=environment,
        timeout=SECONDS,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    if "broker sub" in script:
        assert "home/kitchen/" in ended.stdout


def test_the_broker_listens_where_the_readme_says() -> None:
    (block,) = filter(serves, blocks("sh"))
    *setup, serve = block.text.splitlines()
    assert setup == ["make setup"]
    assert serve == ".venv/bin/broker serve"
    for url in ("mqtt://127.0.0.1:1883", "ws://127.0.0.1:8080/mqtt"):
        assert url in README
    shown = subprocess.run(
        [sys.executable, "-m", "broker", "config", "show"],
        check=True,
        timeout=SECONDS,
        stdout=subprocess.PIPE,
        text=True,
    )
    listeners = tomllib.loads(shown.stdout)["listeners"]
    assert [(one["type"], one["host"], one["port"]) for one in listeners] == [
        ("tcp", "127.0.0.1", 1883),
        ("ws", "127.0.0.1", 8080),
    ]


@pytest.mark.parametrize("block", blocks("python"), ids=name)
def test_python(block: Block, served: RunningBroker, environment: dict[str, str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", with_ports(block.text, served)],
        check=False,
        cwd=tmp_path,
        env=environment,
        timeout=SECONDS,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 1


@pytest.mark.parametrize("block", blocks("toml"), ids=name)
def test_configuration(block: Block, tmp_path: Path) -> None:
    """With the files that it names beside it."""
    file = tmp_path / "broker.toml"
    file.write_text(block.text)
    for named, made in (("server.crt", authority().certificate), ("server.key", authority().key)):
        (tmp_path / named).touch(mode=0o600)
        (tmp_path / named).write_bytes(made.read_bytes())
    (tmp_path / "users").touch(mode=0o600)
    command = [sys.executable, "-m", "broker", "check-config", str(file)]
    subprocess.run(command, check=True, timeout=SECONDS, cwd=tmp_path)


@pytest.mark.build("plain")  # a browser takes long
def test_the_page_shows_what_is_retained_and_what_is_new(served: RunningBroker, tmp_path: Path) -> None:
    (block,) = blocks("html")
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{with_ports(block.text, served)}{WATCHING}")
    with PahoClient(served.tcp) as publisher, mqttjs.page_server() as server:
        publisher.publish("home/garden/rain", b"0.4", qos=1, retain=True)
        server.files["/"] = (page, "text/html; charset=utf-8")
        with mqttjs.in_chromium(server, tmp_path / "profile") as client:
            while "home/garden/rain: 0.4" not in client.wait("seen")["text"]:
                pass
            publisher.publish("home/garden/rain", b"0.5", qos=1)
            while "home/garden/rain: 0.5" not in client.wait("seen")["text"]:
                pass
