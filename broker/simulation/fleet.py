"""A fleet of simulated devices on the network: each a Client of its own, some over TCP, some over WebSocket.

A device is born with a retained `<device>/state`, whose end is its Will Message. It publishes its channels by their
schedule and obeys commands until the fleet is told to end; then it clears what it retained, so that nothing is left in
the broker, and disconnects in order. A device that loses its connection comes back after a pause, and is born again. A
flaky one loses it on purpose now and then, without a DISCONNECT, so that its Will Message is published.

One task serves all devices: it takes what is due from a heap, writes straight to the sockets, reads what came, and
rests for some milliseconds. Only connecting is done by tasks of its own, some at a time. Nothing is made up for: what
could not be said in time is not said, and counted as `missed` or `held_back`.
"""

from __future__ import annotations

import json
import math
import time
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final

import trio

from broker.client import Backoff, ClientError, ConnectRefused, Tls, Will, parse
from broker.client.client import VERSIONS
from broker.client.keeper import FINAL_REASONS
from broker.client.protocol import Protocol
from broker.packets.properties import forwarded_properties
from broker.packets.reasons import ReasonCode
from broker.packets.topics import valid_topic_name
from broker.packets.types import MQTT_5_0, Properties
from broker.simulation.devices import natural_rate
from broker.simulation.line import Line, open_line, settings_for
from broker.transport.poller import READ, WRITE, Poller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from broker.simulation.devices import Device

CONNECTING: Final = 64  # devices that connect at a time
ENDING_SECONDS: Final = 5.0  # for all devices to clear what they retained and to disconnect ...
ENDING_SECONDS_EACH: Final = 0.002  # ... and so much more for each of them
TICK: Final = 0.004  # seconds that the loop rests; what is due meanwhile leaves together
ROUND: Final = 0.02  # seconds that other tasks wait at most ...
CONNECTING_ROUND: Final = 0.005  # ... and those that connect, which take many small steps
READY: Final = 1024  # sockets that are read in a round
LOOKS: Final = 32  # messages between two looks at the clock
LATE: Final = 1.0  # seconds after which a message is not worth saying any more
CHORES: Final = 1.0  # seconds between two looks at what need not be punctual
FIRST_PAUSE: Final = 1.0  # seconds before a device comes back; doubled each time ...
LONGEST_PAUSE: Final = 15.0  # ... up to this
STILL_AWAY: Final = 0.3  # how likely a flaky device fails once more to come back
GOLDEN: Final = 0.6180339887  # multiples of it, modulo 1, lie evenly


class Member:
    """A device as the Fleet keeps it: `line` while it is connected, `moment` what it lived to see."""

    __slots__ = (
        *("channels", "cleared", "delays", "device", "endpoint", "forwarded", "leaving", "line", "moment", "place"),
        *("settings", "topics"),
    )

    def __init__(self, device: Device, place: int, url: str, version: int) -> None:
        self.device = device
        self.place = place  # of its URL
        self.endpoint = parse(url)
        self.line: Line | None = None
        self.moment = 0.0
        self.leaving = False  # it has asked the Server to forget what it retained
        self.cleared = False  # and the Server has
        self.channels = device.channels
        self.topics = [channel.topic.encode() for channel in device.channels]
        self.delays = self.pauses()
        self.forwarded = b""
        if version == MQTT_5_0:
            properties = Properties()
            properties.content_type = device.content_type
            self.forwarded = forwarded_properties(properties)
        settings = self.settings = settings_for(self.endpoint, version, device.name)
        if device.state_topic:
            settings.will = Will(device.state_topic, device.death(), qos=1, retain=True).packet()

    def pauses(self) -> Iterator[float]:
        """The pauses before it comes back, from the first."""
        return Backoff(FIRST_PAUSE, LONGEST_PAUSE, random_number=self.device.connection_chance.random).delays()

    def ask_less(self, error: ClientError) -> bool:
        """Whether the Server refused the Will Message for its QoS or its RETAIN, and is now asked without."""
        will = self.settings.will
        if will is None or not isinstance(error, ConnectRefused):
            return False
        if error.reason == ReasonCode.QOS_NOT_SUPPORTED and will.qos:
            will.qos = 0
        elif error.reason == ReasonCode.RETAIN_NOT_SUPPORTED and will.retain:
            will.retain = False
        else:
            return False
        return True


