from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace

import click
import pytest
import trio

from broker.cli import errors
from broker.cli.connecting import Target, WillOptions
from broker.cli.running import as_failure, client_of, print_error, run
from broker.client import CannotConnect, ConnectRefused, Disconnected, PublishRefused, SubscribeRefused
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect, Properties


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (CannotConnect("why"), 4, "cannot connect: why"),
        (ConnectRefused(ReasonCode.NOT_AUTHORIZED), 5, "the broker refused the connection: 0x87 not authorized"),
        (PublishRefused(ReasonCode.QUOTA_EXCEEDED, "no room"), 5, "refused the message: 0x97 quota exceeded: no room"),
        (SubscribeRefused({"a": ReasonCode.NOT_AUTHORIZED}), 5, "refused the subscription: 'a' 0x87 not authorized"),
        (Disconnected(ReasonCode.SERVER_SHUTTING_DOWN), 1, "the connection ended: 0x8B server shutting down"),
        (Disconnected(ReasonCode.MALFORMED_PACKET, "x"), 1, "the connection ended: 0x81 malformed packet: x"),
        (
            Disconnected(ReasonCode.SESSION_TAKEN_OVER, by_server=True),
            1,
            "the connection ended: 0x8E session taken over",
        ),
        (
            Disconnected(ReasonCode.TOPIC_FILTER_INVALID, "too deep", by_server=True),
            5,
            "the broker ended the connection: 0x8F topic filter invalid: too deep",
        ),
    ],
)
def test_errors_of_the_client(error: Exception, code: int, text: str) -> None:
    failure = as_failure(error)
    assert failure.exit_code == code
    assert failure.message.endswith(text)
    for group in (error, ExceptionGroup("", [ExceptionGroup("", [error])])):
        with pytest.raises(click.ClickException) as caught:
            run(Raising(group))
        assert caught.value.exit_code == code
        with pytest.raises(click.exceptions.Exit) as left:
            run(Raising(group), quiet=True)
        assert left.value.exit_code == code


class Raising:
    """An asynchronous function that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __call__(self) -> int:
        raise self.error


def test_other_errors_are_bugs_and_stay_what_they_are() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(Raising(KeyError("bug")))
    assert caught.group_contains(KeyError)
    with pytest.raises(KeyError):
        run(Raising(KeyError("bug")), signals=False)


@pytest.mark.parametrize("signals", [True, False])
def test_a_reader_who_left_is_told_of_alone(signals: bool) -> None:
    with pytest.raises(BrokenPipeError):
        run(Raising(BrokenPipeError()), signals=signals)


def test_the_exit_code_of_the_work() -> None:
    async def work() -> int:
        return 27

    async def well() -> int:
        return 0

    with pytest.raises(click.exceptions.Exit) as left:
        run(work)
    assert left.value.exit_code == 27
    run(well)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_work(number: int, code: int) -> None:
    cleaned: list[bool] = []

    async def work() -> int:
        os.kill(os.getpid(), number)
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(True)

    with pytest.raises(click.exceptions.Exit) as left:
        run(work)
    assert left.value.exit_code == code
    assert cleaned == [True]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mqtt://127.0.0.1:1", "Connection refused. Is a broker running there? 'broker serve' starts one."),
        ("unix:/nowhere/at/all", "No such file or directory"),
    ],
)
def test_what_the_system_said_is_told(url: str, said: str) -> None:
    async def work() -> int:
        async with client_of(Target(url=url), {}):
            return 0

    with pytest.raises(errors.CannotConnect) as caught:
        run(work)
    assert said in caught.value.message


def test_a_target_becomes_a_connect_packet() -> None:
    target = Target(
        url="",
        user_name="me",
        password="secret",
        client_identifier="id",
        keep_alive=7,
        clean_start=False,
        session_expiry_interval=90,
        will=WillOptions(topic="w", payload=b"gone", qos=1, retain=True),
    )
    given = {"connect": Properties(), "will": Properties()}
    given["connect"].receive_maximum = 9
    given["connect"].maximum_packet_size = 4000
    given["connect"].topic_alias_maximum = 5
    given["connect"].request_problem_information = 0
    given["connect"].request_response_information = 1
    given["connect"].user_properties = [("k", "v")]
    given["will"].will_delay_interval = 3
    received: list[bytes] = []

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        async def accept() -> None:
            accepted, _ = await trio.socket.from_stdlib_socket(listening).accept()
            received.append(await accepted.recv(4096))
            accepted.close()

        async def work() -> int:
            port = listening.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                async with client_of(replace(target, url=f"mqtt://127.0.0.1:{port}"), given):
                    return 0

        with pytest.raises(errors.CannotConnect):
            run(work)

    (packet,) = Decoder(DecoderLimits()).feed(received[0])
    assert isinstance(packet, Connect)
    assert (packet.user_name, packet.password, packet.client_identifier) == ("me", b"secret", "id")
    assert (packet.keep_alive, packet.clean_start) == (7, False)
    assert packet.properties.session_expiry_interval == 90
    assert packet.properties.receive_maximum == 9
    assert packet.properties.maximum_packet_size == 4000
    assert packet.properties.topic_alias_maximum == 5
    assert packet.properties.request_problem_information == 0
    assert packet.properties.request_response_information == 1
    assert packet.properties.user_properties == [("k", "v")]
    assert packet.will is not None
    assert (packet.will.topic, packet.will.payload, packet.will.qos, packet.will.retain) == ("w", b"gone", 1, True)
    assert packet.will.delay_interval == 3


def test_an_error_that_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("a line", quiet=False)
    print_error("another", quiet=True)
    assert capsys.readouterr() == ("", "a line\n")
