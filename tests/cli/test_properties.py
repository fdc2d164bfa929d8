from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from broker.cli.properties import Command, add, gather

if TYPE_CHECKING:
    from broker.packets.types import Properties


@click.command(cls=Command)
@click.option("-m", "--message")
@click.option("-q", "--qos")
@click.option("-r", "--retain", is_flag=True)
@click.pass_obj
def say(properties: dict[str, Properties], message: str | None, qos: str | None, retain: bool) -> None:
    click.echo(f"{message} {qos} {retain}")
    for packet, given in properties.items():
        click.echo(f"{packet} {given!r}")


def test_properties_are_taken_out_of_the_command_line() -> None:
    words = "-m x -D publish content-type text/plain -rq 1 --property publish user-property k v"
    result = CliRunner().invoke(say, [*words.split(), "-D", "connect", "receive-maximum", "7"])
    assert result.output.splitlines() == [
        "x 1 True",
        "publish Properties(content_type='text/plain', user_properties=[('k', 'v')])",
        "connect Properties(receive_maximum=7)",
    ]


@pytest.mark.parametrize(
    ("args", "rest"),
    [
        (["-m", "-D"], ["-m", "-D"]),
        (["--message", "-D", "-r"], ["--message", "-D", "-r"]),
        (["-rm", "-D", "-r"], ["-rm", "-D", "-r"]),
        (["-mD", "-r"], ["-mD", "-r"]),
        (["--message=x", "-r"], ["--message=x", "-r"]),
        (["--", "-D", "publish"], ["--", "-D", "publish"]),
    ],
)
def test_a_value_that_reads_like_the_option_stays_a_value(args: list[str], rest: list[str]) -> None:
    assert gather(say, args) == (rest, [])


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("bogus content-type x", "-D begins with one of connect"),
        ("", "-D begins with one of connect"),
        ("publish", "a property name and a value must follow"),
        ("publish bogus x", "no property 'bogus' there; there are content-type"),
        ("publish receive-maximum 3", "no property 'receive-maximum' there"),
        ("publish content-type", "a value must follow"),
        ("publish user-property k", "a name and a value must follow"),
        ("connect receive-maximum 0", "no whole number from 1 to 65535"),
        ("publish topic-alias 0", "no whole number from 1 to 65535"),
        ("connect request-problem-information 2", "no whole number from 0 to 1"),
        ("connect receive-maximum many", "no whole number from 1 to 65535"),
        ("publish payload-format-indicator 2", "no whole number from 0 to 1"),
    ],
)
def test_mistakes_are_usage_errors_that_say_what_is_right(words: str, fault: str) -> None:
    result = CliRunner().invoke(say, ["-D", *words.split()])
    assert result.exit_code == 2
    assert fault in " ".join(result.output.split())


def test_every_type_of_property() -> None:
    properties: dict[str, Properties] = {}
    add(properties, "will", "correlation-data", "abc")
    add(properties, "will", "will-delay-interval", "5")
    add(properties, "will", "response-topic", "r/t")
    add(properties, "connect", "topic-alias-maximum", "12")
    assert properties["will"].correlation_data == b"abc"
    assert properties["will"].will_delay_interval == 5
    assert properties["will"].response_topic == "r/t"
    assert properties["connect"].topic_alias_maximum == 12
    for name in ("receive-maximum", "maximum-packet-size", "session-expiry-interval"):
        add(properties, "connect", name, "7")
    for name in ("request-problem-information", "request-response-information"):
        add(properties, "connect", name, "1")
    connect = properties["connect"]
    assert (connect.receive_maximum, connect.maximum_packet_size, connect.session_expiry_interval) == (7, 7, 7)
    assert (connect.request_problem_information, connect.request_response_information) == (1, 1)
    add(properties, "publish", "topic-alias", "3")
    assert properties["publish"].topic_alias == 3


def test_help_tells_of_them() -> None:
    output = CliRunner().invoke(say, ["--help"]).output
    assert "-D, --property PACKET NAME VALUE" in output
