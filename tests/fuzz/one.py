"""One target under Atheris, in a process of its own: `python -m tests.fuzz.one TARGET [options of libFuzzer] FOLDER`.

Only what is imported in the block below is instrumented, so nothing of the broker is imported before.
"""

from __future__ import annotations

import sys
from importlib import import_module

import atheris


def main() -> None:
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["broker"], enable_loader_override=False):
        target = import_module(f"tests.fuzz.{name}_target").target
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
