"""Reports of comparisons come back after a restart, and what is none does no harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.web.reports import DONE, KEPT, REPORT_BYTES, Comparison, Reports, check

if TYPE_CHECKING:
    from pathlib import Path

REPORT: dict[str, Any] = {
    "schema": 1,
    "kind": "broker bench",
    "points": [{"figures": {"tcp": {"throughput": 80000.0, "p50": None}, "ws": {"throughput": 7e4}}}],
}


def comparison(number: int = 0) -> Comparison:
    found = Comparison(f"20261122-1345{number:02}-ab0f", "pub", 0.5, 2, 0, 1_800_000_000.0 + number)
    found.state, found.progress = DONE, 1.0
    return found


@pytest.mark.parametrize("in_folder", [True, False])
def test_a_report_is_kept_and_removed(tmp_path: Path, in_folder: bool) -> None:
    reports = Reports(tmp_path / "bench" if in_folder else None)
    assert reports.found() == []
    kept = comparison()
    kept.error = "Not every message arrived."
    reports.keep(kept, json.dumps(REPORT))
    assert json.loads(reports.report(kept.id) or "") == REPORT
    assert [each.told() for each in reports.found()] == ([kept.told()] if in_folder else [])
    reports.remove(kept.id)
    reports.remove(kept.id)
    assert reports.report(kept.id) is None
    assert reports.found() == []


def test_who_may_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    Reports(folder).keep(comparison(), json.dumps(REPORT))
    (file,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_the_newest_stay(tmp_path: Path) -> None:
    reports = Reports(tmp_path / "bench")
    for number in range(KEPT + 3):
        reports.keep(comparison(number), json.dumps(REPORT))
    assert [each.id for each in reports.found()] == [comparison(number).id for number in range(KEPT + 2, 2, -1)]
    assert len(list((tmp_path / "bench").iterdir())) == KEPT


def test_what_is_no_report_is_left_out_and_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "bench"
    reports = Reports(folder)
    good = comparison()
    reports.keep(good, json.dumps(REPORT))
    text = (folder / f"{good.id}.json").read_text()
    wrong = {
        "20261122-000001-0000.json": text,  # under another name
        "20261122-000002-0000.json": text[:100],
        "20261122-000003-0000.json": text.replace(good.id, "20261122-000003-0000").replace('"done"', '"running"'),
        "20261122-000004-0000.json": text.replace(good.id, "20261122-000004-0000").replace("80000.0", "NaN"),
        "20261122-000005-0000.json": text.replace(good.id, "20261122-000005-0000").replace('"points": [', '"p": ['),
        "20261122-000006-0000.json": " " * (2 * REPORT_BYTES + 1),
        "notes.txt": "mine",
    }
    for name, content in wrong.items():
        (folder / name).write_text(content)
    (folder / "20261122-000007-0000.json.new").write_text("half")  # of a broker that died over it
    assert [each.id for each in reports.found()] == [good.id]
    (said,) = caplog.messages
    assert (
        "left out: '20261122-000001-0000.json', '20261122-000002-0000.json', '20261122-000003-0000.json', ..." in said
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted([*wrong, f"{good.id}.json"])


def test_a_report_that_was_spoilt_meanwhile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports(tmp_path)
    reports.keep(comparison(), json.dumps(REPORT))
    (tmp_path / f"{comparison().id}.json").write_text("{")
    assert reports.report(comparison().id) is None
    assert "cannot be read" in caplog.text


def test_memory_takes_what_a_folder_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bench").write_text("a file where the folder should be")
    reports = Reports(tmp_path / "bench")
    assert reports.found() == []
    reports.keep(comparison(), json.dumps(REPORT))
    assert json.loads(reports.report(comparison().id) or "") == REPORT
    assert "is kept in memory alone" in caplog.text
    reports.remove(comparison().id)
    assert reports.report(comparison().id) is None


def test_what_a_process_wrote() -> None:
    assert check(json.dumps(REPORT).encode() + b"\n") == json.dumps(REPORT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        json.dumps({**REPORT, "kind": "another"}).encode(),
        json.dumps({**REPORT, "points": []}).encode(),
        json.dumps({**REPORT, "points": [{"figures": {}}]}).encode(),
        json.dumps({**REPORT, "points": [{"figures": {"tcp": {"p50": "1"}}}]}).encode(),
        json.dumps({**REPORT, "points": [{"figures": {"tcp": [1]}}]}).encode(),
        json.dumps({**REPORT, "points": [{"figures": {"tcp": {"p50": float("inf")}}}]}).encode(),
    ],
)
def test_what_is_no_report(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of json too
        check(content)
