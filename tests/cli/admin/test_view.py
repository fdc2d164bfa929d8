"""What `broker top` shows, and what keys do."""

from __future__ import annotations

import pytest

from broker.cli.admin.view import FOOT, HEAD, LONGEST, View


def overview(now: float = 1.0) -> dict[str, object]:
    return {"version": "1", "now": now, "started": 0.0}


def item(name: str, **more: object) -> dict[str, object]:
    return {"client_identifier": name, "connected": True, "address": "127.0.0.1:50000", "transport": "tcp"} | more


def viewing(*names: str, total: int | None = None, rows: int = 3) -> View:
    view = View("http://h:1")
    view.resize(rows + HEAD + FOOT)
    view.take(view.query(), overview(), len(names) if total is None else total, [item(name) for name in names])
    return view


def pressed(view: View, *keys: str) -> str:
    """What the last of the keys is to do."""
    done = ""
    for key in keys:
        done = view.press(key)
    return done


def foot(view: View) -> str:
    return view.screen(80, 24)[-1].text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (20, 5), (1, 1), (80, 2)])
def test_a_screen_has_as_many_lines_as_the_terminal(width: int, height: int) -> None:
    view = viewing("a", "b")
    for keys in ((), ("k",), ("n", "/", "x"), ("escape", "t"), ("t", "?")):
        pressed(view, *keys)
        assert len(view.screen(width, height)) <= max(1, height)
    view.press("x")
    assert len(view.screen(width, height)) == height


def test_the_chosen_line_stands_out_and_moves() -> None:
    view = viewing("a", "b", "c")

    def chosen() -> list[str]:
        return [line.text.split()[0] for line in view.screen(80, 24) if "cyan" in line.style]

    assert chosen() == ["a"]
    assert pressed(view, "down", "down", "down") == ""
    assert chosen() == ["c"]
    view.press("up")
    assert chosen() == ["b"]
    view.press("home")
    assert chosen() == ["a"]


def test_the_window_follows_and_comes_back() -> None:
    view = viewing("a", "b", "c", total=8)
    assert pressed(view, "down", "down") == ""
    assert view.press("down") == "ask"
    assert view.query().given["offset"] == 1
    assert view.press("pgdn") == "ask"
    assert view.query().given["offset"] == 4
    assert view.press("pgdn") == "ask"
    assert view.press("pgdn") == ""
    assert view.query().given["offset"] == 5
    assert view.press("home") == "ask"
    assert view.query().given["offset"] == 0


def test_a_window_behind_the_end_is_asked_for_again() -> None:
    view = viewing("a", "b", "c", total=8)
    pressed(view, "pgdn", "pgdn")
    assert view.take(view.query(), overview(), 4, [])
    assert view.query().given["offset"] == 1
    assert not view.take(view.query(), overview(), 4, [item("b")])


def test_an_answer_to_another_question_is_not_shown() -> None:
    view = viewing("a")
    query = view.query()
    view.press("s")
    assert view.take(query, overview(2.0), 1, [item("old")])
    assert view.items == []


def test_sorting() -> None:
    view = viewing("a")
    assert view.query().given["sort"] == "-queue_messages"
    assert view.press("s") == "ask"
    assert view.query().given["sort"] == "-subscriptions"
    assert view.press("r") == "ask"
    assert view.query().given["sort"] == "subscriptions"
    assert pressed(view, "s", "s") == "ask"
    assert view.query().given["sort"] == "client_identifier"
    assert "by client identifier ↑" in foot(view)


def test_a_filter_is_typed_taken_and_left() -> None:
    view = viewing("a")
    assert pressed(view, "/", "m", "q", "backspace", "7", "up") == ""
    assert foot(view).startswith("Filter: m7_")
    assert view.press("enter") == "ask"
    assert view.query().given["filter"] == "m7"
    assert pressed(view, "/", "x", "escape") == ""
    assert view.query().given["filter"] == "m7"
    assert view.press("escape") == "ask"
    assert view.query().given["filter"] is None
    pressed(view, "/", *["x"] * (LONGEST + 5), "enter")
    assert view.text == "x" * LONGEST


def test_a_kick_is_for_whom_it_was_asked_for() -> None:
    view = viewing("a", "b\x1b[2J")
    pressed(view, "down", "k")
    assert foot(view) == "End the connection of b\\x1b[2J? y/N"
    view.take(view.query(), overview(2.0), 2, [item("x"), item("y")])
    assert view.press("y") == "kick"
    assert view.subject == "b\x1b[2J"


@pytest.mark.parametrize("key", ["n", "enter", "q", "k", "escape", " "])
def test_any_key_but_y_kicks_nobody(key: str) -> None:
    view = viewing("a")
    assert pressed(view, "k", key) == ""
    assert foot(view) == "Nobody was kicked."


def test_nobody_to_kick() -> None:
    view = viewing()
    assert pressed(view, "k", "y") == ""
    assert view.subject == ""


def test_topics_are_gone_into_and_out_of() -> None:
    view = viewing("a")
    assert view.press("t") == "ask"
    assert view.query() == ("topics", {"offset": 0, "limit": 3, "prefix": None})
    levels = [{"level": "home", "children": 2, "retained": False}, {"level": "", "children": 1, "retained": True}]
    view.take(view.query(), overview(), 2, levels)
    screen = [line.text.rstrip() for line in view.screen(80, 24)]
    assert screen[HEAD - 1 : HEAD + 2] == ["LEVEL    BELOW  RETAINED", "home         2  no", "(empty)      1  yes"]
    assert pressed(view, "down", "enter") == ""
    assert pressed(view, "up", "enter") == "ask"
    assert view.query().given["prefix"] == "home"
    assert view.press("enter") == ""
    assert pressed(view, "k", "y") == ""
    assert view.press("backspace") == "ask"
    assert view.press("backspace") == ""
    assert view.press("t") == "ask"
    assert view.query().path == "clients"


def test_pause_help_and_the_end() -> None:
    view = viewing("a")
    assert view.press(" ") == ""
    assert view.paused
    assert "paused; space goes on" in [line.text for line in view.screen(80, 24)]
    assert view.press(" ") == "ask"
    view.press("?")
    assert view.screen(80, 24)[0].text == "Keys of broker top"
    assert view.press("q") == ""
    assert view.press("q") == "quit"


def test_trouble_is_shown_until_it_is_over() -> None:
    view = viewing("a")
    view.trouble = "connection refused"
    assert "connection refused" in [line.text for line in view.screen(80, 24)]
    view.take(view.query(), overview(2.0), 0, [])
    assert "connection refused" not in [line.text for line in view.screen(80, 24)]


def test_in_80_columns_all_that_counts_is_there() -> None:
    view = View("http://h:1")
    long = item("building-3/floor-2/room-117/thermostat-left", user="someone-with-a-long-name", version="3.1.1")
    view.take(
        view.query(), overview(), 1, [long | {"queue_messages": 12, "dropped": 5, "subscriptions": 1, "inflight": 2}]
    )
    titles, row = view.table(80)
    assert max(len(titles), len(row)) <= 80
    assert titles.split()[0] == "CLIENT"
    assert titles.split()[-2:] == ["QUEUE", "DROPPED"]
    assert row.startswith("building-3/floor-2/room-117/thermos…")
    assert "INFLIGHT" in view.table(200)[0]
