"""One target under Atheris, in a process of its own: `python -m tests.fuzz.one TARGET [options of libFuzzer] FOLDER`.

Only what is imported in the block below is instrumented, so nothing of the broker is imported before.
"""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    with atheris.instrument_imports(include=["broker"], enable_loader_override=False):
        from tests.fuzz.seeds import TARGETS
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
