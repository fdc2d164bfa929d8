"""The file of tokens."""

from __future__ import annotations

import hashlib

import pytest

from broker.web.settings import Settings, TokensError, read_tokens

DIGEST = hashlib.sha256(b"secret").hexdigest()


def test_tokens_are_read() -> None:
    found = read_tokens(f"# for Grafana\n\ngrafana viewer {DIGEST}\n  script\tadmin  {'AB' * 32}  \n")
    assert [(token.name, token.role) for token in found.values()] == [("grafana", "viewer"), ("script", "admin")]
    assert list(found) == [hashlib.sha256(b"secret").digest(), b"\xab" * 32]
    assert read_tokens("") == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("grafana viewer", "a line is"),
        (f"grafana viewer {DIGEST} more", "a line is"),
        (f"grafana root {DIGEST}", "the role is"),
        (f"grafana none {DIGEST}", "the role is"),
        ("grafana viewer secret", "64 hexadecimal digits"),
        (f"grafana viewer {DIGEST[:-1]}", "64 hexadecimal digits"),
        (f"a viewer {DIGEST}\nb admin {DIGEST.upper()}", "already"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(line: str, why: str) -> None:
    with pytest.raises(TokensError, match=rf"line \d: .*{why}") as caught:
        read_tokens(line)
    assert DIGEST not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_a_word_nobody_is_let_in() -> None:
    settings = Settings()
    assert (settings.users, settings.tokens, settings.anonymous, settings.open_here) == ({}, {}, None, False)
