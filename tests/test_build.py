"""The wheel: what is in it, when it is compiled, and what a build says and leaves behind.

Nothing is compiled here. The tests that look at a compiled wheel belong to the run on that build, which `make` made.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

import broker
import hatch_build
import hatch_ui
from hatch_build import EXTENSION, CompiledBuild, modules
from tests.conftest import BUILD

ROOT: Final = Path(__file__).parent.parent
COMPILED: Final = modules(ROOT)
NO_COMPILER: Final = "/nowhere/cc"


def build(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Build into `folder` with hatchling as it is installed here, as a front end would do it."""
    code = f"import hatchling.build; hatchling.build.build_wheel({str(folder)!r})"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        env={**environment, "BROKER_UI": "skip", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


class Hook:
    """The hook as hatchling calls it, with a compiler that only says whether it worked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, choice: str, output: str | None = None) -> None:
        self.hook = CompiledBuild(str(ROOT), {}, None, None, "", "wheel")  # type: ignore[arg-type]  # it asks for none
        self.data: dict[str, Any] = {"force_include": {}, "pure_python": True, "infer_tag": False}
        self.output = output
        self.folder: Path | None = None
        monkeypatch.setenv("BROKER_BUILD", choice)
        monkeypatch.setenv("BROKER_UI", "skip")
        monkeypatch.setattr(hatch_build, "compile_copy", self.compile)

    def compile(self, root: Path, folder: Path) -> str | None:
        self.folder = folder
        (folder / "broker").mkdir()
        for path in ("broker/core", "library"):
            (folder / f"{path}{EXTENSION}").touch()
        return self.output

    def run(self, version: str = "standard") -> bool:
        """Whether the wheel will be a compiled one."""
        self.hook.initialize(version, self.data)
        compiled = self.data["infer_tag"] is True
        assert self.data["pure_python"] is not compiled
        assert sorted(self.data["force_include"].values()) == (
            [f"broker/core{EXTENSION}", f"library{EXTENSION}"] if compiled else []
        )
        assert all(Path(path).exists() for path in self.data["force_include"])
        self.hook.finalize(version, self.data, "")
        assert self.folder is None or not self.folder.exists()
        return compiled


# -- The plain wheel


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("plain")
    built = build(folder, BROKER_BUILD="plain")
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    (wheel,) = folder.iterdir()
    assert wheel.name == f"triomq-{broker.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(wheel)


def test_the_package_is_all_that_is_in_the_wheel(plain: zipfile.ZipFile) -> None:
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "broker").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.is_relative_to(ROOT / hatch_ui.SOURCE)
    }
    assert "broker/py.typed" in source
    information = f"triomq-{broker.__version__}.dist-info"
    written = {f"{information}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    assert set(plain.namelist()) == source | written | {f"{information}/licenses/LICENSE"}


def test_the_wheel_brings_the_command(plain: zipfile.ZipFile) -> None:
    points = plain.read(f"triomq-{broker.__version__}.dist-info/entry_points.txt").decode()
    assert points == "[console_scripts]\nbroker = broker.cli:main\n"


@pytest.mark.usefixtures("plain")
def test_a_build_leaves_nothing_in_the_tree() -> None:
    assert not list((ROOT / "broker").rglob("*.so"))
    for pattern in ("*.so", "*.whl", "*.egg-info", "build", "setup.*", "mypy.ini"):
        assert not list(ROOT.glob(pattern)), pattern


# -- What a build does with BROKER_BUILD


def test_any_other_word_is_an_error(tmp_path: Path) -> None:
    refused = build(tmp_path, BROKER_BUILD="nonsense")
    assert refused.returncode == 1
    assert refused.stderr == "BROKER_BUILD is 'nonsense'; it may be auto, compiled or plain.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("variables", [{}, {"BROKER_BUILD": "auto"}], ids=["by default", "asked for"])
def test_without_a_compiler_the_wheel_is_plain_and_one_line_says_so(tmp_path: Path, variables: dict[str, str]) -> None:
    built = build(tmp_path, CC=NO_COMPILER, **variables)
    assert built.returncode == 0
    assert built.stderr == (
        "TrioMQ is built plain, not compiled, and works, but slower: there is no C compiler '/nowhere/cc'. "
        "Install one (Debian: apt install gcc python3-dev) and build again.\n"
    )
    assert [wheel.name for wheel in tmp_path.iterdir()] == [f"triomq-{broker.__version__}-py3-none-any.whl"]


def test_the_dashboard_is_left_as_it_is_where_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hatch_ui, "build", lambda root: pytest.fail("it is built"))
    assert not Hook(monkeypatch, "plain").run()


def test_a_wheel_without_its_dashboard_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(root: Path) -> None:
        raise hatch_ui.CannotBuild("npm ci failed.\nand a long story")

    hook = Hook(monkeypatch, "plain")
    monkeypatch.setattr(hatch_ui, "build", fail)
    monkeypatch.setenv("BROKER_UI", "auto")
    assert not hook.run()
    said = "TrioMQ is built without its dashboard: npm ci failed. BROKER_UI=require shows why.\n"
    assert capfd.readouterr().err == said
    monkeypatch.setenv("BROKER_UI", "require")
    with pytest.raises(SystemExit, match="1"):
        hook.run()
    assert capfd.readouterr().err == "The dashboard cannot be built: npm ci failed.\nand a long story\n"


def test_the_build_asks_for_node_where_this_machine_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Hook(monkeypatch, "plain").hook
    monkeypatch.setattr(hatch_ui, "requirements", lambda root: hatch_ui.REQUIREMENTS)
    assert hook.dependencies() == hatch_ui.REQUIREMENTS


def test_any_other_word_for_the_dashboard_is_an_error(tmp_path: Path) -> None:
    refused = build(tmp_path, BROKER_BUILD="plain", BROKER_UI="nonsense")
    assert refused.returncode == 1
    assert refused.stderr == "BROKER_UI is 'nonsense'; it may be auto, require or skip.\n"


def test_without_a_compiler_nothing_is_built_where_it_must_be_compiled(tmp_path: Path) -> None:
    refused = build(tmp_path, CC=NO_COMPILER, BROKER_BUILD="compiled")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("TrioMQ cannot be compiled: there is no C compiler '/nowhere/cc'. Install one ")
    assert not list(tmp_path.iterdir())


def test_headers_of_python_are_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", sys.executable)  # which is a program that is there
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    problem = hatch_build.missing()
    assert problem is not None
    assert problem.startswith(f"there is no {tmp_path}/Python.h. Install Python's headers (Debian: apt install python3")
    (tmp_path / "Python.h").touch()
    assert hatch_build.missing() is None
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    assert hatch_build.missing() == "mypyc compiles for CPython and this is pypy."


def test_the_compiler_is_what_cc_names_or_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "ccache gcc")
    assert hatch_build.compiler() == "ccache gcc"
    monkeypatch.delenv("CC")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: f"{sys.executable} -pthread")
    assert hatch_build.compiler() == f"{sys.executable} -pthread"
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: f"{NO_COMPILER} -pthread")
    assert hatch_build.compiler() == "cc"


@pytest.mark.parametrize("choice", ["auto", "compiled", ""])
def test_what_was_compiled_goes_into_the_wheel(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    monkeypatch.setattr(hatch_build, "missing", lambda: None)
    hook = Hook(monkeypatch, choice)
    assert hook.hook.dependencies() == hatch_build.REQUIREMENTS
    assert hook.run()


@pytest.mark.parametrize("choice", ["auto", "compiled", "plain"])
def test_an_editable_install_is_never_compiled(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    monkeypatch.setattr(hatch_build, "missing", lambda: None)
    assert not Hook(monkeypatch, choice).run("editable")


def test_a_plain_build_needs_no_compiler_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hatch_build, "missing", lambda: None)
    hook = Hook(monkeypatch, "plain")
    assert hook.hook.dependencies() == []
    assert not hook.run()
    assert hook.folder is None
    monkeypatch.setattr(hatch_build, "missing", lambda: "no compiler")
    assert Hook(monkeypatch, "auto").hook.dependencies() == []


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(hatch_build, "missing", lambda: None)
    assert not Hook(monkeypatch, "auto", "error: line 7").run()
    assert capfd.readouterr().err == (
        "TrioMQ is built plain, not compiled, and works, but slower: "
        "the compiler failed; BROKER_BUILD=compiled makes the build stop and show why.\n"
    )
    with pytest.raises(SystemExit, match="1"):
        Hook(monkeypatch, "compiled", "error: line 7").run()
    assert capfd.readouterr().err == "TrioMQ cannot be compiled: the compiler failed.\nerror: line 7\n"


# -- What is kept from one build to the next


def test_extension_modules_are_kept_of_the_last_build_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    work, cache = tmp_path / "work", tmp_path / "cache"
    names = [f"library{EXTENSION}", f"broker/core/session{EXTENSION}"]
    for name in [*names, "broker/core/session.py"]:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    monkeypatch.chdir(work)
    for key in ("before", "now"):
        hatch_build.keep(cache / key)
    kept = {path.relative_to(cache).as_posix(): path.read_text() for path in cache.rglob("*") if path.is_file()}
    assert kept == {f"now/{name}": name for name in names}


@pytest.mark.parametrize(
    ("given", "wanted"), [("", []), ("-g -fno-plt", []), ("-O1", ["-O1"]), ("-O3 -g '-DA=a b' -Os", ["-Os"])]
)
def test_a_level_of_optimisation_can_be_wished_for(
    monkeypatch: pytest.MonkeyPatch, given: str, wanted: list[str]
) -> None:
    monkeypatch.setenv("CFLAGS", given)
    assert hatch_build.wanted_level() == wanted


def test_the_key_is_of_all_that_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "build" / "broker" / "module.c"
    source.parent.mkdir(parents=True)
    source.write_text("1")
    first = hatch_build.fingerprint(["-O3"])
    assert hatch_build.fingerprint(["-O3"]) == first
    assert hatch_build.fingerprint(["-O2"]) != first
    source.write_text("2")
    second = hatch_build.fingerprint(["-O3"])
    assert second != first
    monkeypatch.setenv("CC", "another")
    assert hatch_build.fingerprint(["-O3"]) != second


# -- What is compiled


def test_each_pattern_finds_modules() -> None:
    for pattern in (*hatch_build.COMPILED, *hatch_build.NOT_COMPILED):
        assert list(ROOT.glob(pattern)), pattern
    assert "broker/core/session.py" in COMPILED
    assert not set(hatch_build.NOT_COMPILED) & set(COMPILED)


def test_processes_run_the_build_that_is_tested(tmp_path: Path) -> None:
    code = "import broker.packets.decode as module; print(module.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    spec = find_spec("broker.packets.decode")
    assert spec is not None
    assert done.stdout == f"{spec.origin}\n"
    assert done.stdout.endswith(f"{EXTENSION}\n" if BUILD == "compiled" else ".py\n")


@pytest.mark.build("compiled")
@pytest.mark.parametrize("path", COMPILED)
def test_each_module_is_compiled(path: str) -> None:
    spec = find_spec(path.removesuffix(".py").replace("/", "."))
    assert spec is not None
    assert spec.origin is not None
    assert spec.origin.endswith(path.removesuffix(".py") + EXTENSION)
    source = Path(spec.origin.removesuffix(EXTENSION) + ".py")
    assert source.read_text() == (ROOT / path).read_text(), "the wheel is older than the source; make builds it anew"


@pytest.mark.build("compiled")
def test_a_compiled_wheel_is_for_this_python_and_platform() -> None:
    folder = Path(broker.__file__).parents[1]
    assert [path.name for path in folder.glob("*.so")] == [f"triomq__mypyc{EXTENSION}"]
    assert len(list((folder / "broker").rglob("*.so"))) == len(COMPILED)
    lines = (folder / f"triomq-{broker.__version__}.dist-info/WHEEL").read_text().splitlines()
    assert "Root-Is-Purelib: false" in lines
    (tag,) = [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert tag.startswith(f"{python}-{python}-")
    assert not tag.endswith("-any")
