"""Password files: every line is a user or a mistake, and no mistake shows what stands behind the name."""

from __future__ import annotations

import re
from typing import Final

from broker.auth.hashing import HashMistake, read_hash
from broker.auth.passwords import ScramVerifier, parse

PATH: Final = "users"
SECRET_BYTES: Final = 12  # what is shorter may stand in a message by chance
TOLD: Final = ("scram-sha-256", "m=KIB,t=PASSES,p=LANES", "pbkdf2-sha256", "pbkdf2-sha512")  # parts that are no secret


def target(data: bytes) -> None:
    """Every line is a user or a mistake, and no mistake shows what stands behind the name."""
    users, mistakes = parse(data, PATH)
    lines = data.split(b"\n")
    for name, user in users.items():
        assert user.name == name
        assert not re.search("[\x00-\x1f\x7f-\x9f:]", name)
        assert str(user).encode() == lines[user.line - 1].removesuffix(b"\r")
        assert read_hash(user.hash.text).text == user.hash.text
        assert user.hash.cost
        assert user.hash.text not in repr(user)
        if user.scram is not None:
            assert ScramVerifier.read(user.scram.text).text == user.scram.text
    assert mistakes == sorted(mistakes)
    for mistake in mistakes:
        assert 1 <= mistake.line <= len(lines)
        line = lines[mistake.line - 1].decode("utf-8", "replace")
        assert 1 <= mistake.column <= len(line) + 2
        name, _, rest = line.partition(":")
        for part in rest.split("$"):
            if len(part) >= SECRET_BYTES and part not in name and part in str(mistake):
                assert part.startswith("pbkdf2") or any(part in words for words in TOLD), part
    for text in data.decode("utf-8", "replace").split("\n"):
        try:
            written = read_hash(text).text
        except HashMistake as wrong:
            at = wrong.at
        else:
            at = 0
            assert written == text
        assert 0 <= at <= len(text)
