"""The floors of the house (docs/architecture.md): an import goes down, or stays in its own folder.

Every import counts: at the top, inside a function, and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.build("plain")  # it reads files and runs nothing of the broker

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = sorted((ROOT / "broker").rglob("*.py"))

EVERYTHING: Final = frozenset(
    {"packets", "websocket", "core", "transport", "store", "auth", "cluster", "web", "client", "cli"}
    | {"bench", "probe", "simulation"}
    | {"access", "config", "reloading", "server", "site", "testing"}
)
BELOW_FLOOR_3: Final = frozenset({"packets", "websocket", "core", "transport"})

# folder or module directly under broker/ -> what of broker it may import beside itself
FLOORS: Final[dict[str, frozenset[str]]] = {
    # floor 0
    "packets": frozenset(),
    "websocket": frozenset(),
    # floor 1
    "core": frozenset({"packets"}),
    # floor 2
    "transport": frozenset({"packets", "websocket", "core"}),
    # floor 3: siblings do not know each other
    "store": BELOW_FLOOR_3,
    "auth": BELOW_FLOOR_3,
    "cluster": BELOW_FLOOR_3,
    "web": BELOW_FLOOR_3 | {"auth"},
    "client": BELOW_FLOOR_3,
    "bench": BELOW_FLOOR_3 | {"client"},
    "probe": BELOW_FLOOR_3 | {"client"},
    "simulation": BELOW_FLOOR_3 | {"client"},
    # the roof
    "config": frozenset({"core"}),
    "access": frozenset({"packets", "core", "transport", "auth", "config"}),
    "site": frozenset({"packets", "auth", "web", "config", "access", "server"}),
    "reloading": frozenset({"auth", "transport", "web", "config", "server"}),
    "server": EVERYTHING - {"cli", "testing"} | {"__init__"},
    "testing": EVERYTHING - {"cli"} | {"__init__"},
    "cli": EVERYTHING | {"__init__"},
    "__init__": EVERYTHING,
    "__main__": frozenset({"cli"}),
}

# what of the outside a folder may import beside the standard library
LIBRARIES: Final[dict[str, frozenset[str]]] = {
    "packets": frozenset(),
    "websocket": frozenset({"websockets", "h11"}),
    "core": frozenset(),
    "transport": frozenset({"trio"}),
    "store": frozenset({"apsw", "msgpack"}),
    "auth": frozenset({"trio", "argon2", "scramp", "jwt", "httpx2", "cryptography"}),
    "web": frozenset({"trio", "h11", "starlette", "prometheus_client"}),
}

# no clock, no log, no operating system: time comes in as an argument, and what happens goes out as a value
PURE: Final = ("broker/packets/", "broker/core/", "broker/websocket/frames.py")
IMPURE: Final = frozenset(
    {"asyncio", "datetime", "logging", "os", "pathlib", "select", "selectors", "signal", "socket", "ssl", "subprocess"}
    | {"threading", "time", "trio"}
)
LET_THROUGH: Final[dict[tuple[str, str], str]] = {
    ("broker/websocket/frames.py", "os"): "os.urandom: a masking key must be unpredictable (RFC 6455 section 5.3)",
}
LINES: Final = 600


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def owner(path: str) -> str:
    """The folder or module directly under broker/ that the file at `path` belongs to."""
    return path.removesuffix(".py").split("/")[1]


def imports(source: str, path: str) -> list[tuple[int, str]]:
    """All modules that `source`, the file at `path`, imports: (line, dotted name), relative ones resolved."""
    package = path.removesuffix(".py").split("/")[:-1]
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # `from broker import core` names a folder of ours, so each name counts
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "broker" else [module]
            found += [(node.lineno, one) for one in names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.append((node.lineno, argument.value))
    return found


def faults(source: str, path: str) -> list[str]:
    """What `source`, as the file at `path`, breaks; one line each."""
    here = owner(path)
    if here not in FLOORS:
        return [f"{path}: {here} has no floor; give it one in {Path(__file__).name}"]
    found: list[str] = []
    for line, module in imports(source, path):
        parts = module.split(".")
        if parts[0] == "broker":
            target = parts[1] if len(parts) > 1 else "__init__"
            if target not in FLOORS:
                target = "__init__"  # a name that broker/__init__.py exports
            if target not in (here, *FLOORS[here]):
                found.append(f"{path}:{line}: {here} must not import {module}")
        elif parts[0] not in sys.stdlib_module_names:
            if here in LIBRARIES and parts[0] not in LIBRARIES[here]:
                found.append(f"{path}:{line}: {here} must not import {module}")
            if parts[0] == "pydantic" and not path.startswith("broker/config/"):
                found.append(f"{path}:{line}: pydantic stays in broker/config")
        if path.startswith(PURE) and parts[0] in IMPURE and (path, module) not in LET_THROUGH:
            found.append(f"{path}:{line}: no {module} here")
    return found


def test_imports_go_down() -> None:
    assert [fault for path in SOURCES for fault in faults(path.read_text("utf-8"), name(path))] == []


def test_files_stay_short() -> None:
    lines = {name(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > LINES} == {}, "move a noun out"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("broker/packets/x.py", "from broker.core.limits import Limits"),
        ("broker/packets/x.py", "import msgpack"),
        ("broker/packets/x.py", "def f():\n    import broker.core"),
        ("broker/packets/x.py", "from ..core import limits"),
        ("broker/packets/x.py", "from broker import core"),
        ("broker/packets/x.py", "from broker import serve"),
        ("broker/packets/x.py", "import time"),
        ("broker/websocket/frames.py", "from time import monotonic"),
        ("broker/websocket/handshake.py", "import trio"),
        (
            "broker/core/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from broker.transport.link import Link",
        ),
        ("broker/core/x.py", "import logging"),
        ("broker/core/x.py", "from broker.websocket import frames"),
        ("broker/transport/x.py", "from broker.auth.passwords import check"),
        ("broker/transport/x.py", "from broker.config import Config"),
        ("broker/store/x.py", "import broker.client.client"),
        ("broker/client/x.py", "import importlib\nimportlib.import_module('broker.server')"),
        ("broker/cli/serve.py", "from pydantic import BaseModel"),
        ("broker/attic/x.py", ""),
    ],
)
def test_a_wrong_import_is_seen(path: str, source: str) -> None:
    assert len(faults(source, path)) >= 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("broker/packets/x.py", "from __future__ import annotations\nfrom broker.packets.types import Publish"),
        ("broker/packets/x.py", "from .types import Publish"),
        ("broker/websocket/handshake.py", "import h11\nimport time"),
        ("broker/core/x.py", "from ..packets import types"),
        ("broker/bench/x.py", "from broker.client import connect"),
        ("broker/config/settings.py", "from pydantic import BaseModel\nfrom broker.core.limits import Limits"),
        ("broker/cli/serve.py", "from broker.server import serve"),
        ("broker/server.py", "import broker.config\nfrom broker import __version__"),
    ],
)
def test_a_right_import_is_let_through(path: str, source: str) -> None:
    assert faults(source, path) == []
