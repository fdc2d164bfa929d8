"""tests/ mirrors broker/: a source module has its test module, and a test module its source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from hatch_build import modules
from tests.conftest import LEFT_OUT

pytestmark = pytest.mark.build("plain")  # it reads files and runs nothing of the broker

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = sorted((ROOT / "broker").rglob("*.py"))
TESTS: Final = sorted((ROOT / "tests").rglob("test_*.py"))

# source -> why it has no test module of its own
WITHOUT_A_TEST: Final[dict[str, str]] = {
    "broker/core/ports.py": "Protocols and two records without behaviour; whoever implements one is tested",
}

# folders of tests about the whole and not about one module
ABOUT_THE_WHOLE: Final = ("scenarios", "conformance", "interop", "faults", "fuzz", "hostile", "dashboard", "perf")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def has_code(source: str) -> bool:
    """Whether there is more in `source` than a docstring and `from __future__`."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        return True
    return False


def mirror_of(source: str) -> str:
    """Give tests/core/test_x.py for broker/core/x.py, and tests/core/test_init.py for broker/core/__init__.py."""
    folder, _, file = source.removeprefix("broker/").rpartition("/")
    return "/".join(part for part in ("tests", folder, f"test_{file.strip('_').replace('__.py', '.py')}") if part)


def test_each_source_has_its_tests() -> None:
    wanted = {
        name(path) for path in SOURCES if path.name != "__init__.py" or has_code(path.read_text("utf-8"))
    } - WITHOUT_A_TEST.keys()
    assert {mirror_of(source) for source in wanted if not (ROOT / mirror_of(source)).exists()} == set()
    assert {source for source in WITHOUT_A_TEST if (ROOT / mirror_of(source)).exists()} == set(), "exceptions no more"


def test_each_test_module_has_its_source() -> None:
    known = {mirror_of(name(source)) for source in SOURCES}
    about_one = [
        name(path)
        for path in TESTS
        if path.parent.name != "tests" and path.relative_to(ROOT / "tests").parts[0] not in ABOUT_THE_WHOLE
    ]
    assert sorted(set(about_one) - known) == []
    assert about_one


def test_exceptions_exist() -> None:
    for source, reason in WITHOUT_A_TEST.items():
        assert (ROOT / source).exists(), source
        assert len(reason.split()) > 3


def test_names_are_mirrored() -> None:
    assert mirror_of("broker/core/broker.py") == "tests/core/test_broker.py"
    assert mirror_of("broker/server.py") == "tests/test_server.py"
    assert mirror_of("broker/client/__init__.py") == "tests/client/test_init.py"
    assert mirror_of("broker/__main__.py") == "tests/test_main.py"
    assert not has_code('"""Law."""\nfrom __future__ import annotations\n')
    assert has_code("from x import y\n")


def test_nothing_of_what_runs_on_the_plain_build_alone_is_compiled() -> None:
    compiled = [Path(each) for each in modules(ROOT)]
    for path in LEFT_OUT:
        assert (ROOT / "tests" / path).is_dir() or (ROOT / "tests" / path).with_suffix(".py").is_file()
        source = Path("broker") / path.parent / path.name.removeprefix("test_")
        assert not [each for each in compiled if source in (each.with_suffix(""), *each.parents)]
