"""From a Target to a connected Client, and from what can go wrong to an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import asynccontextmanager
from ssl import SSLError
from typing import TYPE_CHECKING, Final

import click
import trio

from broker.cli import errors
from broker.client import (
    CannotConnect,
    Client,
    ClientError,
    ConnectRefused,
    Disconnected,
    PublishRefused,
    SubscribeRefused,
    Will,
    connect,
)
from broker.client.keeper import FINAL_REASONS
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, Properties

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from broker.cli.connecting import Target
    from broker.client import Backoff

# DISCONNECTs that refuse what we are or what we sent
_REFUSALS: Final = FINAL_REASONS - {ReasonCode.SESSION_TAKEN_OVER}

_VERSION_NAMES: Final = {MQTT_3_1: "3.1", MQTT_3_1_1: "3.1.1", MQTT_5_0: "5.0"}


def run(work: Callable[[], Awaitable[int]], *, signals: bool = True, quiet: bool = False) -> None:
    """Run `work` in Trio and leave the command with its exit code, or that of a signal: 130 for Ctrl-C, 143 for TERM.

    A signal cancels `work`, so that Clients disconnect in order and no Will Message is sent; with `signals` false
    `work` sees to them itself. Errors of the Client become click's, with the exit code that fits; `quiet` keeps their
    message to themselves.
    """
    received: list[int] = []

    async def listen(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as numbers:
            task_status.started()
            async for number in numbers:
                received.append(number)
                scope.cancel()

    async def main() -> int:
        if not signals:
            return await work()
        code = errors.FAILURE
        async with trio.open_nursery() as nursery:
            await nursery.start(listen, nursery.cancel_scope)
            code = await work()
            nursery.cancel_scope.cancel()
        return 128 + received[0] if received else code

    code = errors.FAILURE
    failure: click.ClickException | None = None
    unread = False
    try:
        code = trio.run(main)
    except* BrokenPipeError:
        unread = True
    except* (ClientError, click.ClickException) as group:
        error = _first(group)
        failure = error if isinstance(error, click.ClickException) else as_failure(error)
    if unread:  # by whom stdout was for: click ends quietly then, where it sees the error alone
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    if failure is not None and not quiet:
        raise failure
    code = failure.exit_code if failure is not None else code
    if code:
        raise click.exceptions.Exit(code)


def as_failure(error: Exception) -> click.ClickException:
    """The click exception, and so the exit code, that tells an error of the Client."""
    if isinstance(error, CannotConnect):
        return errors.CannotConnect(f"cannot connect: {error}{_cause(error)}")
    if isinstance(error, ConnectRefused):
        return errors.Refused(f"the broker refused the connection: {error}")
    if isinstance(error, PublishRefused):
        return errors.Refused(f"the broker refused the message: {error}")
    if isinstance(error, SubscribeRefused):
        return errors.Refused(f"the broker refused the subscription: {error}")
    if isinstance(error, Disconnected) and error.by_server and error.reason in _REFUSALS:
        return errors.Refused(f"the broker ended the connection: {error}")
    return errors.Failure(f"the connection ended: {error}")


def _cause(error: BaseException) -> str:
    """What the operating system said, which Trio tells as the cause of its own error."""
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if (
            isinstance(cause, OSError)
            and not isinstance(cause, SSLError)
            and cause.errno is not None
            and cause.errno > 0
        ):
            said = os.strerror(cause.errno)
            hint = " Is a broker running there? 'broker serve' starts one." if cause.errno == errno.ECONNREFUSED else ""
            return hint if said in str(error) else f": {said}.{hint}"
        cause = cause.__cause__
    return ""


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


@asynccontextmanager
async def client_of(
    target: Target,
    properties: dict[str, Properties],
    *,
    reconnect: Backoff | None = None,
) -> AsyncIterator[Client]:
    """A connected Client as `target` and the `-D`s of connect and will want it."""
    given = properties.get("connect", Properties())
    expiry = given.session_expiry_interval
    if expiry is None:
        # Where nobody said anything the Client keeps its Session for as long as reconnecting needs
        expiry = target.session_expiry_interval or None
    announced = {
        name: value
        for name in ("receive_maximum", "maximum_packet_size", "topic_alias_maximum")
        if (value := getattr(given, name)) is not None
    }
    will = None
    if target.will is not None:
        of_will = properties.get("will", Properties())
        will = Will(
            target.will.topic,
            target.will.payload,
            qos=target.will.qos,
            retain=target.will.retain,
            delay_interval=of_will.will_delay_interval or 0,
            properties=of_will if target.version == MQTT_5_0 else None,
        )
    try:
        connecting = connect(
            target.url,
            version=_VERSION_NAMES[target.version],
            client_identifier=target.client_identifier,
            clean_start=target.clean_start,
            session_expiry_interval=expiry if target.version == MQTT_5_0 else None,
            keep_alive=target.keep_alive,
            user_name=target.user_name,
            password=target.password,
            will=will,
            tls=target.tls,
            user_properties=given.user_properties,
            request_response_information=given.request_response_information == 1,
            request_problem_information=given.request_problem_information != 0,
            reconnect=reconnect or False,
            **announced,
        )
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    async with connecting as client:
        yield client


def print_error(text: str, *, quiet: bool) -> None:
    """One line on stderr that does not end the program."""
    if not quiet:
        click.echo(text, file=sys.stderr)
