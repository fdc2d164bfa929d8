"""`broker explain --topic`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import click
import pytest

from broker.cli.admin import explain
from broker.cli.admin.explain import ask, fresh, text
from broker.cli.admin.options import connected
from broker.cli.errors import CannotConnect
from broker.packets.encode import encode
from broker.packets.types import MQTT_5_0, Publish
from tests.cli.admin.conftest import Answering, answer

if TYPE_CHECKING:
    from broker.cli.admin.api import Api
    from tests.cli.admin.conftest import Site
    from tests.cli.conftest import Command


def test_a_message_that_would_arrive(site: Site, command: Command) -> None:
    with site.device("panel", "lab/#"):
        result = command("explain", "--client", "panel", "--topic", "lab/1", "--url", site.url)
        assert (result.exit_code, result.stderr) == (0, "")
        first, *steps = result.stdout.splitlines()
        assert first == "delivered: 'lab/1' to Client 'panel'"
        assert [step.split()[:2] for step in steps] == [
            ["ok", "session"],
            ["ok", "subscription"],
            ["ok", "permission"],
            ["ok", "connection"],
        ]


@pytest.mark.parametrize("words", [("-o", "json"), ("--json",)])
def test_a_message_that_would_not(site: Site, command: Command, words: tuple[str, ...]) -> None:
    with site.device("panel", "lab/#"):
        asked = ("explain", "--client", "panel", "--topic", "Lab/1", "--url", site.url)
        result = command(*asked)
        assert result.exit_code == 1
        assert result.stdout.startswith("not subscribed: 'Lab/1' to Client 'panel'\n")
        assert "  stop  subscription  Its only Topic Filter does not match 'Lab/1'. Nearly: 'lab/#'" in result.stdout
        result = command(*asked, *words)
        assert result.exit_code == 1
        assert json.loads(result.stdout)["verdict"] == "not_subscribed"


def test_what_happened_last_is_told_and_nothing_moves_the_cursor() -> None:
    said = {
        "client_identifier": "a\n",
        "topic": "t\x07",
        "verdict": "queue_full",
        "steps": [{"what": "queue", "outcome": "stop", "detail": "It is\nfull."}],
        "last": {"time": None, "direction": "decision", "topic": "t\x07", "qos": 1, "detail": "dropped", "times": 3},
    }
    assert text(said).splitlines() == [
        "queue full: 't\\x07' to Client 'a\\n'",
        "  stop  queue  It is\\nfull.",
        "  last  decision t\\x07 QoS 1 dropped (3 times)",
    ]


def watched(api: Api, client: str) -> bool:
    return bool(api.get("clients", client)["watched"])


@pytest.mark.parametrize("before", [False, True])
def test_packets_are_told_for_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], before: bool
) -> None:
    nowhere: dict[str, Any] = dict.fromkeys(("token", "token_file", "cafile", "cert", "key", "key_password_file"))
    with site.device("w", "lab/#") as device, connected(url=site.url, timeout=10, insecure=False, **nowhere) as api:
        if before:
            api.change("POST", "watches", body={"client_identifier": "w"})

        def sleep(seconds: float) -> None:
            assert watched(api, "w")
            device.say(encode(Publish("else", b"x", qos=1, packet_identifier=7), MQTT_5_0))
            now[0] += seconds

        now = [0.0]
        monkeypatch.setattr(explain, "monotonic", lambda: now[0])
        monkeypatch.setattr(explain, "sleep", sleep)
        assert ask(api, "w", "lab/1", 0.75, as_json=False)
        assert watched(api, "w") == before
        lines = capsys.readouterr().out.splitlines()
        told = [line.split(" ", 1)[1] for line in lines[: lines.index("delivered: 'lab/1' to Client 'w'")]]
        assert [line for line in told if "PUBLISH" in line] == ["in PUBLISH else QoS 1"] * 2
        assert ask(api, "w", "lab/1", 0.25, as_json=True)
        assert "PUBLISH" in [event["packet"] for event in json.loads(capsys.readouterr().out)["watched"]]
        if before:
            api.change("DELETE", "watches", "w")


class Told:
    """In the place of an Api."""

    url = "http://x"

    def __init__(self, trouble: BaseException) -> None:
        self.trouble = trouble
        self.changed: list[tuple[str, ...]] = []

    def get(self, *path: str, query: object = None) -> dict[str, Any]:
        if self.changed:
            raise self.trouble
        return {"record": [], "watched": False}

    def change(self, *words: str, body: object = None) -> dict[str, Any]:
        self.changed.append(words)
        if len(self.changed) > 1 and isinstance(self.trouble, CannotConnect):
            raise self.trouble
        return {}


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), CannotConnect("gone")])
def test_nobody_is_watched_when_it_ends_early(monkeypatch: pytest.MonkeyPatch, trouble: BaseException) -> None:
    monkeypatch.setattr(explain, "SOON", 0.0)
    api = Told(trouble)
    with pytest.raises(type(trouble)):
        ask(cast("Api", api), "c", "t", 60, as_json=False)
    assert api.changed == [("POST", "watches"), ("DELETE", "watches", "c")]


def event(detail: str, at: float = 0.0, times: int = 1) -> dict[str, Any]:
    return {"time": at, "until": at, "times": times, "direction": "decision", "packet": None, "detail": detail}


def test_what_a_record_has_gained() -> None:
    a, b, c = event("a"), event("b", 1), event("b", 2)
    assert fresh([], [a]) == [a]
    assert fresh([a], [a]) == []
    assert fresh([a], [event("a", 0.001), b]) == [b]  # clocks are read anew for each answer
    assert fresh([a, b], [b, c]) == [c]  # the oldest went for the newest
    assert fresh([a, b], [a, event("b", 1, 4)]) == [event("b", 1, 4)]
    assert fresh([a], [b, c]) == [b, c]
    assert fresh([a, b], []) == []


@pytest.mark.parametrize("said", [{}, {"verdict": "x"}, {"verdict": "x", "steps": [1]}])
def test_what_is_no_api(command: Command, said: dict[str, Any]) -> None:
    with Answering(answer(200, said)) as there:
        result = command("explain", "--client", "c", "--topic", "t", "--url", there.url)
    assert result.exit_code == 4
    assert "not the API of TrioMQ" in result.stderr
    assert there.asked == ["GET /api/v1/explain?client=c&topic=t"]


def test_who_may_not_ask(guarded: Site, command: Command) -> None:
    result = command("explain", "--client", "c", "--topic", "t", "--url", guarded.url)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "token" in result.stderr
    token = ("--token", "v-secret")
    result = command("explain", "--client", "c", "--topic", "t", "--url", guarded.url, *token)
    assert (result.exit_code, result.stdout.partition(":")[0]) == (1, "no session")
    result = command("explain", "--client", "c", "--topic", "t", "--watch", "1s", "--url", guarded.url, *token)
    assert (result.exit_code, result.stdout) == (5, "")


@pytest.mark.parametrize(("client", "topic"), [("", "t"), ("c", ""), ("c", "a/#"), ("c", "a\x01")])
def test_what_cannot_be_asked(client: str, topic: str) -> None:
    with pytest.raises(click.UsageError):
        ask(cast("Api", None), client, topic, None, as_json=False)
