"""The schemas are closed: what they do not name may not come."""

from __future__ import annotations

from typing import Any

import pytest

from broker.web.schemas import SCHEMAS
from tests.web.holding import faults


def references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [each for item in schema for each in references(item)]
    if not isinstance(schema, dict):
        return []
    found = [schema["$ref"]] if "$ref" in schema else []
    return found + [each for item in schema.values() for each in references(item)]


def test_what_is_referred_to_is_there() -> None:
    for reference in references(SCHEMAS):
        assert reference.rpartition("/")[2] in SCHEMAS


@pytest.mark.parametrize(
    ("value", "name", "wrong"),
    [
        ({"deleted": 3}, "Deleted", 0),
        ({"deleted": "3"}, "Deleted", 1),
        ({"deleted": True}, "Deleted", 1),
        ({"deleted": 3, "more": 1}, "Deleted", 1),
        ({}, "Deleted", 1),
        ({"error": {"code": "x", "message": "y"}}, "Failure", 0),
        ({"error": {"code": "x"}}, "Failure", 1),
        ({"total": 1, "offset": 0, "items": [{"client_identifier": "a", "until": 1.5, "reason": ""}]}, "Bans", 0),
        ({"total": 1, "offset": 0, "items": [{"client_identifier": None, "until": 1.5, "reason": ""}]}, "Bans", 1),
    ],
)
def test_they_tell_right_from_wrong(value: object, name: str, wrong: int) -> None:
    assert len(faults(value, SCHEMAS[name])) == wrong
