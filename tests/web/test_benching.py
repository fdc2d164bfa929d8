"""Comparisons over the API: who runs one, who reads of it, and what is said to the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.web.app import build
from broker.web.benches import CONNECTIONS, WORKLOADS, Benches
from broker.web.settings import Settings
from tests.web.asking import Asker, site
from tests.web.holding import assert_holds
from tests.web.lines import MemoryLine
from tests.web.systems import NOW, Bench
from tests.web.test_api import TOKENS
from tests.web.test_benches import at, bench_of, over
from tests.web.test_reports import REPORT

if TYPE_CHECKING:
    from pathlib import Path

    import trio

WAITS = "tell(done=0.25)\nsys.stderr.flush()\ntime.sleep(100)"
COMPARE = {"workload": "fanout", "seconds": 0.5, "rounds": 1}


def asker_of(benches: Benches, bench: Bench, role: str = "") -> Asker:
    """Somebody on this machine, or with a token of this role."""
    settings = Settings(open_here=True, tokens=TOKENS)
    asker = Asker(build(bench.system, settings, files={}, benches=benches), MemoryLine())
    if role:
        asker.headers["Authorization"] = f"Bearer {role}"
    return asker


async def items(asker: Asker) -> list[dict[str, Any]]:
    answer = await asker.get("/api/v1/bench")
    assert answer.status == 200
    assert_holds(answer.json, "Benches")
    assert [each["name"] for each in answer.json["workloads"]] == list(WORKLOADS)
    found: list[dict[str, Any]] = answer.json["items"]
    return found


async def test_one_is_run_read_and_removed(tmp_path: Path, nursery: trio.Nursery) -> None:
    bench = bench_of("print(report)", tmp_path)
    benches = Benches(bench.system, nursery)
    asker = asker_of(benches, bench)
    assert (await asker.get("/api/v1/session")).json["features"]["bench"] is True
    answer = await asker.ask("POST", "/api/v1/bench", COMPARE)
    assert answer.status == 202
    assert_holds(answer.json, "Started")
    await over(benches)
    identifier = answer.json["id"]
    expected = {**COMPARE, "id": identifier, "connections": CONNECTIONS, "started": NOW}
    expected |= {"state": "done", "progress": 1.0, "error": None}
    assert await items(asker) == [expected]
    answer = await asker.get(f"/api/v1/bench/{identifier}")
    assert_holds(answer.json, "OneBench")
    assert answer.json == {**expected, "report": REPORT}
    assert (await asker.ask("DELETE", f"/api/v1/bench/{identifier}")).status == 204
    assert await items(asker) == []
    assert (await asker.ask("DELETE", f"/api/v1/bench/{identifier}")).status == 404


async def test_one_at_a_time_until_it_is_stopped(nursery: trio.Nursery) -> None:
    bench = bench_of(WAITS)
    benches = Benches(bench.system, nursery)
    asker = asker_of(benches, bench)
    identifier = (await asker.ask("POST", "/api/v1/bench", {"workload": "rtt"})).json["id"]
    running = await benches.one(identifier)
    assert running is not None
    await at(running, 0.25)
    answer = await asker.ask("POST", "/api/v1/bench", COMPARE)
    assert (answer.status, answer.json["error"]["code"]) == (409, "busy")
    assert answer.json["error"]["message"] == f"{identifier} runs already (rtt, 25% done): wait for it, or stop it."
    found = (await asker.get(f"/api/v1/bench/{identifier}")).json
    assert (found["state"], found["progress"], found["report"]) == ("running", 0.25, None)
    assert (await asker.ask("DELETE", f"/api/v1/bench/{identifier}")).status == 204
    await over(benches)
    assert [each["state"] for each in await items(asker)] == ["stopped"]


async def test_viewers_read_and_operators_run(nursery: trio.Nursery) -> None:
    bench = bench_of("print(report)")
    benches = Benches(bench.system, nursery)
    await benches.start("pub", 1, 1, 0)
    finished = await over(benches)
    viewer, operator = asker_of(benches, bench, "viewer"), asker_of(benches, bench, "operator")
    assert (await viewer.get(f"/api/v1/bench/{finished.id}")).json["report"] == REPORT
    assert (await viewer.ask("POST", "/api/v1/bench", COMPARE)).status == 403
    assert (await viewer.ask("DELETE", f"/api/v1/bench/{finished.id}")).status == 403
    assert [each["id"] for each in await items(viewer)] == [finished.id]
    assert (await operator.ask("DELETE", f"/api/v1/bench/{finished.id}")).status == 204


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "workload is missing."),
        ({"workload": "sub"}, "workload has to be one of: pub, fanout, rtt."),
        ({"workload": "pub", "seconds": 0.1}, "seconds is too small; at least 0.2."),
        ({"workload": "pub", "seconds": 61}, "seconds is too large; at most 60.0."),
        ({"workload": "pub", "rounds": 13}, "rounds is too large; at most 12."),
        ({"workload": "pub", "rounds": 0}, "rounds is too small; at least 1."),
        ({"workload": "pub", "connections": 501}, "connections is too large; at most 500."),
        ({"workload": "pub", "url": "mqtt://elsewhere"}, "There is no member 'url' here"),
    ],
)
async def test_what_is_not_run(body: dict[str, Any], message: str, nursery: trio.Nursery) -> None:
    bench = bench_of("")
    benches = Benches(bench.system, nursery)
    answer = await asker_of(benches, bench).ask("POST", "/api/v1/bench", body)
    assert answer.status == 422
    assert message in answer.json["error"]["message"]
    assert benches.running is None


async def test_where_none_can_be_run() -> None:
    asker = site(Bench())
    answer = await asker.ask("POST", "/api/v1/bench", COMPARE)
    assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
    assert (await asker.get("/api/v1/session")).json["features"]["bench"] is False
    assert await items(asker) == []
    assert (await asker.get("/api/v1/bench/20261122-134500-ab0f")).status == 404
    assert json.loads((await asker.get("/api/v1/openapi.json")).text)["paths"]["/bench"]["post"]["responses"]["202"]
