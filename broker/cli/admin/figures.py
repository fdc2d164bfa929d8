"""The broker in five lines: two answers of /api/v1/overview, and what happened between them.

What an answer does not hold is left out, or shown as "-": an older broker tells less. Counters that begin anew, as the
broker was started again, give no rates.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from broker.cli.admin.listing import one_line, size, span

if TYPE_CHECKING:
    from broker.cli.admin.api import Item


def number(said: Any, *path: str) -> float | None:
    """The number at the end of a path of names."""
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return float(said) if isinstance(said, (int, float)) and not isinstance(said, bool) else None


def rate(new: Item, old: Item | None, *path: str) -> float | None:
    """By how much a counter grew a second."""
    if old is None or number(new, "started") != number(old, "started"):
        return None
    now, then = number(new, "now"), number(old, "now")
    after, before = number(new, *path), number(old, *path)
    if now is None or then is None or after is None or before is None or now <= then or after < before:
        return None
    return (after - before) / (now - then)


def head(new: Item, old: Item | None, url: str) -> list[str]:
    """The lines, each for as wide a terminal as it takes."""
    build = new.get("build")
    started = number(new, "now")
    clock = time.strftime("%H:%M:%S", time.localtime(started)) if started is not None else ""
    first = [
        f"TrioMQ {one_line(str(new.get('version', '')))}{f' ({one_line(str(build))})' if build else ''}",
        url,
        f"up {span(number(new, 'uptime_s') or 0)}",
        clock,
    ]
    return [" · ".join(filter(None, first)), _who(new), *_flow(new, old), _process(new, old)]


def count(value: float | None) -> str:
    """A number of things; "-" for one that is not known."""
    return "-" if value is None else f"{value:,.0f}"


def _who(new: Item) -> str:
    over = new.get("clients", {}).get("by_transport") if isinstance(new.get("clients"), dict) else None
    transports = ", ".join(f"{one_line(name)} {count(number(over, name))}" for name in over or {} if number(over, name))
    retained = size(number(new, "retained", "bytes") or 0)
    parts = [
        f"Clients {count(number(new, 'clients', 'connected'))}, {count(number(new, 'sessions_disconnected'))} away",
        transports,
        f"subscriptions {count(number(new, 'subscriptions'))}",
        f"retained {count(number(new, 'retained', 'messages'))} ({retained})",
    ]
    return " · ".join(filter(None, parts))


def _flow(new: Item, old: Item | None) -> list[str]:
    """Messages and bytes a second, in all and by transport; what waits, and what was dropped."""

    def both(where: tuple[str, ...], bytes_: tuple[str, ...]) -> str:
        ways = (
            f"{way} {count(rate(new, old, *where, f'publish_{word}'))}/s {_bytes(rate(new, old, *bytes_, word))}"
            for way, word in (("in", "received"), ("out", "sent"))
        )
        return ", ".join(ways)

    dropped = rate(new, old, "messages", "publish_dropped")
    queue = f"Queue {count(number(new, 'queue', 'messages'))} ({size(number(new, 'queue', 'bytes') or 0)})"
    total = f"dropped {count(dropped)}/s ({count(number(new, 'messages', 'publish_dropped'))})"
    return [f"Messages {both(('messages',), ('bytes',))} · {total}", f"{queue}{_latency(new)}"]


def _latency(new: Item) -> str:
    """p99 from receiving to having written, of each transport the worst of its QoS."""
    said = new.get("latency")
    parts: list[str] = []
    for transport, by_qos in said.items() if isinstance(said, dict) else ():
        found = [number(by_qos, qos, "p99_ms") for qos in ("0", "1", "2")]
        known = [each for each in found if each is not None]
        if known:
            parts.append(f"{one_line(transport)} {max(known):.1f}")
    return f" · latency p99 {', '.join(parts)} ms" if parts else ""


def _process(new: Item, old: Item | None) -> str:
    cpu = rate(new, old, "cpu_seconds")
    memory = number(new, "memory_bytes")
    lag = number(new, "loop_lag", "p99_ms")
    parts = [
        f"Process CPU {'-' if cpu is None else f'{100 * cpu:.0f}'} %",
        f"memory {'-' if memory is None else size(memory)}",
    ]
    if lag is not None:
        parts.append(f"loop lag p99 {lag:.1f} ms")
    store = new.get("store")
    if isinstance(store, dict):
        parts.append(f"store {one_line(str(store.get('state')))}")
    return " · ".join(filter(None, parts))


def _bytes(value: float | None) -> str:
    return "-" if value is None else f"{size(value)}/s"
