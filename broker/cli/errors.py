"""The ways in which a command may fail, each with its exit code."""

from __future__ import annotations

from typing import Final

import click

FAILURE: Final = 1
USAGE: Final = 2
CANNOT_CONNECT: Final = 4
REFUSED: Final = 5
STORE_FAILED: Final = 74  # EX_IOERR of sysexits.h
TIME_IS_UP: Final = 27  # `sub -W`, as mosquitto_sub


class Failure(click.ClickException):
    """Something went wrong that is no mistake in the command line."""

    exit_code = FAILURE


class ConfigurationMistake(click.ClickException):
    """The configuration cannot be used; the message names every mistake."""

    exit_code = USAGE


class CannotConnect(click.ClickException):
    """Nobody answered, or not in MQTT."""

    exit_code = CANNOT_CONNECT


class Refused(click.ClickException):
    """The broker answered and said no; the message holds its Reason Code in words."""

    exit_code = REFUSED


class StoreLost(click.ClickException):
    """The disk failed under a running broker; nothing that had not reached it was acknowledged."""

    exit_code = STORE_FAILED
