"""What is written is what was measured, and can be read again."""

from __future__ import annotations

import csv
import io
import json

import pytest

from broker.bench.comparison import to_dict
from broker.bench.environment import Environment
from broker.bench.metrics import METRICS
from broker.bench.results import BadResults, Results, from_json, of_comparison, to_csv, to_json
from broker.bench.sweep import Point
from tests.bench.parts import comparison

HERE = Environment(version="triomq 1 (plain)", command="broker bench compare", cores=2)


def swept() -> Results:
    points = [Point({"payload": size, "qos": 1.0}, comparison(2)) for size in (16.0, 1024.0)]
    return Results(environment=HERE, points=points)


def rows(results: Results) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(results))))


def test_json_and_back() -> None:
    results = of_comparison(comparison(3), HERE)
    text = to_json(results)
    assert text.endswith("}\n")
    again = from_json(text)
    assert again.environment == HERE
    assert again.axes == []
    assert to_dict(again.first) == to_dict(results.first)
    assert to_json(again) == text


def test_json_says_which_schema_it_is() -> None:
    document = json.loads(to_json(swept()))
    assert document["schema"] == 1
    assert [point["at"] for point in document["points"]] == [
        {"payload": 16, "qos": 1},
        {"payload": 1024, "qos": 1},
    ]
    figures = document["points"][0]["figures"]["ws"]
    assert figures["throughput"] == 50_000
    assert figures["cpu_ratio"] == pytest.approx(1.3, rel=0.01)
    assert from_json(json.dumps(document)).axes == ["payload", "qos"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no results"),
        ("[]", "no results"),
        ("{}", "no results"),
        ('{"kind": "shopping list"}', "no results"),
        ('{"kind": "broker bench", "schema": 2}', "schema 2; this version reads 1"),
        ('{"kind": "broker bench", "schema": 1, "environment": {}, "points": [{}]}', "no results"),
    ],
)
def test_what_is_none(text: str, says: str) -> None:
    with pytest.raises(BadResults, match=says):
        from_json(text)


def test_csv_has_a_row_for_each_round_and_those_over_all() -> None:
    found = rows(of_comparison(comparison(3), HERE))
    assert [(row["subject"], row["round"]) for row in found] == [
        *(("tcp", "1"), ("ws", "1"), ("tcp", "2"), ("ws", "2"), ("tcp", "3"), ("ws", "3")),
        *(("tcp", "all"), ("ws", "all"), ("ws", "ratio"), ("ws", "ratio_low"), ("ws", "ratio_high")),
    ]
    assert set(found[0]) == {"subject", "round", *METRICS}


def test_csv_and_json_agree() -> None:
    results = swept()
    document = json.loads(to_json(results))
    whole = [row for row in rows(results) if row["round"] in ("all", "ratio")]
    assert len(whole) == 2 * 3
    for row in whole:
        point = next(each for each in document["points"] if each["at"]["payload"] == float(row["payload"]))
        suffix = "_ratio" if row["round"] == "ratio" else ""
        for name in METRICS:
            value = point["figures"][row["subject"]].get(name + suffix)
            if value is None:
                assert row[name] == ""
            else:
                assert float(row[name]) == pytest.approx(value, rel=1e-6)
