"""The server: a Broker, its listeners and its tasks, put together from a Config. The only file that knows everything.

`serve` embeds it: `async with serve(config) as server:`. `run` is the command's: until SIGTERM or SIGINT.
"""

from __future__ import annotations

import gc
import logging
import resource
import signal
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from broker import __version__
from broker.config import Config, LimitsConfig
from broker.config.changes import AT_ONCE, Change, changes
from broker.core.broker import Broker
from broker.core.grants import AllowAll, Grant
from broker.core.limits import Limits
from broker.core.message import ApplicationMessage, expiry
from broker.core.restoring import Restorer
from broker.packets.properties import forwarded_properties
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.topics import check_topic_name
from broker.reloading import Reloading
from broker.site import open_site, settings_of
from broker.store.folder import StoreFailed
from broker.store.store import SqliteStore
from broker.transport import memory
from broker.transport.complaints import Complaints, log
from broker.transport.layers import HTTP, MQTT, Layers
from broker.transport.listeners import Listener, listen
from broker.transport.pump import Pump
from broker.transport.stream import serve_stream
from broker.transport.ticker import Ticker
from broker.transport.tls import KeyPair, Tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from broker.access import Access
    from broker.config import ListenerConfig
    from broker.core.limits import ServerLimits
    from broker.core.ports import Authenticator, Peer, Watcher
    from broker.packets.types import Properties
    from broker.web.service import Web

ALPN: Final = {"tcp": ("mqtt",), "ws": ("http/1.1",), "auto": ("mqtt", "http/1.1"), "unix": ()}
MACOS_OPEN_MAX = 10_240  # what macOS grants although it calls the limit infinite
COLLECT_AFTER = 50_000  # more new objects than freed ones before the collector looks (a guess)


class Overseer(Protocol):
    """Whoever looks after the process of `run`. `beat_every` is in seconds, 0.0 for never."""

    beat_every: float

    def started(self, server: Server) -> None:
        """What was kept is loaded, and all listen."""

    def beat(self) -> None:
        """Connections are being served."""

    def reloading(self) -> None:
        """The configuration is about to be read anew."""

    def reloaded(self, found: Sequence[Change], mistakes: str) -> None:
        """What has changed; or, with `mistakes`, nothing has."""

    def stopping(self) -> None:
        """SIGTERM or SIGINT has come."""


