"""Whether an answer is what its schema says: the part of JSON Schema that ours use."""

from __future__ import annotations

from typing import Any

from broker.web.schemas import SCHEMAS

_TYPES = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}
_KNOWN = {"type", "properties", "required", "additionalProperties", "items", "$ref", "anyOf", "description"}


def faults(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """What of `value` is not as `schema` says."""
    assert set(schema) <= _KNOWN, schema
    if "$ref" in schema:
        return faults(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], where)
    if "anyOf" in schema:
        return [] if any(not faults(value, each, where) for each in schema["anyOf"]) else [f"{where}: fits none"]
    kinds = schema.get("type", [])
    if kinds and not any(_TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return [f"{where}: {value!r} is not of the type {kinds}"]
    found: list[str] = []
    if isinstance(value, dict):
        members = schema.get("properties", {})
        found += [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, each in value.items():
            other = schema.get("additionalProperties", {})
            inner = members.get(name, other)
            if inner is False:
                found.append(f"{where}: {name} is not known")
            else:
                found += faults(each, inner, f"{where}.{name}")
    if isinstance(value, list):
        for at, each in enumerate(value):
            found += faults(each, schema.get("items", {}), f"{where}[{at}]")
    return found


def assert_holds(value: Any, name: str) -> None:
    assert faults(value, SCHEMAS[name], name) == []
