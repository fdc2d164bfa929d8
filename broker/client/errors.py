"""What a Client can be told instead of what it asked for; all of them are `ClientError`.

An error carries the Server's own words: its Reason Code in `reason`, its Reason String (5.0 only) in `detail`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping


def reason_code(value: int) -> ReasonCode:
    """`value` as a `ReasonCode`; a code that the standard does not define becomes "Unspecified error"."""
    try:
        return ReasonCode(value)
    except ValueError:
        return ReasonCode.UNSPECIFIED_ERROR


def describe(reason: int, detail: str = "") -> str:
    """ "0x87 not authorized: what the Server said"."""
    text = f"0x{reason:02X} {reason_code(reason).name.replace('_', ' ').lower()}"
    return f"{text}: {detail}" if detail else text


class ClientError(Exception):
    """The base of everything that `broker.client` raises, but ValueError for a wrong argument."""


class CannotConnect(ClientError):
    """No Network Connection came about: unknown host, refused, no CONNACK at the other end, or too slow."""


class ConnectRefused(ClientError):
    """The Server answered CONNECT with a refusal (sections 3.2.2.2 of 5.0 and 3.2.2.3 of 3.1.1)."""

    def __init__(self, reason: ReasonCode, detail: str = "", server_reference: str = "") -> None:
        super().__init__(describe(reason, detail))
        self.reason = reason
        self.detail = detail
        self.server_reference = server_reference


class Disconnected(ClientError):
    """The Network Connection is gone and will not come back.

    `reason` is that of the DISCONNECT: the Server's where `by_server`, our own otherwise; None when it just broke.
    """

    def __init__(
        self, reason: ReasonCode | None, detail: str = "", server_reference: str = "", by_server: bool = False
    ) -> None:
        super().__init__(describe(reason, detail) if reason is not None else detail)
        self.reason = reason
        self.detail = detail
        self.server_reference = server_reference
        self.by_server = by_server


class PublishRefused(ClientError):
    """The Server refused a message, or said in its CONNACK that it would; `reason` is 0x80 or above."""

    def __init__(self, reason: ReasonCode, detail: str = "") -> None:
        super().__init__(describe(reason, detail))
        self.reason = reason
        self.detail = detail


class SubscribeRefused(ClientError):
    """At least one Topic Filter was refused; `reasons` holds the Reason Code of each refused one."""

    def __init__(self, reasons: Mapping[str, ReasonCode], detail: str = "") -> None:
        filters = ", ".join(f"{topic_filter!r} {describe(reason)}" for topic_filter, reason in reasons.items())
        super().__init__(f"{filters}: {detail}" if detail else filters)
        self.reasons = dict(reasons)
        self.detail = detail