class Server:
    """A running broker. `listeners` say where it listens (`url`, `host`, `port`, `type`); `broker` is the core."""

    def __init__(self, config: Config, authenticator: Authenticator | None) -> None:
        self.config = config
        self.store = _store(config)
        self._own_authenticator = authenticator  # of the program
        self._opened = config.listeners  # as they are open
        self._access: Access | None = None  # of the configuration; None where the program has its own Authenticator
        if authenticator is None and (config.auth_methods or config.roles):
            from broker.access import Access  # what it needs is not imported where nobody is asked

            self._access = Access(config)
            authenticator = self._access.authenticator
        self.broker = Broker(_server_limits(config), authenticator, self.store, __version__)
        self.broker.process = usage_of_process
        self.listeners: list[Listener] = []
        self._pump = Pump(self.broker)
        self._ticker = Ticker(self.broker, self._pump)
        self._stream_limits = Limits()
        self._stopping = trio.CancelScope(shield=True)
        self._workers: trio.Nursery | None = None
        self.reloading: Reloading | None = None  # where the configuration can be read anew
        self._site: Web | None = None
        self._site_settings = settings_of(config, self.has_own_authenticator)
        self._pulses: list[tuple[float, Callable[[], None]]] = []
        self._working = trio.CancelScope(shield=True)  # a cancelled caller says goodbye too: `_stop` bounds how long

    async def serve_stream(
        self,
        stream: trio.abc.Stream,
        *,
        transport: str = "memory",
        websocket: bool = False,
        limits: Limits | None = None,
    ) -> None:
        """Serve one Network Connection on any stream until it ends; `limits` default to those of the configuration."""
        now = trio.current_time()
        layers = Layers(
            self.broker,
            limits or self._stream_limits,
            HTTP if websocket else MQTT,
            transport,
            "ws" if websocket else transport,
            transport,
            True,
            now,
        )
        layers.service, layers.settle = self._pump.http, self._pump.settle
        self._settle(now)
        await serve_stream(stream, layers, self.broker, self._settle, self._pump.watermark)

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> ReasonCode:
        """Publish from within the program, as a Client would; an empty `payload` with `retain` clears a topic.

        Returns what a PUBACK would say: SUCCESS, 0x10 where nobody subscribes, 0x97 where a queue has no room. Raises
        ProtocolError for a Topic Name that is none.
        """
        check_topic_name(topic)
        now = trio.current_time()
        data = payload.encode() if isinstance(payload, str) else payload
        forwarded = b""
        interval = -1
        if properties is not None:
            forwarded = forwarded_properties(properties)
            if properties.message_expiry_interval is not None:
                interval = properties.message_expiry_interval
        if qos and self.broker.journal is not None and self.broker.journal.full:
            return ReasonCode.QUOTA_EXCEEDED
        message = ApplicationMessage(topic, data, 0, qos, retain, forwarded, expiry(interval, now, 0))
        reason = self.broker.publish(message, None, now)
        self._settle(now)
        return ReasonCode(reason)

    @property
    def has_own_authenticator(self) -> bool:
        """Whether the program says who is let in, and not the configuration."""
        return self._own_authenticator is not None

    def listener_names(self) -> dict[str, str]:
        """What the configuration calls its listeners, by their URLs."""
        return {
            listener.url: each.label for listener, each in zip(self.listeners, self._opened, strict=True) if each.name
        }

    def store_state(self) -> dict[str, object] | None:
        """How the data folder fares; None without one."""
        store = self.store
        if store is None:
            return None
        return {
            "state": store.state,
            "durability": store.durability,
            "path": str(store.folder.path),
            "free_bytes": store.figures.free,
        }

    def settle(self, now: float) -> None:
        """Let what was put out for Clients leave."""
        self._settle(now)

    def _settle(self, now: float) -> None:
        self._pump.flush(now)
        self._ticker.check()

    def _open(self) -> None:
        """Put back what the data folder holds, then open all listeners, or none."""
        config = self.config
        self._stream_limits = config.limits.build()
        store = self.store
        if store is not None:
            now = trio.current_time()
            store.open(now)
            store.load(Restorer(self.broker, self._stream_limits, now), _tell_progress)
        try:
            for each in config.listeners:
                limits = each.build_limits()
                host, port, path = each.host or "", each.port or 0, each.path or ""
                listener = listen(each.type, limits, host, port, path, each.mode, _tls(each))
                listener.proxy_protocol, listener.trusted_proxies = each.proxy_protocol, each.trusted_proxies
                self.listeners.append(listener)
        except BaseException:
            for listener in self.listeners:
                listener.close()
            raise
        if self._access is not None:
            self._access.opened(list(zip(self.listeners, config.listeners, strict=True)))

    def _start(self, nursery: trio.Nursery) -> None:
        for listener in self.listeners:
            self._pump.listen(listener)
        now = trio.current_time()
        self.broker.start(now)
        self._audit(self._access, now)
        self._pump.watch_memory(now)
        if self.store is not None:
            self.store.start(now)
            self._pump.watch(self.store.fileno(), self.store.collect)
        nursery.start_soon(self._work)

    async def _work(self) -> None:
        try:
            with self._working:
                async with trio.open_nursery() as nursery:
                    self._workers = nursery
                    if self.config.web.wanted:
                        self._pump.http = self._site = open_site(self, self._site_settings, nursery, self._access)
                    nursery.start_soon(self._pump.run, nursery, self._ticker.check)
                    nursery.start_soon(self._ticker.run)
                    for pulse in self._pulses:
                        nursery.start_soon(self._beat, *pulse)
                    if self.store is not None:
                        nursery.start_soon(self._tend, self.store)
        finally:
            self._pump.close()

    def pulse(self, seconds: float, beat: Callable[[], None]) -> None:
        """Have the pump itself call `beat` every so often: where it does not come, nobody is served."""
        self._pulses.append((seconds, beat))
        if self._workers is not None:
            self._workers.start_soon(self._beat, seconds, beat)

    async def _beat(self, seconds: float, beat: Callable[[], None]) -> None:
        ours, watched = socket.socketpair()
        ours.setblocking(False)
        watched.setblocking(False)

        def go_on(_: float) -> None:
            watched.recv(64)
            beat()

        with ours, watched:
            self._pump.watch(watched.fileno(), go_on)
            try:
                while True:
                    with suppress(BlockingIOError):  # the pump has taken none of many
                        ours.send(b"\0")
                    await trio.sleep(seconds)
            finally:
                self._pump.unwatch(watched.fileno())

    async def _tend(self, store: SqliteStore) -> None:
        while True:
            await trio.sleep(1)
            now = trio.current_time()
            store.tick(now)
            self._settle(now)

    async def _written(self) -> None:
        """Wait until the store has committed what was recorded so far, and who waited for that was told."""
        store, journal = self.store, self.broker.journal
        if store is None or journal is None or store.state == "failed":
            return
        position = journal.latest()
        while journal.committed < position:  # noqa: ASYNC110 - an Event would cost each round of the pump a look
            await trio.sleep(0.002)

    async def _stop(self) -> None:
        """Accept no more, say goodbye, and give what is unsent a bounded time to leave."""
        self._pump.stop_accepting()
        with trio.move_on_after(self.broker.limits.shutdown_timeout / 2, shield=True):
            await self._written()
        now = trio.current_time()
        self.broker.shut_down(now)
        if self._site is not None:
            self._site.stop()
        self._settle(now)
        self._stopping.deadline = now + self.broker.limits.shutdown_timeout
        with self._stopping:
            await self._pump.all_closed()

    async def reload(self, config: Config) -> list[Change]:
        """Take over what a running broker can of `config`, and read the files anew that it names; what has changed.

        Raises TlsError or AccessError, and then nothing is changed. Those who are connected stay; what they may do from
        now on goes by the new roles. Listeners are known again by their addresses.
        """
        found = changes(self.config, config)
        wants_access = self._own_authenticator is None and bool(config.auth_methods or config.roles)
        old = self._access
        access: Access | None = None
        if wants_access:
            from broker.access import Access  # as above

            access = await trio.to_thread.run_sync(Access, config, old)
        site_settings = settings_of(config, self.has_own_authenticator)
        pairs = list(self._same_listeners(config))
        certificates = [
            (listener.tls, await trio.to_thread.run_sync(_tls, wanted))
            for listener, wanted in pairs
            if listener.tls is not None and wanted.tls is not None
        ]
        for tls, fresh in certificates:
            if fresh is not None:
                tls.adopt(fresh)
        for listener, wanted in pairs:
            _overwrite(listener.limits, wanted.build_limits())
        _overwrite(self._stream_limits, config.limits.build())
        self.broker.forget_limits()
        server = _server_limits(config)
        for path in AT_ONCE:
            if path[0] == "server" and hasattr(server, path[-1]):
                setattr(self.broker.limits, path[-1], getattr(server, path[-1]))
        self._pump.watch_memory(trio.current_time())
        if access is not None:
            access.opened(pairs)
            if old is not None:
                access.follow(old)
            self.broker.authenticator = access.authenticator
        elif old is not None:
            self.broker.authenticator = AllowAll()
        self._site_settings.adopt(site_settings)
        if access is not None and self._site is not None:
            access.hear_of(self._site.accounts, old)
        if access is not None or old is not None:
            self._regrant(access)
        self._access = access
        self.config = config
        if old is not None:
            await old.aclose()
        return found

    def _regrant(self, access: Access | None) -> None:
        """Have everybody here go by `access`, and end those whose users are gone."""
        broker = self.broker
        now = trio.current_time()
        expelled = 0
        for session in list(broker.sessions.values()):
            broker.regrant(session, Grant() if access is None else access.grant(session))
            holder = session.holder()
            if access is not None and holder is not None and not access.knows(holder.grant):
                expelled += 1
                holder.fail(ProtocolError(ReasonCode.NOT_AUTHORIZED, "the user is not there any more"), now)
        if expelled:
            broker.stats.clients_expelled += expelled
            log.info("%d Clients are disconnected, for their users are not there any more", expelled)
        self._audit(access, now)
        self._settle(now)

    def _audit(self, access: Access | None, now: float) -> None:
        may_retain = access.auditor() if access is not None else None
        if may_retain is not None:
            self.broker.audit_retained(may_retain, now)

    def _same_listeners(self, config: Config) -> Iterator[tuple[Listener, ListenerConfig]]:
        """The listeners that are open, with what `config` says of them; not those that it does not name."""
        left = list(config.listeners)
        for listener, was in zip(self.listeners, self._opened, strict=True):
            for each in left:
                if (each.type, each.host, each.port, each.path) == (was.type, was.host, was.port, was.path):
                    left.remove(each)
                    yield listener, each
                    break

    def stop_at_once_on(self, signals: AsyncIterator[int]) -> None:
        """A signal from now on ends the waiting for what is unsent."""
        if self._workers is not None:
            self._workers.start_soon(self._hear, signals)

    async def _hear(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            log.warning("%s again: closing at once", signal.Signals(number).name)
            self._stopping.cancel()


@asynccontextmanager
async def serve(
    config: Config | None = None,
    *,
    authenticator: Authenticator | None = None,
    watchers: tuple[Watcher, ...] = (),
) -> AsyncIterator[Server]:
    """Run a broker for as long as the block lasts. Without a Config: TCP on 127.0.0.1:1883, WebSocket on :8080.

    Leaving the block shuts it down in an orderly way: DISCONNECT 0x8B to 5.0 Clients, outboxes flushed within
    `server.shutdown_timeout`, and with a data folder everything committed. Raises ListenError when an address can't be
    had, TlsError when certificates can't be used, AccessError when what authentication needs can't, ConfigError when a
    listener beyond loopback would let anybody in, StoreError when the data folder can't be used, and StoreFailed out of
    the block when it could not be written.
    """
    config = config or Config.default()
    config.check_access(authenticated=authenticator is not None)
    server = Server(config, authenticator)
    server.broker.watchers = (_Log(), *watchers)
    fault: BaseException | None = None
    try:
        server._open()
        async with trio.open_nursery() as nursery:
            server._start(nursery)
            try:
                yield server
            except trio.Cancelled:
                raise
            except BaseException as error:
                fault = error
                raise
            finally:
                try:
                    await server._stop()
                finally:
                    server._working.cancel()
    except BaseExceptionGroup as group:
        failed: BaseException | None = group.subgroup(StoreFailed)
        while isinstance(failed, BaseExceptionGroup):
            failed = failed.exceptions[0]
        if failed is not None:
            raise failed from None  # nothing else that came of it matters
        if fault is None or len(group.exceptions) != 1:
            raise
        raise fault from fault.__cause__  # the caller's own, as it was: the nursery is our business
    finally:
        server._pump.close()
        if server._access is not None:
            with trio.move_on_after(1, shield=True):
                await server._access.aclose()
        if server.store is not None:
            server.store.close(trio.current_time())


async def run(
    config: Config,
    *,
    started: Callable[[Server], None] | None = None,
    authenticator: Authenticator | None = None,
    reread: Callable[[], Config] | None = None,
    overseer: Overseer | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then shut down in an orderly way. `started` is called once all listen, and before
    the `overseer` is told.

    At SIGHUP, or when it is asked for over HTTP, `reread` gives the configuration to go on with; where it raises
    ConfigError the old one stays.
    """
    _raise_file_limit()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with serve(config, authenticator=authenticator) as server:
            server.reloading = Reloading(server, reread, overseer) if reread is not None else None
            gc.collect()
            gc.freeze()
            gc.set_threshold(COLLECT_AFTER, 20, 100)
            if started is not None:
                started(server)
            if overseer is not None:
                overseer.started(server)
                if overseer.beat_every:
                    server.pulse(overseer.beat_every, overseer.beat)
            while (number := await anext(signals)) == signal.SIGHUP:
                if server.reloading is not None:
                    await server.reloading.at_sighup()
            log.info("%s: shutting down", signal.Signals(number).name)
            if overseer is not None:
                overseer.stopping()
            server.stop_at_once_on(signals)


def _overwrite(limits: Limits, fresh: Limits) -> None:
    """Make `limits`, which others hold, those of `fresh`."""
    for name in LimitsConfig.model_fields:
        setattr(limits, name, getattr(fresh, name))


def _tls(listener: ListenerConfig) -> Tls | None:
    """The certificates that a listener wants. Raises TlsError."""
    wanted = listener.tls
    if wanted is None:
        return None
    return Tls(
        KeyPair(wanted.certificate, wanted.key, wanted.key_password_file),
        client_ca=wanted.client_ca,
        client_crl=wanted.client_crl,
        required=wanted.require_client_certificate,
        minimum_version=wanted.minimum_version,
        hosts=[(each.names, KeyPair(each.certificate, each.key)) for each in wanted.hosts],
        protocols=ALPN[listener.type],
    )


def _server_limits(config: Config) -> ServerLimits:
    """`[server]`, with what only the machine knows."""
    limits = config.server_limits()
    if limits.memory is None:
        limits.memory = memory.of_control_group()
    return limits


def _store(config: Config) -> SqliteStore | None:
    """The store that the configuration wants, not yet opened."""
    wanted = config.store
    if wanted.path is None or wanted.durability == "none":
        return None
    return SqliteStore(wanted.path, wanted.durability, reserve=wanted.reserve, ballast=wanted.ballast)


def _tell_progress(done: int, total: int) -> None:
    logging.getLogger("broker.store").info("Reading what was kept: %d of %d rows", done, total)


def usage_of_process() -> tuple[float, int]:
    """CPU seconds of this process, user and system, and its resident bytes: 0 where only their peak is told."""
    return time.process_time(), memory.resident()


def _raise_file_limit() -> None:
    """Let the process open as many files as it may at all: each connection takes one, and 1024 is what many get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (hard, MACOS_OPEN_MAX):
        if soft == resource.RLIM_INFINITY or (most != resource.RLIM_INFINITY and most <= soft):
            return
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return


class _Log:
    """The Watcher that tells the log."""

    def __init__(self) -> None:
        self._complaints = Complaints()

    def connected(self, client_identifier: str, peer: Peer) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s connected from %s over %s", _shown(client_identifier), peer.address, peer.transport)

    def disconnected(self, client_identifier: str, peer: Peer, reason: str) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s disconnected from %s: %s", _shown(client_identifier), peer.address, _shown(reason))

    def refused(self, client_identifier: str, peer: Peer, reason: str) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s refused, from %s: %s", _shown(client_identifier), peer.address, _shown(reason))

    def noticed(self, kind: str, text: str) -> None:
        self._complaints.complain(trio.current_time(), logging.WARNING, kind, _shown(text))


def _shown(text: str) -> str:
    """A stranger's words in one line of bounded length, without control characters."""
    return text[:200].encode("unicode_escape").decode("ascii")
