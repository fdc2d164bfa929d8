from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.cli import errors

if TYPE_CHECKING:
    import click


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.Failure, 1),
        (errors.ConfigurationMistake, 2),
        (errors.CannotConnect, 4),
        (errors.Refused, 5),
        (errors.StoreLost, 74),
    ],
)
def test_each_kind_has_its_exit_code(kind: type[click.ClickException], code: int) -> None:
    assert kind("why").exit_code == code
    assert kind("why").format_message() == "why"
