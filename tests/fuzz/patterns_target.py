"""Patterns of roles: whatever a Client calls itself, it never becomes syntax."""

from __future__ import annotations

from broker.auth.patterns import Pattern, PatternError, misfit
from broker.packets.topics import valid_topic_filter


def target(data: bytes) -> None:
    """A pattern, a Client Identifier and a user name, a line each: no name becomes syntax."""
    text, client_identifier, user_name = (data.decode("utf-8", "replace") + "\n\n").split("\n")[:3]
    try:
        pattern = Pattern(text)
    except PatternError:
        return
    for deny in (False, True):
        extent, fault = pattern.fill(client_identifier, user_name, deny)
        if extent is None:
            assert fault
            assert not deny
            continue
        assert valid_topic_filter(extent.text)
        assert len(extent.text.split("/")) == len(text.split("/")) or (deny and fault and extent.text[-1] == "#")
        wildcards = [level for level in extent.text.split("/") if level in ("+", "#")]
        written = [level for level in text.split("/") if level in ("+", "#")]
        assert wildcards == written or (deny and fault)
        if not fault and not pattern.personal:
            assert extent.text == text.replace("%%", "%")
        if not fault and "%c" in text.replace("%%", ""):
            assert not misfit(client_identifier)
            assert client_identifier in extent.text
