"""All normative statements, read from the three tables beside this file, and the tests that prove them.

Tests are found by reading the source of every test module: no import, so that a map can be made where a test's own
needs (a browser, say) are not met. A test is named as pytest names it: `tests/core/test_broker.py::test_takeover`.
"""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).parent.parent
TABLES: Final = {"MQTT5": "mqtt5.toml", "MQTT311": "mqtt311.toml", "RFC6455": "rfc6455.toml"}
TITLES: Final = {
    "MQTT5": "MQTT 5.0",
    "MQTT311": "MQTT 3.1.1",
    "RFC6455": "RFC 6455, the WebSocket protocol",
}
ALIASES: Final = {"MQTT311-3-8.3-4": "MQTT311-3.8.3-4", "MQTT311-3.1.2.7": "MQTT311-3.1.2-7"}  # as its body spells them
BINDS_THE_CLIENT: Final = "binds the Client"


class Statement(NamedTuple):
    standard: str  # a key of TABLES
    number: str  # "3.3.1-12"
    who: str  # "Server", "Client", "both"
    says: str
    reason: str  # why no test of ours proves it; "" where one must

    @property
    def id(self) -> str:
        return f"{self.standard}-{self.number}"


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.replace("-", ".").split("."))


@cache
def statements() -> dict[str, Statement]:
    """By id, each standard in its own order."""
    found: dict[str, Statement] = {}
    for standard, table in TABLES.items():
        rows: dict[str, list[str]] = tomllib.loads((TESTS / "conformance" / table).read_text("utf-8"))
        for number in sorted(rows, key=_order):
            who, says, *rest = rows[number]
            reason = rest[0] if rest else BINDS_THE_CLIENT if who == "Client" else ""
            one = Statement(standard, number, who, says, reason)
            found[one.id] = one
    return found


def _ids(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    ids: list[str] = []
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "statement":
            for argument in decorator.args:
                if isinstance(argument, ast.Starred):
                    ids += ast.literal_eval(argument.value)
                else:
                    ids.append(ast.literal_eval(argument))
    return ids


@cache
def proofs(tests: Path = TESTS) -> dict[str, list[str]]:
    """Statement id -> the tests that carry it, in the order of their names; ids are not checked here."""
    found: dict[str, list[str]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        module = f"{tests.name}/{path.relative_to(tests).as_posix()}"
        tree = ast.parse(path.read_text("utf-8"))
        holders: list[tuple[str, ast.Module | ast.ClassDef]] = [("", tree)]
        holders += [(f"{node.name}::", node) for node in tree.body if isinstance(node, ast.ClassDef)]
        for prefix, holder in holders:
            for node in holder.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    for one in _ids(node):
                        found.setdefault(ALIASES.get(one, one), []).append(f"{module}::{prefix}{node.name}")
    return {one: sorted(set(names)) for one, names in found.items()}
