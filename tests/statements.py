"""`@statement("MQTT5-3.3.1-12", "MQTT311-3.3.1-12")` says which normative statements a test proves.

Spelling: `MQTT5-` and `MQTT311-` before the number of a statement of MQTT 5.0 and 3.1.1, `RFC6455-` before a section
of RFC 6455. All that may be cited stand in `tests/conformance/statements.py`; `tests/conformance` reads the
decorators out of the source and makes `docs/conformance.md` from them, so the ids must be written as literals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])


def statement(*ids: str) -> Callable[[Test], Test]:
    """Mark a test function as a proof of the statements `ids`; may be stacked."""
    if not ids:
        raise ValueError("name at least one statement")

    def mark(test: Test) -> Test:
        marked: Test = pytest.mark.statement(*ids)(test)
        return marked

    return mark
