"""What is said where it went wrong."""

from __future__ import annotations

import errno
import ssl

from broker.bench.engine.words import in_words, refusal
from broker.packets.reasons import ReasonCode


def test_a_reason_that_has_no_advice_is_told_all_the_same() -> None:
    assert str(refusal("this", ReasonCode.BANNED, "bye")) == "the broker refused this: 0x8A banned: bye"


def test_what_happened_to_a_socket() -> None:
    assert in_words(ConnectionResetError(errno.ECONNRESET, "whatever")) == "Connection reset by peer"
    assert in_words(OSError("no number")) == "Success"
    error = ssl.SSLError(1, "[SSL: X] x")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert in_words(error) == "the Server wants a certificate of ours: --cert and --key (certificate, key)"
