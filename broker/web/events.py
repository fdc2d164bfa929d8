"""`GET /events?filter=…`: messages as server-sent events, for browsers and programs without MQTT.

Whoever asks is a Client that subscribes at QoS 1, for as long as the stream lasts: roles, retained messages first, and
what becomes of a reader that is too slow are those of MQTT. Its Session outlives the stream for a minute. A browser
that lost its connection comes back with the id of the last event it saw: what it saw is acknowledged then, and what it
did not is sent again, as to any Client. So an event waits for its acknowledgement until `WINDOW` more have followed it.
Messages of QoS 0 have no id and are not sent again.

The id holds the Client Identifier, which nobody can guess: who has it may go on with that stream, as the same user.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64encode
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.responses import Response

from broker.packets.topics import valid_topic_filter
from broker.packets.types import Connect, Pingreq, Properties, Puback, Publish, Suback, Subscribe, SubscriptionRequest
from broker.web.accounts import Denied
from broker.web.exchange import CALLER
from broker.web.inner import Ended, Inner
from broker.web.publishing import admitted, credentials, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from broker.web.accounts import Accounts
    from broker.web.exchange import Caller
    from broker.web.system import System

PATH: Final = "/events"
FILTERS: Final = 20
STREAMS: Final = 100
WINDOW: Final = 50
AFTERWARDS: Final = 60  # seconds that a Session outlives its stream
QUIET: Final = 15.0  # seconds after which an empty line shows that the stream lives
RETRY: Final = 2000  # milliseconds after which a browser comes back

_ID: Final = re.compile(r"(events-[A-Za-z0-9_-]{22}):([0-9]{1,15})")
_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


class Unseen:
    """What one Session was sent and has not acknowledged, in order: number of the event, Packet Identifier."""

    __slots__ = ("entries", "forget_at", "number", "streaming")

    def __init__(self) -> None:
        self.entries: deque[tuple[int, int]] = deque()
        self.number = 0
        self.streaming = False
        self.forget_at = 0.0

    def number_of(self, identifier: int) -> int:
        """The number of a message that is sent again keeps its number; another gets the next one."""
        for number, known in self.entries:
            if known == identifier:
                return number
        self.number += 1
        self.entries.append((self.number, identifier))
        return self.number


class Stream(Response):
    """A response that writes itself."""

    def __init__(self, run: Callable[[Receive, Send], Awaitable[None]]) -> None:
        super().__init__()
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._run(receive, send)


class Events:
    """See the module."""

    def __init__(self, system: System, accounts: Accounts) -> None:
        self._system = system
        self._accounts = accounts
        self._unseen: dict[str, Unseen] = {}  # by Client Identifier

    async def answer(self, request: Request) -> Response:
        """For Starlette."""
        caller: Caller = request.scope[CALLER]
        user, password = credentials(request.headers.get("authorization", ""))
        self._accounts.check_client(caller, request.headers, user or "", known=password is not None)
        filters = _filters(request.query_params)
        now = trio.current_time()
        self._unseen = {name: each for name, each in self._unseen.items() if each.streaming or each.forget_at > now}
        if sum(each.streaming for each in self._unseen.values()) >= STREAMS:
            raise Denied(503, "unavailable", "There are too many streams of events; try again.", {"Retry-After": "10"})
        identifier, last = self._behind(request.headers.get("last-event-id", ""))
        connect = Connect(identifier, clean_start=not last, keep_alive=0, user_name=user, password=password)
        connect.properties = Properties()
        connect.properties.session_expiry_interval = AFTERWARDS
        return Stream(partial(self._stream, caller, dict(request.headers), connect, filters, last))

    def _behind(self, text: str) -> tuple[str, int]:
        """Which stream goes on, and behind which event; where that is not known any more it is a new one, and 0."""
        found = _ID.fullmatch(text)
        unseen = self._unseen.get(found[1]) if found is not None else None
        if found is None or unseen is None or unseen.streaming:
            return f"events-{secrets.token_urlsafe(16)}", 0
        return found[1], int(found[2])

    async def _stream(
        self,
        caller: Caller,
        headers: dict[str, str],
        connect: Connect,
        filters: list[str],
        last: int,
        receive: Receive,
        send: Send,
    ) -> None:
        name = connect.client_identifier
        unseen = self._unseen.setdefault(name, Unseen())
        unseen.streaming = True
        begun = False
        again: set[int] = set()  # Packet Identifiers of what it saw, and what may come once more for all that
        try:
            async with Inner(self._system, caller, headers) as client:
                try:
                    answer = await admitted(client, connect, self._accounts, caller)
                    if last and not answer.session_present:
                        unseen.entries.clear()
                    while unseen.entries and unseen.entries[0][0] <= last:
                        again.add(unseen.entries[0][1])
                        await client.say(Puback(unseen.entries.popleft()[1]))
                    await self._subscribe(client, filters)
                except Ended as ended:
                    raise refusal(ended.reason) from None
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                await _put(send, f"retry: {RETRY}\n\n")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                    await self._send_all(client, unseen, again, name, send)
                    nursery.cancel_scope.cancel()
                await send({"type": "http.response.body"})
        finally:
            unseen.streaming = False
            unseen.forget_at = trio.current_time() + (AFTERWARDS if begun or last else 0.0)

    async def _subscribe(self, client: Inner, filters: list[str]) -> None:
        most = min(1, client.connection.limits.maximum_qos)
        # 1: what is retained comes if the subscription is a new one, and not once more to one who is back.
        requests = [SubscriptionRequest(each, most, retain_handling=1) for each in filters]
        await client.say(Subscribe(1, requests))
        for reason in (await client.hear(Suback, keep=True)).reasons:
            if reason >= 0x80:
                raise refusal(reason)

    async def _send_all(self, client: Inner, unseen: Unseen, again: set[int], name: str, send: Send) -> None:
        """Events, until the broker ends the connection."""
        window = max(1, min(WINDOW, client.connection.limits.max_inflight // 2))
        pinged = trio.current_time()
        while True:
            if trio.current_time() - pinged >= QUIET:
                pinged = trio.current_time()
                await client.say(Pingreq())  # where the broker wants a Keep Alive of everybody
            publish = None
            try:
                with trio.move_on_after(QUIET):
                    publish = await client.hear(Publish)
            except Ended:
                return
            if publish is None:
                await _put(send, ":\n\n")
                continue
            if publish.dup and publish.packet_identifier in again:
                again.discard(publish.packet_identifier)
                continue
            said = ""
            if publish.qos:
                said = f"id: {name}:{unseen.number_of(publish.packet_identifier)}\n"
            await _put(send, f"event: message\n{said}data: {self._data(publish)}\n\n")
            while len(unseen.entries) > window:
                await client.say(Puback(unseen.entries.popleft()[1]))

    def _data(self, publish: Publish) -> str:
        payload = publish.packet[publish.payload_start :]
        found: dict[str, Any] = {"topic": publish.topic}
        try:
            found["payload"] = payload.decode("utf-8")
        except UnicodeDecodeError:
            found["payload_base64"] = b64encode(payload).decode("ascii")
        found |= {"qos": publish.qos, "retain": publish.retain, "time": round(self._system.clock(), 3)}
        return json.dumps(found)


def _filters(query: QueryParams) -> list[str]:
    """The Topic Filters of a request. Raises Denied."""
    found = query.getlist("filter")
    if not found or len(found) > FILTERS or set(query) != {"filter"}:
        raise Denied(400, "bad_request", f"There has to be filter=…, from once to {FILTERS} times, and nothing else.")
    for each in found:
        if not valid_topic_filter(each) or each.startswith("$share/"):
            raise Denied(400, "bad_request", "filter has to be a Topic Filter, and no shared one.")
    return list(dict.fromkeys(found))


async def _until_gone(receive: Receive, done: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    done.cancel()


async def _put(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
