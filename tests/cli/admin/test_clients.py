"""`broker clients`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broker.cli.admin.clients import SORTS, columns, state
from broker.cli.admin.listing import lines
from broker.web.looking import SORTS as OF_THE_API
from tests.cli.admin.conftest import Answering, answer

if TYPE_CHECKING:
    from tests.cli.admin.conftest import Site
    from tests.cli.conftest import Command


def test_a_list_as_table_and_as_json(site: Site, command: Command) -> None:
    with site.device("lamp/1", "home/+", "x"), site.device("lamp/2"), site.device("fan"):
        result = command("clients", "--filter", "lamp", "--sort", "-subscriptions", "--url", site.url)
        assert result.exit_code == 0
        head, first, second = result.stdout.splitlines()
        assert head.split()[:2] == ["CLIENT", "ADDRESS"]
        assert first.startswith("lamp/1  127.0.0.1:")
        assert second.startswith("lamp/2")
        result = command("clients", "list", "--filter", "lamp", "--connected", "-o", "json", "--url", site.url)
        assert sorted(each["client_identifier"] for each in json.loads(result.stdout)) == ["lamp/1", "lamp/2"]
        result = command("clients", "--filter", "lamp", "--limit", "1", "-o", "json", "--url", site.url)
        assert len(json.loads(result.stdout)) == 1
        result = command("clients", "--filter", "lamp", "--away", "--url", site.url)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No such Client.\n")


def test_one_in_full(site: Site, command: Command) -> None:
    with site.device("pump", "$share/crew/oil/#", "water"):
        result = command("clients", "show", "pump", "--url", site.url)
        assert result.exit_code == 0
        text = " ".join(result.stdout.split())
        assert "Client pump state up" in text
        assert "MQTT 5.0 keep alive 60 s" in text
        assert "oil/# 1 crew" in text
        result = command("clients", "show", "pump", "-o", "json", "--url", site.url)
        assert json.loads(result.stdout)["client_identifier"] == "pump"
    result = command("clients", "show", "nobody", "--url", site.url)
    assert (result.exit_code, result.stderr) == (1, "Error: There is no such Client.\n")


def test_all_that_a_broker_may_tell_of_one(command: Command) -> None:
    said = {
        "client_identifier": "a",
        "connected": False,
        "session_expiry_s": None,
        "keep_alive_s": 0,
        "rtt_ms": 1.5,
        "will": {"topic": "a/gone", "qos": 1, "retain": True, "delay_s": 90},
        "record": [{"time": 0, "direction": "in", "packet": "PUBLISH", "topic": "t\x07", "detail": None}],
    }
    with Answering(answer(200, said)) as there:
        result = command("clients", "show", "a", "--url", there.url)
    text = " ".join(result.stdout.split())
    assert "state away keep alive off Session expires never" in text
    assert "RTT 1.5 ms Will a/gone (QoS 1, retained, after 1m 30s)" in text
    assert text.endswith("in PUBLISH t\\x07")


def test_a_kick_ends_the_connection_and_a_ban_keeps_it_out(site: Site, command: Command) -> None:
    with site.device("wild") as wild:
        result = command("clients", "kick", "wild", "--url", site.url)
        assert (result.exit_code, result.stdout) == (0, "The connection of wild has ended.\n")
        assert wild.ended()
    with site.device("worse") as worse:
        result = command("clients", "kick", "worse", "--ban", "5m", "-o", "json", "--url", site.url)
        assert json.loads(result.stdout) == {"client_identifier": "worse", "ban_s": 300}
        assert worse.ended()
    with site.device("worse") as worse:
        assert worse.ended()
    result = command("clients", "kick", "wild", "--url", site.url)
    assert (result.exit_code, result.stderr) == (1, "Error: No such Client is connected.\n")


def test_a_ban_is_listed_and_taken_back(site: Site, command: Command) -> None:
    with site.device("banned"):
        assert command("clients", "kick", "banned", "--ban", "2h", "--url", site.url).exit_code == 0
    result = command("clients", "bans", "--url", site.url)
    assert any(line.split()[:3] == ["banned", "1h", "59m"] for line in result.stdout.splitlines())
    result = command("clients", "unban", "banned", "--url", site.url)
    assert (result.exit_code, result.stdout) == (0, "banned may come back.\n")
    said = json.loads(command("clients", "bans", "-o", "json", "--url", site.url).stdout)
    assert "banned" not in [each["client_identifier"] for each in said]
    result = command("clients", "unban", "banned", "--url", site.url)
    assert (result.exit_code, result.stderr) == (1, "Error: No such Client is banned.\n")


@pytest.mark.parametrize(
    "words",
    [("kick",), ("kick", "a", "--ban", "soon"), ("show", ""), ("kick", ""), ("list", "--sort", "age"), ("lits",)],
)
def test_mistakes_are_usage_errors(command: Command, words: tuple[str, ...]) -> None:
    assert command("clients", *words).exit_code == 2


def test_a_broker_that_is_not_there(command: Command) -> None:
    result = command("clients", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 4
    assert "'broker serve' starts one" in result.stderr


def test_help_is_shown_and_no_list(command: Command) -> None:
    result = command("clients", "--help")
    assert result.exit_code == 0
    assert "kick meter/17 --ban 5m" in result.stdout


def test_what_can_be_sorted_by_can_be_asked_for() -> None:
    assert set(SORTS) <= set(OF_THE_API)


def test_states_and_columns() -> None:
    assert state({"connected": True, "connected_since": 40.0}, 100.0) == "up 1m"
    assert state({"connected": False, "disconnected_since": None}, 100.0) == "away"
    head, row = lines(columns(0.0), [{"client_identifier": "a", "user": "ann", "rtt_ms": 0.25, "messages_sent": 5}])
    assert " ".join(head.split()) == "CLIENT USER ADDRESS OVER MQTT STATE SUBS INFLIGHT QUEUE DROPPED SENT RTT ms"
    assert row.split() == ["a", "ann", "away", "5", "0.2"]