class Fleet:
    """`run` it, ask it how it is doing, and `end` it."""

    def __init__(
        self,
        devices: Sequence[Device],
        urls: Sequence[str],
        *,
        version: str = "5.0",
        clock: Callable[[], float] = time.time,
        tls: Mapping[str, Tls] | None = None,
    ) -> None:
        """`clock` tells the time in readings, `tls` what to trust at a URL. Devices of each kind are dealt out to the
        `urls` in turn.

        ValueError where there is nothing to do.
        """
        if not devices or not urls:
            raise ValueError("a fleet needs a device and a URL")
        self.devices = devices
        self.urls = list(urls)
        given = tls or {}
        self.tls = {url: given.get(url) or Tls().ready(parse(url)) for url in urls if parse(url).secure}
        self.version = version
        self.asked = natural_rate(devices)  # messages a second, of channels that speak by the clock
        self.connected = 0
        self.published = 0  # messages of channels
        self.missed = 0  # messages that this machine was too late for
        self.held_back = 0  # messages that a connection could not take
        self.lost = 0  # connections that ended unasked
        self.failed = 0  # connections that did not come about
        self.dropped = 0  # connections that flaky devices lost on purpose
        self.obeyed = 0  # commands
        self.disobeyed = 0  # commands that made no sense
        self.refused = 0  # messages that the Server refused
        self.births = 0  # connections that came about
        self.hopeless = 0  # devices that the Server refuses for good
        self.trouble: ClientError | None = None  # the last one's reason
        self.heard: Callable[[str, bytes], None] | None = None  # is told of every message of a channel
        self.members: list[Member] = []
        of_kind: dict[str, int] = {}
        offsets: dict[str, int] = {}
        for device in devices:
            kind = device.row
            # The nth of a kind, counted from another url for each kind
            place = (of_kind.get(kind, 0) + offsets.setdefault(kind, len(offsets))) % len(urls)
            of_kind[kind] = of_kind.get(kind, 0) + 1
            self.members.append(Member(device, place, urls[place], VERSIONS[version]))
        self._clock = clock
        self._epoch = 0.0  # what the clock says at 0 of Trio's
        self._shift = 0.0  # seconds that the schedule is behind, for want of time
        self._ending = False
        self._resting = trio.CancelScope()
        self._poller = Poller()
        self._lines: dict[int, Member] = {}
        self._dirty: list[Member] = []
        self._slots: list[tuple[float, int, Member, int]] = []  # when, an order, who, which channel
        self._later: list[tuple[float, int, Member, Line | None]] = []  # a Line to be lost, or None: to come back
        self._order = 0
        self._send, self._receive = trio.open_memory_channel[Member](math.inf)

    @property
    def is_ending(self) -> bool:
        return self._ending

    @property
    def cleared(self) -> int:
        """Devices of which nothing is left in the broker."""
        return sum(member.cleared for member in self.members)

    @property
    def away(self) -> int:
        """Devices that are not connected."""
        return len(self.members) - self.connected

    def end(self) -> None:
        """Let `run` come to its end, in order."""
        self._ending = True
        self._resting.deadline = -math.inf

    async def run(self) -> None:
        """Live until `end`, and until nothing is left behind or its time has passed. What could not be cleared, its
        Member says. ConnectRefused where the Server has refused every device for good."""
        try:
            started = trio.current_time()
            self._epoch = self._clock() - started
            self._schedule(started)
            async with trio.open_nursery() as nursery:
                for _ in range(min(CONNECTING, len(self.members))):
                    nursery.start_soon(self._connect_who_comes)
                for member in self.members:
                    self._send.send_nowait(member)
                await self._live()
                nursery.cancel_scope.cancel()
            await self._leave()
        finally:
            for member in list(self._lines.values()):
                if member.line is not None:
                    member.line.close()
            self._poller.close()
        if self.hopeless == len(self.members) and self.trouble is not None:
            raise self.trouble

    def _schedule(self, started: float) -> None:
        for member in self.members:
            member.moment = started + self._epoch
            for index, channel in enumerate(member.channels):
                self._order += 1
                due = started + channel.every * (self._order * GOLDEN % 1.0)
                self._slots.append((due, self._order, member, index))
        heapify(self._slots)

    # -- the loop

    async def _live(self) -> None:
        chores = 0.0
        while not self._ending and self.hopeless < len(self.members):
            now = trio.current_time()
            self._read(now)
            behind = self._speak(now)
            self._come_and_go(now)
            if now >= chores:
                chores = now + CHORES
                self._keep_alive(now)
            self._flush(now)
            if behind:
                await trio.lowlevel.checkpoint()
            else:
                await self._rest(chores)

    async def _rest(self, until: float) -> None:
        """Sleep until something is due or has come, and for a TICK in any case."""
        await trio.sleep(TICK)
        if self._slots:
            until = min(until, self._slots[0][0] + self._shift)
        if self._later:
            until = min(until, self._later[0][0])
        if not self._ending and until > trio.current_time():
            with trio.CancelScope(deadline=until) as self._resting:
                await trio.lowlevel.wait_readable(self._poller.fileno())

    def _speak(self, now: float) -> bool:
        """Let channels say what is due; whether some had to wait for the next round."""
        slots = self._slots
        if slots and now - self._shift - slots[0][0] > LATE:
            # Time that was too short stands still in the schedule: what would have been said in it, is not
            late = now - self._shift - slots[0][0]
            self._shift += late
            self.missed += round(late * self.asked * self.connected / len(self.members))
        shift = self._shift
        lived = self._epoch + shift
        until = now + (ROUND if self.connected == len(self.members) else CONNECTING_ROUND)
        looked = 0
        while slots and slots[0][0] <= now - shift:
            due, order, member, index = slots[0]
            channel = member.channels[index]
            heapreplace(slots, (due + channel.every, order, member, index))
            line = member.line
            if line is not None:
                if line.stuffed:
                    self.held_back += 1
                else:
                    self._say(member, line, index, due + lived)
            looked += 1
            if looked % LOOKS == 0:
                now = trio.current_time()
                if now > until:
                    return True
        return False

    def _say(self, member: Member, line: Line, index: int, moment: float) -> None:
        channel = member.channels[index]
        member.moment = moment
        payload = channel.payload(moment)
        if payload is None:
            return
        line.publish(member.topics[index], payload, channel.qos, channel.retain, member.forwarded)
        self.published += 1
        if self.heard is not None:
            self.heard(channel.topic, payload)
        self._dirty.append(member)

    def _read(self, now: float) -> None:
        for fd, mask in self._poller.poll(0, READY):
            member = self._lines.get(fd)
            if member is None or member.line is None:
                continue
            line = member.line
            if mask & WRITE:
                line.writable(now)
            if mask & ~WRITE and not line.closed:
                line.readable(now)
                if member.device.command_topic and not line.closed:
                    self._obey(member, line)
            self._dirty.append(member)

    def _flush(self, now: float) -> None:
        dirty, self._dirty = self._dirty, []
        for member in dirty:
            line = member.line
            if line is None:
                continue
            line.flush(now)
            if line.closed:
                self._gone(member, line, now)
            elif line.interest != line.watched:
                self._poller.change(line.fd, line.watched, line.interest)
                line.watched = line.interest

    def _keep_alive(self, now: float) -> None:
        for member in list(self._lines.values()):
            line = member.line
            if line is not None:
                line.tick(now)
                self._dirty.append(member)

    def _obey(self, member: Member, line: Line) -> None:
        """Commands that came: what they change is said at once, and an answer given where one is asked for."""
        device = member.device
        while (command := line.command()) is not None:
            payload, response_topic, correlation_data = command
            problem = device.command(payload)
            if problem:
                self.disobeyed += 1
            else:
                self.obeyed += 1
                for index, channel in enumerate(member.channels):
                    if channel.settable:
                        self._say(member, line, index, member.moment)
            if response_topic and valid_topic_name(response_topic):
                properties = Properties()
                properties.correlation_data = correlation_data
                properties.content_type = "application/json"
                answer = {"ok": False, "error": problem} if problem else {"ok": True}
                told = json.dumps(answer).encode()
                line.publish(response_topic.encode(), told, 1, False, forwarded_properties(properties))

    # -- who comes and who goes

    async def _connect_who_comes(self) -> None:
        async for member in self._receive:
            try:
                line = await open_line(
                    member.endpoint, Protocol(member.settings), self.tls.get(self.urls[member.place])
                )
            except ClientError as error:
                if member.ask_less(error):
                    self._send.send_nowait(member)
                    continue
                self.failed += 1
                self.trouble = error
                if isinstance(error, ConnectRefused) and error.reason in FINAL_REASONS:
                    self.hopeless += 1
                    if self.hopeless == len(self.members):
                        self._resting.deadline = -math.inf
                else:
                    self._come_back(member, trio.current_time() + next(member.delays))
            else:
                self._born(member, line, trio.current_time())

    def _born(self, member: Member, line: Line, now: float) -> None:
        device = member.device
        member.line = line
        member.delays = member.pauses()
        self._lines[line.fd] = member
        self._poller.add(line.fd, READ)
        self.connected += 1
        self.births += 1
        if device.command_topic:
            line.listen(device.command_topic)
        if device.state_topic:
            birth = device.birth(member.moment)
            line.publish(device.state_topic.encode(), birth, 1, True, member.forwarded)
        for channel in member.channels:
            channel.forget()
        if device.flaky:
            self._order += 1
            lasts = device.connection_chance.expovariate(1.0 / device.uptime)
            heappush(self._later, (now + lasts, self._order, member, line))
        self._dirty.append(member)
        self._flush(now)

    def _gone(self, member: Member, line: Line, now: float) -> None:
        """A Line is closed."""
        self._forget(member, line)
        if not self._ending:
            self.lost += 1
            self.trouble = line.trouble or self.trouble
            self._come_back(member, now + next(member.delays))

    def _forget(self, member: Member, line: Line) -> None:
        self.refused += line.refused
        if line.refused and line.trouble is not None:
            self.trouble = line.trouble
        del self._lines[line.fd]
        member.line = None
        self.connected -= 1

    def _come_back(self, member: Member, when: float) -> None:
        self._order += 1
        heappush(self._later, (when, self._order, member, None))

    def _come_and_go(self, now: float) -> None:
        """Flaky devices lose their connection; those who are away try to come back."""
        later = self._later
        while later and later[0][0] <= now:
            _, _, member, line = heappop(later)
            if line is None:
                self._send.send_nowait(member)
            elif member.line is line:
                line.close()
                self.dropped += 1
                self._forget(member, line)
                chance = member.device.connection_chance
                pause = next(member.delays)
                while chance.random() < STILL_AWAY:
                    pause += next(member.delays)
                self._come_back(member, now + pause)

    # -- the end

    async def _leave(self) -> None:
        """Clear what is retained and disconnect, all who are there."""
        began = trio.current_time()
        waiting = iter(list(self._lines.values()))
        while self._lines and trio.current_time() < began + ENDING_SECONDS + ENDING_SECONDS_EACH * len(self.members):
            now = trio.current_time()
            self._read(now)
            for member in waiting:
                self._say_goodbye(member)
                if trio.current_time() > now + ROUND:
                    break
            for member in list(self._lines.values()):
                line = member.line
                if member.leaving and line is not None and not line.ending and not line.waiting:
                    member.cleared = not line.refused
                    line.disconnect()
                    self._dirty.append(member)
            self._flush(now)
            await trio.sleep(TICK)

    def _say_goodbye(self, member: Member) -> None:
        line = member.line
        if line is not None:
            self.refused += line.refused
            line.refused = 0
            for topic in member.device.retained_topics:
                line.publish(topic.encode(), b"", 1, True, b"")
            member.leaving = True
            self._dirty.append(member)
