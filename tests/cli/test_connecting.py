from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from broker.cli.connecting import NEVER, Target, WillOptions, connection_options, split_url, target
from broker.client import Tls

if TYPE_CHECKING:
    from pathlib import Path


NO_ENVIRONMENT: dict[str, str | None] = {"BROKER_URL": None, "BROKER_USERNAME": None, "BROKER_PASSWORD": None}


def parse(*words: str, environment: dict[str, str | None] | None = None) -> Target:
    found: list[Target] = []

    @click.command()
    @connection_options
    def command(quiet: bool, **options: Any) -> None:
        found.append(target(**options))

    result = CliRunner().invoke(command, words, env=NO_ENVIRONMENT | (environment or {}))
    if result.exit_code:
        raise ValueError(result.output)
    return found[0]


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("", "mqtt://127.0.0.1:1883"),
        ("-h broker.example", "mqtt://broker.example:1883"),
        ("-h ::1 -p 21883", "mqtt://[::1]:21883"),
        ("-p 21883", "mqtt://127.0.0.1:21883"),
        ("--unix /run/broker.sock", "unix:/run/broker.sock"),
        ("-L mqtt://h", "mqtt://h:1883"),
        ("-L MQTT://h:7/", "mqtt://h:7"),
        ("-L ws://h", "ws://h:80/mqtt"),
        ("-L ws://h:8080/", "ws://h:8080/"),
        ("-L ws://h:8080/a/b?token=1", "ws://h:8080/a/b?token=1"),
        ("-L mqtt://[::1]:7", "mqtt://[::1]:7"),
        ("-L mqtt://[::1]", "mqtt://[::1]:1883"),
        ("-L unix:///run/b.sock", "unix:/run/b.sock"),
        ("-L mqtts://h", "mqtts://h:8883"),
        ("-L mqtts://h:7/a/b", "mqtts://h:7"),
        ("-L wss://h", "wss://h:443/mqtt"),
        ("-L WSS://h:7/a?b", "wss://h:7/a?b"),
        ("-h h -p 8883", "mqtts://h:8883"),
        ("-h h --insecure", "mqtts://h:8883"),
        (f"-p 7 --cafile {__file__}", "mqtts://127.0.0.1:7"),
    ],
)
def test_where(words: str, url: str) -> None:
    assert parse(*words.split()).url == url


def test_what_is_said_of_tls(tmp_path: Path) -> None:
    assert parse("-L", "mqtts://h").tls is None
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    one, two, three = (tmp_path / name for name in "abc")
    for path in (one, two, three):
        path.touch()
    words = ["--cafile", one, "--cert", two, "--key", three, "--key-password-file", secret]
    found = parse("-L", "wss://h", *map(str, words))
    assert found.tls == Tls(ca_file=one, certificate=two, key=three, key_password="s3cret")
    assert parse("-p", "8883", "--insecure").tls == Tls(insecure=True)


def test_a_url_may_name_user_password_and_topic() -> None:
    assert split_url("mqtt://u%40x:p%3Aw@h:7/a/+/b#") == ("mqtt://h:7", "a/+/b#", "u@x", "p:w")
    assert split_url("mqtt://u@h//lead") == ("mqtt://h:1883", "/lead", "u", None)
    found = parse("-L", "mqtt://u:p@h/t", "-u", "other")
    assert (found.user_name, found.password, found.topic) == ("other", "p", "t")


def test_the_environment_names_a_url_when_nothing_else_does() -> None:
    environment: dict[str, str | None] = {"BROKER_URL": "ws://elsewhere:81/x"}
    assert parse(environment=environment).url == "ws://elsewhere:81/x"
    assert parse("-p", "7", environment=environment).url == "mqtt://127.0.0.1:7"
    assert parse("-L", "mqtt://h", environment=environment).url == "mqtt://h:1883"


def test_the_environment_may_hold_user_name_and_password() -> None:
    environment: dict[str, str | None] = {"BROKER_USERNAME": "me", "BROKER_PASSWORD": "secret"}
    found = parse(environment=environment)
    assert (found.user_name, found.password) == ("me", "secret")
    found = parse("-u", "you", "-P", "other", environment=environment)
    assert (found.user_name, found.password) == ("you", "other")


@pytest.mark.parametrize(
    ("spelling", "version"),
    [("mqttv5", 5), ("5", 5), ("5.0", 5), ("mqttv311", 4), ("3.1.1", 4), ("311", 4), ("mqttv31", 3), ("3.1", 3)],
)
def test_every_spelling_of_a_version(spelling: str, version: int) -> None:
    assert parse("-V", spelling).version == version


def test_sessions_identifiers_and_wills() -> None:
    assert parse() == Target(url="mqtt://127.0.0.1:1883")
    kept = parse("-c", "-i", "me", "-k", "5")
    assert (kept.client_identifier, kept.clean_start, kept.session_expiry_interval) == ("me", False, NEVER)
    assert kept.keep_alive == 5
    assert parse("-c", "-i", "me", "-x", "60").session_expiry_interval == 60
    assert parse("-x", "-1").session_expiry_interval == NEVER
    assert parse("-I", "me-").client_identifier == f"me-{os.getpid()}"
    will = parse("--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain").will
    assert will == WillOptions(topic="w", payload=b"gone", qos=1, retain=True)


@pytest.mark.parametrize("option", ["-L", "-h", "--unix"])
def test_an_unset_variable_is_no_default(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is empty: say where to connect, or leave it out"):
        parse(option, " ")


def test_a_password_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="it is no text in UTF-8"):
        parse("--password-file", str(file))


def test_a_password_out_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    assert parse("-u", "me", "--password-file", str(file)).password == "s3cret"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("-L mqtt://h -p 7", "-L and -h each say where to connect"),
        ("--unix /x -h h", "-h and --unix each say where to connect"),
        ("-L http://h", "begins with none of mqtt://"),
        ("-L h:1883", "begins with none of mqtt://"),
        ("-L mqtt://h --insecure", "Options of TLS were given, and mqtt://h:1883 is without it: say mqtts://."),
        ("-L ws://h --insecure", "ws://h:80/mqtt is without it: say wss://."),
        ("--unix /x --insecure", "unix:/x is without it"),
        ("--cafile /nowhere/at/all", "does not exist"),
        (f"--key {__file__}", "--key is of no use without its certificate: --cert."),
        (f"--key-password-file {__file__}", "is of no use without --cert and --key"),
        ("-L mqtt://h:port", "'port' in 'mqtt://h:port' is no port"),
        ("-L mqtt://h:70000", "is no port"),
        ("-L mqtt://:7", "names no host"),
        ("-L unix:", "names no socket"),
        ("-p 0", "0 is not in the range"),
        ("-V 6", "'6' is none of 5, 3.1.1 and 3.1"),
        ("-x soon", "'soon' is neither -1 nor a number of seconds"),
        ("-c", "give one with -i"),
        ("-i a -I b", "-i and -I each give a Client Identifier"),
        ("--will-payload x", "A Will Message needs a topic"),
        ("--will-retain", "A Will Message needs a topic"),
        ("--password-file /nowhere/at/all", "does not exist"),
        ("--will-qos 3", "3 is not in the range"),
    ],
)
def test_contradictions_are_usage_errors(words: str, fault: str) -> None:
    with pytest.raises(ValueError, match="Error") as caught:
        parse(*words.split())
    assert fault in " ".join(str(caught.value).split())
