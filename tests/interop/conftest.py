"""One broker a test module, and the programs that talk to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop import brokers, tools

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.RunningBroker]:
    """`broker serve`, shared by the tests of a module, which keep apart by their topics and Client Identifiers."""
    with brokers.served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.RunningBroker]:
    """Debian's Mosquitto, shared by the tests of a module."""
    program = tools.program("mosquitto", "mosquitto")
    with brokers.mosquitto(tmp_path_factory.mktemp("mosquitto"), program) as running:
        yield running


@pytest.fixture(params=["tcp", "ws"])
def door(request: pytest.FixtureRequest, served: brokers.RunningBroker) -> brokers.Door:
    """Each way into our broker in turn."""
    return served.doors[request.param]


@pytest.fixture
def root(request: pytest.FixtureRequest) -> str:
    """A topic of this test's own, below which it publishes; usable as a Client Identifier too."""
    return "".join(character if character.isalnum() else "-" for character in request.node.name)
