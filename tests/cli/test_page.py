"""Where the dashboard is, or why there is none: of listeners that are open, and of those of a configuration."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.cli import page
from broker.cli.page import NO_LISTENER, NOT_BUILT, OFF, page_urls, where_the_page_is, why_absent
from broker.config.web import WebConfig

if TYPE_CHECKING:
    from pathlib import Path

WEB = WebConfig()


class Door:
    def __init__(self, kind: str, host: str | None, port: int | None, tls: object = None) -> None:
        self.type = kind
        self.host = host
        self.port = port
        self.tls = tls


DOORS = [
    Door("tcp", "127.0.0.1", 1883),
    Door("ws", "127.0.0.1", 8080),
    Door("auto", "0.0.0.0", 8443, tls=object()),
    Door("ws", "::1", 8081),
    Door("unix", None, None),
]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "index.html").touch()
    return tmp_path


def test_each_listener_that_serves_it(built: Path) -> None:
    assert page_urls(WEB, DOORS, built) == ["http://127.0.0.1:8080/", "https://localhost:8443/", "http://[::1]:8081/"]
    assert where_the_page_is(WEB, DOORS[:2], built) == "http://127.0.0.1:8080/"
    assert where_the_page_is(WEB, iter(DOORS[1:3]), built) == "http://127.0.0.1:8080/, https://localhost:8443/"


def test_why_it_is_absent(built: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    assert where_the_page_is(WEB, DOORS, empty) == NOT_BUILT == why_absent(WEB, DOORS)
    assert where_the_page_is(WEB, DOORS[:1], built) == NO_LISTENER
    assert where_the_page_is(WebConfig(dashboard=False), DOORS, built) == OFF
    assert where_the_page_is(WebConfig(dashboard=False), [], empty) == OFF


def test_nothing_that_answers_over_http_is_imported() -> None:
    code = f"import sys, {page.__name__}; print(*{{'starlette', 'prometheus_client'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
