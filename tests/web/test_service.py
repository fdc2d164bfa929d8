"""The HTTP side as a whole: loaded beside everything else, and no harm to it where that fails."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import trio
import trio.testing

from broker.web import app
from broker.web.service import Web
from broker.web.settings import Settings
from tests.web.lines import MemoryLine
from tests.web.systems import Bench
from tests.web.test_benches import bench_of, over

if TYPE_CHECKING:
    import pytest

    from broker.web.exchange import AsgiApp

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Line(MemoryLine):
    """Tells when there is something."""

    __slots__ = ("answered",)

    def __init__(self) -> None:
        super().__init__()
        self.answered = trio.Event()

    def send(self, data: bytes) -> bool:
        self.answered.set()
        return super().send(data)

    async def answer(self) -> bytes:
        with trio.fail_after(20):
            await self.answered.wait()
        self.answered = trio.Event()
        said, self.said = self.said, b""
        return said


async def test_requests_wait_until_it_is_loaded(nursery: trio.Nursery) -> None:
    bench = Bench()
    web = Web(bench.system, Settings(open_here=True), nursery)
    line = Line()
    connection = web(line)
    connection.receive(GET % b"/metrics")
    said = await line.answer()
    assert b"200 OK" in said
    assert b"triomq_http_connections 1.0" in said
    connection.receive(GET % b"/api/v1/history")
    assert b"triomq_loop_lag_seconds" in said
    assert b'"columns"' in await line.answer()
    assert len(web.history.table()["rows"]) == 1


async def test_comparisons_end_with_it(nursery: trio.Nursery) -> None:
    bench = bench_of("time.sleep(100)")
    assert not Web(bench.system, Settings(bench=False), nursery).benches.possible
    web = Web(bench.system, Settings(), nursery)
    assert web.benches.possible
    started = await web.benches.start("pub", 1, 1, 0)
    web.stop()
    assert not web.benches.possible
    assert await over(web.benches) is started
    assert started.state == "stopped"


async def test_a_failure_to_load_is_no_failure_of_the_broker(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> AsgiApp:
        raise ImportError("starlette")

    monkeypatch.setattr(app, "build", broken)
    web = Web(Bench().system, Settings(api=False), nursery)
    line = Line()
    web(line).receive(GET % b"/")
    assert b" 500 " in await line.answer()
    assert "the HTTP side cannot be loaded" in caplog.text
    assert web.history.table()["rows"] == []


def test_nothing_heavy_is_imported_with_it() -> None:
    heavy = "('starlette', 'prometheus_client', 'anyio')"
    code = f"import sys, broker.web.service; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
