"""What may be done: handlers of the API that change something. Each leaves a line in the log with the name of who did
it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from starlette.responses import JSONResponse, Response

from broker.core.flight import WATCHED
from broker.packets.reasons import ReasonCode
from broker.transport.complaints import log
from broker.web.accounts import Denied
from broker.web.looking import missing
from broker.web.messages import BadMessage, message_of
from broker.web.slices import Pace, collect
from broker.web.system import ReloadRefused

if TYPE_CHECKING:
    from broker.core.journal import Journal
    from broker.web.bans import Bans
    from broker.web.routes import Asked
    from broker.web.system import System

MOST_DELETED: Final = 100_000  # retained messages at once
PATIENCE: Final = 10.0  # seconds for a commit
_SYS: Final = "$SYS"


class Steering:
    """See the module."""

    def __init__(self, system: System, bans: Bans) -> None:
        self.system = system
        self.broker = system.broker
        self.bans = bans

    async def kick(self, asked: Asked) -> Response:
        identifier, seconds = asked.path, asked.query["ban_s"]
        now = trio.current_time()
        session = self.broker.sessions.get(identifier)
        if session is None or session.connection is None:
            raise missing("No such Client is connected.")
        if seconds is not None and self.bans.add(identifier, seconds, "", now) is None:
            raise _no_room()
        self.bans.end(identifier, "ended by an operator")
        self.system.settle(now)
        log.info("%a has ended the connection of %a%s", asked.who.name, identifier, _for(seconds))
        return Response(status_code=204)

    async def watch(self, asked: Asked) -> Response:
        identifier = asked.body["client_identifier"]
        session = self.broker.sessions.get(identifier)
        if not self.broker.flights.watch(identifier, session.connection if session is not None else None):
            raise Denied(409, "full", f"{WATCHED} Clients are watched already: end one with DELETE /watches.")
        log.info("%a watches the packets of %a", asked.who.name, identifier)
        return Response(status_code=204)

    async def unwatch(self, asked: Asked) -> Response:
        session = self.broker.sessions.get(asked.path)
        if not self.broker.flights.watched(asked.path):
            raise missing("That Client is not watched.")
        self.broker.flights.unwatch(asked.path, session.connection if session is not None else None)
        return Response(status_code=204)

    async def ban(self, asked: Asked) -> Response:
        body = asked.body
        identifier, now = body["client_identifier"], trio.current_time()
        ban = self.bans.add(identifier, body["seconds"], body["reason"], now)
        if ban is None:
            raise _no_room()
        self.bans.end(identifier, "this Client is banned for a while")
        self.system.settle(now)
        log.info("%a has banned %a%s", asked.who.name, identifier, _for(body["seconds"]))
        until = round(self.system.clock() + body["seconds"], 3)
        return JSONResponse({"client_identifier": identifier, "until": until, "reason": ban.reason})

    async def unban(self, asked: Asked) -> Response:
        if not self.bans.remove(asked.path, trio.current_time()):
            raise missing("No such Client is banned.")
        log.info("%a has taken back the ban of %a", asked.who.name, asked.path)
        return Response(status_code=204)

    async def delete_one_retained(self, asked: Asked) -> Response:
        _not_ours(asked.path)
        if not self.broker.retained.remove(asked.path):
            raise missing("There is no retained message of this topic.")
        self.system.settle(trio.current_time())
        log.info("%a has deleted the retained message of %a", asked.who.name, asked.path)
        return Response(status_code=204)

    async def delete_retained(self, asked: Asked) -> Response:
        topic_filter: str = asked.query["filter"]
        _not_ours(topic_filter)
        topics: list[str] = []
        pace = Pace()
        for message in self.broker.retained.read(topic_filter):
            if pace.due():
                await pace.rest()
            if message is not None:
                topics.append(message.topic)
                if len(topics) > MOST_DELETED:
                    raise Denied(422, "too_many", f"They are more than {MOST_DELETED}; take a narrower filter.")
        if asked.query["expected"] != len(topics):
            message_ = f"This would delete {len(topics)} retained messages; say so with expected={len(topics)}."
            said = {"error": {"code": "not_confirmed", "message": message_}, "count": len(topics)}
            return JSONResponse(said, 409)
        deleted = sum(await collect(topics, self.broker.retained.remove))
        self.system.settle(trio.current_time())
        log.info("%a has deleted %d retained messages of %a", asked.who.name, deleted, topic_filter)
        return JSONResponse({"deleted": deleted})

    async def publish(self, asked: Asked) -> Response:
        now = trio.current_time()
        try:
            message = message_of(asked.body, now)
        except BadMessage as bad:
            raise Denied(422, "not_allowed", str(bad)) from None
        _not_ours(message.topic)
        journal = self.broker.journal
        reason = int(ReasonCode.QUOTA_EXCEEDED)
        if not message.qos or journal is None or not journal.full:
            reason = self.broker.publish(message, None, now)
            self.system.settle(now)
            if message.qos and journal is not None:
                await _committed(journal)
        return JSONResponse({"reason": reason, "name": ReasonCode(reason).name.lower()})

    async def reload(self, asked: Asked) -> Response:
        if self.system.reload is None:
            raise Denied(503, "unavailable", "This broker was configured by a program; there is nothing to read anew.")
        log.info("%a has the configuration read anew", asked.who.name)
        try:
            changes = await self.system.reload()
        except ReloadRefused as refused:
            said = {"code": "mistakes", "message": "The configuration is as it was, for the new one has mistakes."}
            return JSONResponse({"error": said, "mistakes": refused.mistakes}, 422)
        return JSONResponse({"changes": list(changes)})


async def _committed(journal: Journal) -> None:
    """Wait until all that was recorded so far is kept, as a PUBACK would. Raises Denied where that takes too long."""
    position = journal.latest()
    with trio.move_on_after(PATIENCE):
        while journal.committed < position:  # noqa: ASYNC110 - as few will ever wait here, nobody is to tell them
            await trio.sleep(0.002)
        return
    raise Denied(503, "not_kept", "The message is published; whether it would outlive a crash is not known yet.")


def _not_ours(topic: str) -> None:
    if topic.split("/", 1)[0] == _SYS:
        raise Denied(422, "not_allowed", "What stands under $SYS is the broker's own.")


def _no_room() -> Denied:
    return Denied(409, "no_room", "There are too many bans; take one back.")


def _for(seconds: float | None) -> str:
    return f" for {seconds:g} s" if seconds is not None else ""
