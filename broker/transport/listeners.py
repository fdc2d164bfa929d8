"""Listening sockets: opening them, what kind of bytes they expect, and how they name themselves."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from broker.transport.layers import AUTO, HTTP, MQTT

if TYPE_CHECKING:
    from broker.core.limits import Limits
    from broker.transport.tls import Tls
    from broker.websocket.forwarded import Networks

BACKLOG: Final = 4096  # the system caps it (net.core.somaxconn)
KEEPALIVE_IDLE: Final = 60  # seconds of silence before TCP itself asks whether the peer is there
KEEPALIVE_INTERVAL: Final = 15
KEEPALIVE_PROBES: Final = 4

KINDS: Final = {"tcp": MQTT, "ws": HTTP, "unix": MQTT, "auto": AUTO}


class ListenError(Exception):
    """A listener could not be opened; the text says which and what to do."""


class Listener:
    """One listening socket. `type` is tcp, ws, unix or auto; `url` can be pasted into a client."""

    def __init__(
        self, opened: socket.socket, kind: str, limits: Limits, host: str, port: int, path: str, tls: Tls | None = None
    ) -> None:
        self.socket = opened
        self.type = kind
        self.kind = KINDS[kind]
        self.transport = kind
        self.limits = limits
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls  # a reload changes what is in it
        self.url = _url(kind, host, port, path, limits, tls is not None)
        self.connections = 0
        self.paused = False
        self.proxy_protocol = False  # each connection begins with a PROXY header
        self.trusted_proxies: Networks = ()  # who may say for whom it speaks
        self._inode = os.stat(path).st_ino if path else 0
        self._loopback_only = not path and _is_loopback(host)
        if sys.platform == "linux" and kind != "unix":
            _set_options(opened, limits)

    def prepare(self, connected: socket.socket) -> None:
        """Make an accepted socket ready. On Linux it has its options from the listening one."""
        connected.setblocking(False)
        if sys.platform != "linux" and self.type != "unix":
            _set_options(connected, self.limits)

    def peer_name(self, address: object) -> str:
        if isinstance(address, tuple):
            host, port = address[0], address[1]
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return "unix"

    def is_loopback(self, connected: socket.socket) -> bool:
        """Whether an accepted connection came in at a loopback address."""
        if self.path or self._loopback_only:
            return True
        return _is_loopback(str(connected.getsockname()[0]))

    def close(self) -> None:
        """Close, and take a Unix socket's file away if it is still ours."""
        self.socket.close()
        if self.path:
            with suppress(OSError):
                if os.stat(self.path).st_ino == self._inode:
                    os.unlink(self.path)


def _set_options(tcp: socket.socket, limits: Limits) -> None:
    """No waiting for full segments, and a backstop against peers that vanish."""
    if limits.tcp_nodelay:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        patience = 1000 * (KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)


def listen(
    kind: str,
    limits: Limits,
    host: str = "",
    port: int = 0,
    path: str = "",
    mode: int = 0o660,
    tls: Tls | None = None,
) -> Listener:
    """Open a listener; with `tls` it speaks TLS. Raises ListenError with the address and what to do about it."""
    if kind == "unix":
        return Listener(_listen_unix(path, mode), kind, limits, "", 0, path)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ListenError(f"{kind}://{_bracketed(host)}:{port}: {error.strerror}: is the host name right?") from None
    family, _, _, _, address = found[0]
    opened: socket.socket | None = None
    try:
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host in ("", "::") else 1)
        opened.setblocking(False)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        if opened is not None:
            opened.close()
        raise ListenError(f"{kind}://{_bracketed(host)}:{port}: {error.strerror}{_advice(error, port)}") from None
    return Listener(opened, kind, limits, host, opened.getsockname()[1], "", tls)


def _listen_unix(path: str, mode: int) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.setblocking(False)
    try:
        _remove_dead(path)
        opened.bind(path)
        os.chmod(path, mode)  # nobody can connect before `listen`
        opened.listen(BACKLOG)
    except ListenError:
        opened.close()
        raise
    except OSError as error:
        opened.close()
        raise ListenError(f"unix:{path}: {error.strerror or error}") from None
    return opened


def _remove_dead(path: str) -> None:
    """Take away a socket file that nobody listens on any more, as a crash leaves it."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise ListenError(f"unix:{path}: there is a file in the way, and it is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            pass  # its backlog is full
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise ListenError(f"unix:{path}: another process listens there")


def _advice(error: OSError, port: int) -> str:
    if isinstance(error, PermissionError):
        return f" (a port below 1024 needs a privilege; take one above, {port} is not)" if port < 1024 else ""
    if error.strerror and "in use" in error.strerror:
        return f": another program listens on port {port}; stop it or take another port (0 takes a free one)"
    return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # of a Client that came to "::" over IPv4
    return bool((mapped or address).is_loopback)


def shown_host(host: str) -> str:
    """A host as it stands in a URL that can be pasted: all addresses are shown as this machine."""
    return {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(host, _bracketed(host))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _url(kind: str, host: str, port: int, path: str, limits: Limits, secure: bool) -> str:
    if path:
        return f"unix:{path}"
    shown = shown_host(host)
    if kind == "ws":
        first = limits.websocket_paths[0] if limits.websocket_paths else "/"
        return f"{'wss' if secure else 'ws'}://{shown}:{port}{first}"
    return f"{'mqtts' if secure else 'mqtt'}://{shown}:{port}"
