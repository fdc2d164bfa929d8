"""What the documentation points at is there, and the tour of the house leaves no room out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.build("plain")  # it reads files and runs nothing of the broker

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TOUR: Final = (ROOT / "docs" / "architecture.md").read_text("utf-8")

FLOORS_0_TO_2: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("packets", "websocket", "core", "transport")
    for path in (ROOT / "broker" / folder).glob("*.py")
    if path.name != "__init__.py"
)
BUILT: Final = {"broker/dashboard/static"}  # it is there once the page has been built
BY_THE_WAY: Final = {"broker/websocket/mask.py"}  # frames.py leads there


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_are_there(page: Path) -> None:
    paths = re.findall(r"`((?:broker|tests|docs|config)/[\w./-]*)`", page.read_text("utf-8"))
    assert [path for path in paths if path.rstrip("/") not in BUILT and not (ROOT / path).exists()] == []


def test_the_tour_shows_every_file_of_the_lower_floors() -> None:
    assert [path for path in FLOORS_0_TO_2 if f"`{path}`" not in TOUR and path not in BY_THE_WAY] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(
        r"^(\d+)\. \[.*\]\((\d{4})-[\w-]+\.md\)$", (folder / "README.md").read_text("utf-8"), re.MULTILINE
    )
    numbers = [int(path.name[:4]) for path in sorted(folder.glob("0*.md"))]
    assert [int(place) for place, _ in listed] == [int(number) for _, number in listed] == numbers
    assert numbers == list(range(1, len(numbers) + 1))
