"""The inputs that fuzzing begins with: every byte table of these tests, each with the settings that it is for.

What fuzzing itself has thought of, and what it has found, stands in `corpus/`, a file a target: one input a line,
written like the inside of a bytes literal of Python.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.hostile import table_first, table_frames, table_http, table_packets, table_proxy
from tests.packets import faults
from tests.packets.table import CASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER: Final = Path(__file__).parent / "corpus"
LONGEST: Final = 4096  # bytes of a seed

TARGETS: Final = (
    "packets",
    "frames",
    "http",
    "proxy",
    "stack",
    "topics",
    "patterns",
    "passwords",
    "configuration",
)
MODES: Final = {0: 0, 3: 1, 4: 2, 5: 3}  # of `packets`, by version
CUT: Final = b"\x05"


def target_of(name: str) -> Callable[[bytes], None]:
    """The function of `tests/fuzz/NAME_target.py`: it takes any bytes and returns; whatever it raises is a find."""
    found: Callable[[bytes], None] = import_module(f"tests.fuzz.{name}_target").target
    return found


def kept(target: str) -> list[bytes]:
    """The lines of the file in `corpus/`."""
    return [read_line(line) for line in (FOLDER / f"{target}.txt").read_text("ascii").splitlines()]


def read_line(line: str) -> bytes:
    value = ast.literal_eval(f'b"{line}"')
    assert isinstance(value, bytes)
    return value


def written_line(data: bytes) -> str:
    """As `read_line` reads it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" if byte != 10 else "\\n"
        for byte in data
    )


def seeds(target: str) -> list[bytes]:
    """What the tables have for it, and what is kept; long ones are left to the tables' own tests."""
    tables = TABLES.get(target)
    found = [*(tables() if tables is not None else ()), *kept(target)]
    return list(dict.fromkeys(seed for seed in found if len(seed) <= LONGEST))


def packets() -> Iterator[bytes]:
    for case in CASES:
        yield bytes((MODES[case.version] | (not case.server) << 2,)) + CUT + case.data
    for value in vars(faults).values():
        if isinstance(value, list):
            for fault in value:
                yield bytes((MODES[fault.version] | (not fault.server) << 2,)) + CUT + fault.data


def frames() -> Iterator[bytes]:
    for row in table_frames.TABLE:
        for mode in (b"\x60", b"\x62", b"\x66"):  # as a stream, in messages, compressed
            yield mode + CUT + row.data


def http() -> Iterator[bytes]:
    for row in table_http.TABLE:
        yield b"\x10" + CUT + row.data


def proxy() -> Iterator[bytes]:
    for row in table_proxy.TABLE:
        yield CUT + row.data + b"\x10rest"


def stack() -> Iterator[bytes]:
    for row in table_packets.TABLE:
        version = max(row.data)
        yield bytes((MODES[version] << 6,)) + CUT + row.data[version]
    for first in table_first.TABLE:
        yield b"\x02" + CUT + first.data
    for head in table_http.TABLE:
        yield b"\x0a" + CUT + head.data
    for frame in table_frames.TABLE:
        yield b"\xc3" + CUT + frame.data
    for header in table_proxy.TABLE:
        yield b"\x06" + CUT + header.data


TABLES: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "packets": packets,
    "frames": frames,
    "http": http,
    "proxy": proxy,
    "stack": stack,
}
