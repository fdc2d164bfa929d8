"""What a CONNACK of 5.0 announces: what differs from the standard's defaults, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from broker.packets.types import Connack, Properties
from tests.core.parts import accept, limits, new_broker, request, said
from tests.statements import statement

QUIET = {"receive_maximum": 65535, "topic_alias_maximum": 0}


def announced(**values: Any) -> Properties:
    connection = accept(new_broker(), limits(**QUIET | values))
    request(connection, "c", request_response_information=1)
    connack = said(connection)[0]
    assert isinstance(connack, Connack)
    return connack.properties


def given(properties: Properties) -> dict[str, Any]:
    plain = Properties()
    names = [name for name in dir(plain) if not name.startswith("_")]
    return {
        name: getattr(properties, name)
        for name in names
        if not callable(getattr(plain, name)) and getattr(properties, name) != getattr(plain, name)
    }


def test_defaults_of_the_standard_are_not_told() -> None:
    assert given(announced()) == {"maximum_packet_size": limits().maximum_packet_size}


@statement("MQTT5-3.2.2-9", "MQTT5-3.2.2-21")
@pytest.mark.parametrize(
    ("limit", "value", "told", "as_"),
    [
        ("receive_maximum", 7, "receive_maximum", 7),
        ("maximum_qos", 1, "maximum_qos", 1),
        ("retain_available", False, "retain_available", 0),
        ("topic_alias_maximum", 5, "topic_alias_maximum", 5),
        ("wildcard_subscription_available", False, "wildcard_subscription_available", 0),
        ("subscription_identifier_available", False, "subscription_identifier_available", 0),
        ("shared_subscription_available", False, "shared_subscription_available", 0),
        ("server_keep_alive_maximum", 60, "server_keep_alive", 60),
        ("response_information", "answers/", "response_information", "answers/"),
    ],
)
def test_what_differs_is_told(limit: str, value: object, told: str, as_: object) -> None:
    found = given(announced(**{limit: value}))
    assert found == {"maximum_packet_size": limits().maximum_packet_size, told: as_}
