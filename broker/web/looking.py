"""What there is to see: handlers of the API that change nothing.

Lists are cut into pages, and gone over in slices: however long they are, no Client waits for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.responses import JSONResponse, Response

from broker.core.explaining import explain
from broker.packets.topics import matches
from broker.web import rows
from broker.web.accounts import Denied
from broker.web.slices import Pace, Page, collect, select, select_sorted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.core.plans import Plan
    from broker.core.session import Session
    from broker.core.subscriptions import Subscription
    from broker.web.bans import Bans
    from broker.web.history import History
    from broker.web.routes import Asked
    from broker.web.system import System

MOST_VISITED: Final = 100_000  # retained messages for one level of topics

SORTS: Final[dict[str, Callable[[Session], Any]]] = {
    "client_identifier": lambda session: session.client_identifier,
    "connected_since": lambda session: session.connection.accepted_at if session.connection is not None else None,
    "queue_messages": lambda session: session.queued_messages(),
    "subscriptions": lambda session: len(session.subscriptions),
    "dropped": lambda session: session.dropped + (session.connection.dropped if session.connection is not None else 0),
    "messages_received": lambda session: _traffic(session, "messages_received"),
    "messages_sent": lambda session: _traffic(session, "messages_sent"),
    "bytes_received": lambda session: _traffic(session, "bytes_received"),
    "bytes_sent": lambda session: _traffic(session, "bytes_sent"),
    "rtt_ms": lambda session: rows.round_trip(session.connection),
}


class Looking:
    """See the module."""

    def __init__(self, system: System, bans: Bans, history: History) -> None:
        self.system = system
        self.broker = system.broker
        self.bans = bans
        self.history = history

    async def overview(self, asked: Asked) -> Response:
        system, broker = self.system, self.broker
        stats = broker.stats
        total = stats.total()
        cpu, memory = system.usage()
        now = system.clock()
        disconnected = len(broker.sessions) - stats.clients_connected
        ours = [each for each in broker.retained.read("$SYS/#") if each is not None]  # nobody has retained them
        latencies = {
            name: each.latency.figures(trio.current_time()) for name, each in sorted(stats.by_transport.items())
        }
        return JSONResponse(
            {
                "version": broker.version,
                "build": system.build,
                "started": system.started,
                "uptime_s": round(now - system.started, 3),
                "now": now,
                "listeners": [
                    {
                        "name": system.listener_name(each),
                        "type": each.type,
                        "url": each.url,
                        "tls": each.tls is not None,
                        "connections": each.connections,
                    }
                    for each in system.listeners
                ],
                "clients": {
                    "connected": stats.clients_connected,
                    "total_sessions": len(broker.sessions),
                    "by_transport": {name: each.connected for name, each in sorted(stats.by_transport.items())},
                },
                "sessions_disconnected": disconnected,
                "messages": {
                    "received": total.messages_received,
                    "sent": total.messages_sent + total.publish_sent,
                    "publish_received": total.publish_received,
                    "publish_sent": total.publish_sent,
                    "publish_dropped": stats.publish_dropped,
                },
                "bytes": {"received": total.bytes_received, "sent": total.bytes_sent},
                "transports": {
                    name: {
                        "connections": each.connections,
                        "connects": each.connects,
                        "messages_received": each.messages_received,
                        "messages_sent": each.messages_sent + each.publish_sent,
                        "bytes_received": each.bytes_received,
                        "bytes_sent": each.bytes_sent,
                        "publish_received": each.publish_received,
                        "publish_sent": each.publish_sent,
                        "publish_bytes_received": each.publish_bytes_received,
                        "publish_bytes_sent": each.publish_bytes_sent,
                    }
                    for name, each in sorted(stats.by_transport.items())
                },
                "latency": {name: each["latency"] for name, each in latencies.items()},
                "acknowledge": {name: each["acknowledge"] for name, each in latencies.items()},
                "loop_lag": system.lag.figures() if system.lag is not None else None,
                "queue": {"messages": stats.queued_messages, "bytes": stats.queued_bytes},
                "retained": {
                    "messages": broker.retained.count - len(ours),
                    "bytes": broker.retained.bytes - sum(each.size for each in ours),
                },
                "subscriptions": stats.subscriptions,
                "memory_bytes": memory,
                "cpu_seconds": round(cpu, 3),
                "store": system.store() if system.store is not None else None,
                "limits": {"buffered_bytes": broker.limits.buffered_bytes},
            }
        )

    async def give_history(self, asked: Asked) -> Response:
        return JSONResponse(self.history.table())

    async def clients(self, asked: Asked) -> Response:
        query = asked.query
        text, connected, transport = query["filter"], query["connected"], query["transport"]

        def keep(session: Session) -> bool:
            connection = session.connection
            if connected is not None and connected is not (connection is not None):
                return False
            if transport is not None and (connection is None or connection.peer.transport != transport):
                return False
            if text is None or text in session.client_identifier:
                return True
            address = connection.peer.address if connection is not None else ""
            return text in address or text in (rows.user_of(session) or "")

        page = page_of(query)
        sessions = list(self.broker.sessions.values())
        sort = query["sort"]
        if sort is None:
            total, found = await select(sessions, keep, page)
        else:
            key = SORTS[sort.lstrip("-")]
            total, found = await select_sorted(sessions, keep, page, key, sort.startswith("-"))
        now = trio.current_time()
        return as_list(total, page, [rows.client(self.system, each, now) for each in found])

    async def client(self, asked: Asked) -> Response:
        session = self.broker.sessions.get(asked.path)
        if session is None:
            raise missing("There is no such Client.")
        held = list(session.subscriptions.values())
        now = trio.current_time()
        said = rows.client(self.system, session, now)
        self._measure(session, now)
        said["subscriptions_list"] = await collect(held, rows.subscription)
        now = trio.current_time()
        flight = self.broker.flights.find(asked.path)
        events = flight.events if flight is not None else []
        said["record"] = [rows.event(self.system, each, now) for each in events]
        said["watched"] = self.broker.flights.watched(asked.path)
        said["will"] = rows.will(session.will) if session.will is not None else None
        return JSONResponse(said)

    def _measure(self, session: Session, now: float) -> None:
        """For whoever asks again: who is looked at has its round trip measured, busy or not."""
        connection = session.connection
        if connection is not None and connection.outbox.sink is not None:
            connection.outbox.sink.measure(now)
            self.system.settle(now)

    async def explain(self, asked: Asked) -> Response:
        found = explain(self.broker, asked.query["client"], asked.query["topic"])
        return JSONResponse(rows.account(self.system, found, trio.current_time()))

    async def subscriptions(self, asked: Asked) -> Response:
        query = asked.query
        client, text, topic = query["client"], query["filter"], query["topic"]

        def keep(held: Subscription | None) -> bool:
            if held is None:
                return False
            if text is not None and text not in held.topic_filter:
                return False
            return topic is None or matches(held.topic_filter, topic)

        sessions = list(self.broker.sessions.values())
        if client is not None:
            sessions = [each for each in (self.broker.sessions.get(client),) if each is not None]
        page = page_of(query)
        total, found = await select(_held_by(sessions), keep, page)
        return as_list(total, page, [rows.subscription(each) for each in found if each is not None])

    async def retained(self, asked: Asked) -> Response:
        page = page_of(asked.query)
        now = trio.current_time()
        read = self.broker.retained.read(asked.query["filter"])
        total, found = await select(read, lambda each: each is not None and each.expires_at > now, page)
        messages = [each for each in found if each is not None]
        items = await collect(messages, lambda each: rows.retained(self.system, each, now))
        return as_list(total, page, items)

    async def one_retained(self, asked: Asked) -> Response:
        now = trio.current_time()
        message = self.broker.retained.get(asked.path, now)
        if message is None:
            raise missing("There is no retained message of this topic.")
        return JSONResponse(rows.retained(self.system, message, now, most=message.payload_bytes))

    async def topics(self, asked: Asked) -> Response:
        prefix = asked.query["prefix"]
        start = f"{prefix}/" if prefix else ""
        now = trio.current_time()
        levels: dict[str, _Level] = {}
        visited = 0
        pace = Pace()
        for topic, plan in self.broker.subscriptions.plans.remembered():
            if pace.due():
                await pace.rest()
            if plan.messages and topic.startswith(start) and (start or not topic.startswith("$")):
                level, slash, _ = topic.removeprefix(start).partition("/")
                found = levels.setdefault(level, _Level())
                if slash:
                    found.below.add(topic)
                else:
                    found.plan = plan
        for message in self.broker.retained.read(f"{start}#"):
            if pace.due():
                await pace.rest()
            if message is None or message.expires_at <= now or message.topic == prefix:
                continue
            visited += 1
            if visited > MOST_VISITED:
                raise Denied(422, "too_many", f"There are more than {MOST_VISITED} topics; name a longer prefix.")
            level, slash, _ = message.topic.removeprefix(start).partition("/")
            found = levels.setdefault(level, _Level())
            if slash:
                found.below.add(message.topic)
            else:
                found.retained = True
        page = page_of(asked.query)
        names = sorted(levels)[page.offset : page.offset + page.limit]
        wall = self.system.clock() - now
        items = [levels[name].row(name, start, wall) for name in names]
        return as_list(len(levels), page, items)

    async def list_bans(self, asked: Asked) -> Response:
        now = trio.current_time()
        page = page_of(asked.query)
        held = self.bans.held(now)
        wall = self.system.clock() - now
        items = [
            {"client_identifier": each.client_identifier, "until": round(wall + each.until, 3), "reason": each.reason}
            for each in held[page.offset : page.offset + page.limit]
        ]
        return as_list(len(held), page, items)

    async def config(self, asked: Asked) -> Response:
        if self.system.effective is None:
            raise Denied(503, "unavailable", "This broker does not tell its configuration.")
        settings = self.system.effective()
        return JSONResponse({name: {"value": value, "source": source} for name, (value, source) in settings.items()})


class _Level:
    """What there is of one level of topics: the topic that ends here, and those below."""

    def __init__(self) -> None:
        self.below: set[str] = set()
        self.plan: Plan | None = None
        self.retained = False

    def row(self, name: str, start: str, wall: float) -> dict[str, Any]:
        plan = self.plan
        return {
            "level": name,
            "topic": f"{start}{name}" if self.retained or plan is not None else None,
            "children": len(self.below),
            "retained": self.retained,
            "messages": plan.messages if plan is not None else None,
            "last": round(wall + plan.last, 3) if plan is not None else None,
        }


def _traffic(session: Session, name: str) -> int | None:
    return getattr(session.connection.traffic, name) if session.connection is not None else None


def _held_by(sessions: list[Session]) -> Iterator[Subscription | None]:
    """All their subscriptions, with a None for each Session, so that one who rests now and then can do it there."""
    for session in sessions:
        yield None
        yield from list(session.subscriptions.values())


def page_of(query: dict[str, Any]) -> Page:
    return Page(query["offset"], query["limit"])


def as_list(total: int, page: Page, items: list[dict[str, Any]]) -> Response:
    return JSONResponse({"total": total, "offset": page.offset, "items": items})


def missing(message: str) -> Denied:
    return Denied(404, "not_found", message)
