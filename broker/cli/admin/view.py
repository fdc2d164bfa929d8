"""What `broker top` shows, and what a key does to it. It asks nobody and draws nothing: it can be told and looked at.

Clients are shown a window at a time, sorted by the broker, so that a million of them cost no more than a screen. Whom
a kick is meant for is settled when its key is pressed: the list may have another order by the time of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.cli.admin.clients import SORTS, state
from broker.cli.admin.figures import head, number
from broker.cli.admin.listing import Column, field, lines, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.cli.admin.api import Item

HEAD: Final = 7  # lines that are neither an item nor of the foot: figures, an empty one, the titles
FOOT: Final = 1
LONGEST: Final = 200  # characters of a filter
NAMED: Final = 40  # characters of a Client Identifier in a question

HELP: Final = (
    "Keys of broker top",
    "",
    "  up down pgup pgdn home   choose a line",
    "  s r                      sort by the next column; the other way round",
    "  /                        filter Clients by identifier, user or address; Esc takes it away",
    "  k                        end the connection of the chosen Client; asks first",
    "  t                        Clients, or topics; Enter goes into a topic, Backspace out",
    "  space                    pause, and go on",
    "  q Ctrl-C                 quit",
    "",
    "Press any key.",
)

# what is left out of the table where there is no room for it, the first to go first
SPARED: Final = ("MQTT", "INFLIGHT", "OVER", "ADDRESS", "USER", "SUBS")


class Query(NamedTuple):
    """A list of the API."""

    path: str
    given: dict[str, Any]


class Line(NamedTuple):
    """A line of the screen; `style` is one of rich."""

    text: str
    style: str = ""


class View:
    """See the module. `press` says what is to be done: "quit", "kick" (`subject`), "ask" (anew), or "" for nothing."""

    def __init__(self, url: str, text: str = "", sort: str = "-queue_messages") -> None:
        self.url = url
        self.text = text
        self.sort = sort.lstrip("-")
        self.descending = sort.startswith("-")
        self.topics = False
        self.prefix: list[str] = []
        self.paused = False
        self.subject = ""
        self.trouble = ""
        self.note = ""
        self.items: list[Item] = []
        self.total = 0
        self._first = 0
        self._chosen = 0
        self._rows = 10
        self._asking = ""  # "filter", "kick", "help"
        self._typed = ""
        self._new: Item = {}
        self._old: Item | None = None

    # -- What comes from the broker

    def query(self) -> Query:
        """What to ask for next."""
        page = {"offset": self._first, "limit": self._rows}
        if self.topics:
            return Query("topics", {**page, "prefix": "/".join(self.prefix) or None})
        sort = f"{'-' if self.descending else ''}{self.sort}"
        return Query("clients", {**page, "filter": self.text or None, "connected": True, "sort": sort})

    def take(self, query: Query, overview: Item, total: int, items: Sequence[Item]) -> bool:
        """Show that; it answers `query`. Whether it has to be asked for again: there is no such window any more."""
        if number(overview, "now") != number(self._new, "now"):
            self._old, self._new = (self._new or None), overview
        self.trouble = ""
        if query != self.query():
            return True
        self.total = total
        if not items and self._first:
            self._first = max(0, total - self._rows)
            return True
        self.items = list(items)
        self._chosen = max(0, min(self._chosen, len(self.items) - 1))
        return False

    def resize(self, height: int) -> bool:
        """The terminal has so many lines. Whether another window is needed."""
        rows = max(1, height - HEAD - FOOT)
        changed = rows != self._rows
        self._rows = rows
        self._chosen = min(self._chosen, rows - 1)
        return changed

    # -- Keys

    def press(self, key: str) -> str:
        """What is to be done; see the class."""
        self.note = ""
        if self._asking == "help":
            self._asking = ""
            return ""
        if self._asking == "kick":
            self._asking = ""
            if key in ("y", "Y"):
                return "kick"
            self.note = "Nobody was kicked."
            return ""
        if self._asking == "filter":
            return self._type(key)
        if key in ("q", "Q"):
            return "quit"
        if key in ("h", "?"):
            self._asking = "help"
        elif key == " ":
            self.paused = not self.paused
            return "" if self.paused else "ask"
        elif key == "t":
            self.topics = not self.topics
            return self._anew()
        elif self._move(key):
            return "ask"
        elif self.topics:
            return self._press_topics(key)
        else:
            return self._press_clients(key)
        return ""

    def _press_clients(self, key: str) -> str:
        if key == "/":
            self._asking, self._typed = "filter", self.text
        elif key == "escape" and self.text:
            self.text = ""
            return self._anew()
        elif key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            self.descending = self.sort != "client_identifier"
            return self._anew()
        elif key == "r":
            self.descending = not self.descending
            return self._anew()
        elif key in ("k", "K"):
            if not self.items:
                self.note = "There is nobody to kick."
            else:
                self.subject = str(self.items[self._chosen].get("client_identifier", ""))
                self._asking = "kick"
        return ""

    def _press_topics(self, key: str) -> str:
        if key == "enter" and self.items:
            chosen = self.items[self._chosen]
            level = str(chosen.get("level", ""))
            if chosen.get("children") and (level or self.prefix):  # nothing names what is below an empty first level
                self.prefix.append(level)
                return self._anew()
        elif key == "backspace" and self.prefix:
            self.prefix.pop()
            return self._anew()
        elif key in ("/", "k", "K", "s", "r"):
            self.note = "That is for Clients: t shows them."
        return ""

    def _type(self, key: str) -> str:
        if key == "enter":
            self._asking, self.text = "", self._typed
            return self._anew()
        if key == "escape":
            self._asking = ""
        elif key == "backspace":
            self._typed = self._typed[:-1]
        elif len(key) == 1 and key.isprintable() and len(self._typed) < LONGEST:
            self._typed += key
        return ""

    def _anew(self) -> str:
        self._first = self._chosen = 0
        self.items, self.total = [], 0
        return "ask"

    def _move(self, key: str) -> bool:
        """Whether the window has moved."""
        steps = {"up": -1, "down": 1, "pgup": -self._rows, "pgdn": self._rows, "home": -self.total}
        step = steps.get(key, 0)
        last = max(0, self.total - 1)
        wanted = max(0, min(last, self._first + self._chosen + step))
        before = self._first
        self._first = max(0, min(self._first, wanted))
        if wanted >= self._first + self._rows:
            self._first = wanted - self._rows + 1
        self._chosen = wanted - self._first
        return self._first != before

    # -- What is to be seen

    def figures(self) -> list[str]:
        """The broker in figures."""
        return head(self._new, self._old, self.url) if self._new else ["", "", "", "", ""]

    def screen(self, width: int, height: int) -> list[Line]:
        """All lines, from top to bottom; those that are too long are cut by whoever draws them."""
        if self._asking == "help":
            return [Line(text, "" if place else "bold") for place, text in enumerate(HELP[:height])]
        above = [Line(text, "" if place else "bold") for place, text in enumerate(self.figures())]
        if self.trouble:
            above.append(Line(self.trouble, "bold red"))
        elif self.paused:
            above.append(Line("paused; space goes on", "yellow"))
        else:
            above.append(Line(""))
        titles, *rows = self.table(width)
        body = [Line(f"{titles:<{width}}", "reverse")]
        for place, text in enumerate(rows):
            chosen = place == self._chosen
            body.append(Line(f"{text:<{width}}" if chosen else text, "bold reverse cyan" if chosen else ""))
        room = max(0, height - FOOT)
        seen = [*above, *body][:room]
        return [*seen, *[Line("")] * (room - len(seen)), self._foot()]

    def table(self, width: int) -> list[str]:
        """Titles and a line for each item; as many columns as the width allows."""
        columns = TOPICS if self.topics else clients(number(self._new, "now") or 0.0)
        drawn = lines(columns, self.items)
        for spared in SPARED:
            if max(map(len, drawn)) <= width:
                break
            columns = tuple(column for column in columns if column.title != spared)
            drawn = lines(columns, self.items)
        return drawn

    def _foot(self) -> Line:
        if self._asking == "filter":
            return Line(f"Filter: {one_line(self._typed)}_   (Enter takes it, Esc does not)", "bold yellow")
        if self._asking == "kick":
            name = one_line(self.subject)
            name = name if len(name) <= NAMED else f"{name[: NAMED - 1]}…"
            return Line(f"End the connection of {name}? y/N", "bold yellow")
        if self.note:
            return Line(self.note, "yellow")
        seen = f"{self._first + 1}-{self._first + len(self.items)} of {self.total:,}" if self.items else "none"
        if self.topics:
            below = one_line("/".join(self.prefix)) or "all"
            return Line(f"{seen} topics, {below} · Enter in, Backspace out, t Clients, ? help, q quit", "dim")
        sort = f"by {self.sort.replace('_', ' ')}{' ↓' if self.descending else ' ↑'}"
        text = f" with '{one_line(self.text)}'" if self.text else ""
        return Line(f"{seen}{text} {sort} · s sort, / filter, k kick, t topics, ? help, q quit", "dim")


def clients(now: float) -> tuple[Column, ...]:
    """Of the table of Clients; `now` is seconds since the epoch."""
    return (
        Column("CLIENT", lambda item: _short(item.get("client_identifier"), 36)),
        Column("USER", lambda item: _short(item.get("user"), 16), optional=True),
        Column("ADDRESS", field("address")),
        Column("OVER", field("transport")),
        Column("MQTT", field("version")),
        Column("STATE", lambda item: state(item, now)),
        Column("SUBS", field("subscriptions"), right=True),
        Column("INFLIGHT", field("inflight"), right=True),
        Column("QUEUE", field("queue_messages"), right=True),
        Column("DROPPED", field("dropped"), right=True),
        Column("RECEIVED", field("messages_received"), right=True, optional=True),
        Column("SENT", field("messages_sent"), right=True, optional=True),
        Column("RTT ms", field("rtt_ms"), right=True, optional=True),
    )


TOPICS: Final = (
    Column("LEVEL", lambda item: shown(item.get("level")) or "(empty)"),
    Column("BELOW", field("children"), right=True),
    Column("RETAINED", field("retained")),
    Column("MESSAGES", field("messages"), right=True, optional=True),
)


def _short(value: object, most: int) -> str:
    text = shown(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
