"""What went wrong between a Client and the Server, in words, and what can be done about it."""

from __future__ import annotations

import os
import ssl
from typing import Final

from broker.bench.errors import Refused
from broker.packets.reasons import ProtocolError, ReasonCode

_ADVICE: Final = {
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: "choose another version of MQTT",
    ReasonCode.BAD_USER_NAME_OR_PASSWORD: "check user name and password",
    ReasonCode.NOT_AUTHORIZED: "give a user name and password that may do this",
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: "choose another prefix for the Client Identifiers",
    ReasonCode.QUOTA_EXCEEDED: "the broker has a limit; use fewer clients",
    ReasonCode.SERVER_BUSY: "use fewer clients, or let them connect more slowly",
    ReasonCode.SERVER_UNAVAILABLE: "use fewer clients, or let them connect more slowly",
    ReasonCode.CONNECTION_RATE_EXCEEDED: "let them connect more slowly",
}


def refusal(what: str, reason: int, detail: str = "") -> Refused:
    """The error for a Reason Code of 0x80 or more, with what can be done about it."""
    code = ReasonCode(reason)
    advice = _ADVICE.get(code, "")
    return Refused(f"the broker refused {what}: {ProtocolError(code, detail)}{f' ({advice})' if advice else ''}")


def in_words(error: OSError) -> str:
    """What happened to a socket."""
    if not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno or 0)
    from broker.client.tls import explain  # with it comes Trio, which nothing else needs here

    return explain(error)
