"""Why a run did not come about; what goes wrong once it runs is counted in `Measured` instead."""

from __future__ import annotations


class BenchError(Exception):
    """A run that could not be made; its text is for the user and names the remedy where there is one."""


class CannotConnect(BenchError):
    """No Network Connection, or no MQTT at its other end."""


class Refused(BenchError):
    """The Server answered and said no: to the upgrade, to CONNECT, to SUBSCRIBE, or to what the run needs."""
