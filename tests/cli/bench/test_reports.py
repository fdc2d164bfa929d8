from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest

from broker.bench.comparison import Comparison, Round, Subject
from broker.bench.histogram import Histogram
from broker.bench.measured import Measured
from broker.bench.results import from_json, of_comparison
from broker.bench.workload import Workload
from broker.cli import errors
from broker.cli.bench.reports import CONDITION_HELD, Report, environment, write
from broker.cli.bench.workloads import Place

if TYPE_CHECKING:
    from pathlib import Path

URL = "mqtt://127.0.0.1:1883"


def report(*conditions: str, **files: str) -> Report:
    options: dict[str, Any] = {"json_file": None, "csv_file": None, "html_file": None, "conditions": conditions}
    return Report(options | files, [], ("tcp", "ws"))


def comparison(*milliseconds: float) -> Comparison:
    """A subject for each, named tcp and ws, all of whose latencies are this one."""
    made = Comparison(subjects=[], workload=Workload(url=URL, publishers=1, subscribers=1))
    for label, value in zip(("tcp", "ws"), milliseconds, strict=False):
        latency = Histogram()
        latency.record(int(value * 1e6))
        made.subjects.append(Subject(label=label, url=URL))
        measured = Measured(seconds=1.0, sent=10, received=10, bytes_sent=760, mqtt_bytes_sent=760, latency=latency)
        made.rounds.append(Round(subject=label, number=1, measured=measured))
    return made


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {f"{kind}_file": str(tmp_path / f"run.{kind}") for kind in ("json", "csv", "html")}
    made = report(**names)
    made.write(of_comparison(comparison(2, 4), made.environment))
    assert from_json((tmp_path / "run.json").read_text()).first.figures()["ws"]["p99"] == 0.004
    assert (tmp_path / "run.csv").read_text().startswith("subject,round,throughput,")
    assert (tmp_path / "run.html").read_text().lower().startswith("<!doctype html>")
    made.say(["one", "two"])
    assert capsys.readouterr() == ("one\ntwo\n", "")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_stdout_is_for_one(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = report(**{f"{kind}_file": "-"})
    results = of_comparison(comparison(2), made.environment)
    made.say(["summary"])
    made.show(results)
    made.write(results)
    out, err = capsys.readouterr()
    assert err.startswith("summary\n")
    assert "Latency, 99 %" in err
    assert "summary" not in out
    if kind == "json":
        assert json.loads(out)["points"][0]["figures"]["tcp"]["p50"] == 0.002
    else:
        assert out.splitlines()[1].startswith("tcp,1,10,10,0.002")


def test_a_table_in_a_file_is_wide_and_ends_without_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    made = report()
    made.show(of_comparison(comparison(2, 4), made.environment))
    lines = capsys.readouterr().out.splitlines()
    assert any(len(line) > 80 for line in lines)
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"json_file": "-", "csv_file": "-"}, "--json and --csv cannot all go to stdout"),
        ({"json_file": "-", "html_file": "-"}, "--json and --html cannot all go to stdout"),
    ],
)
def test_not_two_of_them(options: dict[str, str], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        report(**options)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("p98>1ms", "--fail-if 'p98' is no figure. Did you mean 'p99'?"),
        ("slow", "--fail-if 'slow' is no condition"),
        ("unix.p99>1ms", "there is no subject 'unix' here, but tcp, ws"),
    ],
)
def test_conditions_that_nobody_can_judge_are_refused_at_once(condition: str, said: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        report("lost>0", condition)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_the_page_needs_its_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(click.UsageError, match=r"--html needs .*pip install 'triomq\[report\]'"):
        report(html_file=str(tmp_path / "page.html"))


def test_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    assert report().judge([comparison(2)]) == 0
    assert report("p99>5ms", "lost>0").judge([comparison(2, 4)]) == 0
    assert capsys.readouterr().err == ""
    assert report("p99>3ms").judge([comparison(2, 4)]) == CONDITION_HELD == 3
    assert capsys.readouterr().err == "--fail-if p99>3ms: ws has 4 ms\n"
    assert report("tcp.p99>3ms").judge([comparison(2, 4)]) == 0
    assert report("p99>5ms").judge([comparison(2), comparison(6)]) == 3  # points of a sweep


def test_a_condition_whose_figure_is_missing_does_not_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("cpu>1us").judge([comparison(2)]) == errors.FAILURE
    assert capsys.readouterr().err == "--fail-if cpu>1us: tcp has no such figure\n"
    assert report("cpu>1us", "p50>1ms").judge([comparison(2)]) == CONDITION_HELD


def test_passwords_are_told_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["broker", "bench", "pub", "-L", "mqtt://me:s%40cret@h", "-P", "hidden", "-c", "2"]
    monkeypatch.setattr(sys, "argv", words)
    made = environment([Place(url="mqtt://h:1883", username="me", password="s@cret")], "hidden")
    assert made.command == "broker bench pub -L 'mqtt://me:***@h' -P '***' -c 2"
    assert made.version.startswith("triomq ")


def test_a_file_that_cannot_be_written_in_the_end(tmp_path: Path) -> None:
    with pytest.raises(errors.Failure, match="could not be written: No such file or directory"):
        write(str(tmp_path / "gone" / "x.json"), "{}")
