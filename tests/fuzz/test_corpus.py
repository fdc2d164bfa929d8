"""Every input that fuzzing begins with, and every one that it has found, put to its target."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import FOLDER, TARGETS, read_line, seeds, target_of, written_line


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_passes(target: str) -> None:
    found = seeds(target)
    assert len(found) > 20
    for seed in found:
        try:
            target_of(target)(seed)
        except Exception as error:
            error.add_note(f"{target}: {written_line(seed)}")
            raise


def test_every_file_belongs_to_a_target() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{target}.txt" for target in TARGETS}
    for path in FOLDER.iterdir():
        lines = path.read_text("ascii").splitlines()
        assert [written_line(read_line(line)) for line in lines] == lines
        assert len(set(lines)) == len(lines)


def test_a_line_is_what_it_was_written_from() -> None:
    every = bytes(range(256)) * 2
    line = written_line(every)
    assert line.isprintable()
    assert line.isascii()
    assert read_line(line) == every
