"""The files of the dashboard: found by their names only, with the right headers, compressed for whom takes it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from broker.web.static import POLICY, read_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / ".hidden").write_text("x")
    script = tmp_path / "assets" / "index-4f1c.js"
    script.write_text("alert(1)")
    script.with_name("index-4f1c.js.gz").write_bytes(gzip.compress(b"alert(1)", mtime=0))
    (tmp_path / "assets" / "data.gz").write_bytes(b"its own")
    return tmp_path


def test_what_is_there(folder: Path) -> None:
    files = read_files(folder)
    assert set(files) == {"/", "/favicon.svg", "/assets/index-4f1c.js", "/assets/data.gz"}
    for file in files.values():
        assert file.headers["Content-Security-Policy"] == POLICY
    assert files["/"].headers["Content-Type"] == "text/html; charset=utf-8"
    assert files["/"].headers["Cache-Control"] == "no-store"
    assert files["/favicon.svg"].headers["Content-Type"] == "image/svg+xml"
    assert files["/assets/index-4f1c.js"].headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert files["/assets/index-4f1c.js"].headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.00", False),
        ("xgzip", False),
    ],
)
def test_compression(folder: Path, accepted: str, compressed: bool) -> None:
    content, headers = read_files(folder)["/assets/index-4f1c.js"].answer(accepted)
    assert headers["Vary"] == "Accept-Encoding"
    assert ("Content-Encoding" in headers) is compressed
    assert (gzip.decompress(content) if compressed else content) == b"alert(1)"
    assert read_files(folder)["/"].answer(accepted)[0] == b"<!doctype html>"


def test_without_a_page_there_is_nothing(tmp_path: Path) -> None:
    assert read_files(tmp_path) == {}
    assert read_files(tmp_path / "none") == {}
