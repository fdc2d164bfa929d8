"""Listening sockets: what they are called, what goes wrong in opening them, what they leave behind."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from broker.transport.layers import AUTO, HTTP, MQTT
from broker.transport.listeners import Listener, ListenError, listen
from tests.core.parts import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Open = Callable[..., Listener]


@pytest.fixture
def opened() -> Iterator[Open]:
    """`listen`, closed at the end of the test."""
    made: list[Listener] = []

    def open_one(kind: str = "tcp", **arguments: Any) -> Listener:
        if kind != "unix":
            arguments = {"host": "127.0.0.1", **arguments}
        listener = listen(kind, limits(), **arguments)
        made.append(listener)
        return listener

    yield open_one
    for each in made:
        each.close()


def accepted(listener: Listener, host: str = "") -> tuple[socket.socket, object, socket.socket]:
    """(accepted, address, the Client's end) of a connection to it."""
    if listener.path:
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.path)
    else:
        client = socket.create_connection((host or listener.host, listener.port))
    connected, address = listener.socket.accept()
    return connected, address, client


# -- TCP


def test_port_0_is_a_free_one(opened: Open) -> None:
    one, other = opened(), opened()
    assert one.port > 0
    assert one.port != other.port
    assert one.port == one.socket.getsockname()[1]


def test_connections_do_not_block(opened: Open) -> None:
    with pytest.raises(BlockingIOError):
        opened().socket.accept()


@pytest.mark.parametrize("kind", ["tcp", "ws", "auto"])
def test_an_address_in_use_is_said_with_what_to_do(opened: Open, kind: str) -> None:
    port = opened().port
    with pytest.raises(ListenError) as caught:
        opened(kind, port=port)
    assert str(caught.value) == (
        f"{kind}://127.0.0.1:{port}: Address already in use: another program listens on port {port}; "
        "stop it or take another port (0 takes a free one)"
    )


def test_an_address_is_free_again_at_once(opened: Open) -> None:
    first = opened()
    connected, _, client = accepted(first)
    connected.close()  # we first: this side waits in TIME_WAIT
    client.close()
    first.close()
    assert opened(port=first.port).port == first.port


class Forbidden(socket.socket):
    def bind(self, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_privileged_port_is_said(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(ListenError) as caught:
        opened(port=80)
    assert str(caught.value).startswith("tcp://127.0.0.1:80: Permission denied (a port below 1024 needs a privilege")
    with pytest.raises(ListenError) as caught:
        opened(port=8080)
    assert str(caught.value) == "tcp://127.0.0.1:8080: Permission denied"


def test_a_family_that_is_not_there_is_said(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_of_it(*arguments: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", none_of_it)
    with pytest.raises(ListenError, match=r"tcp://\[::1\]:1883: Address family not supported"):
        opened(host="::1", port=1883)


def test_a_name_that_is_nobody_is_said(opened: Open) -> None:
    with pytest.raises(ListenError, match=r"^ws://no such name:0: .*is the host name right\?$"):
        opened("ws", host="no such name")


def test_an_address_of_another_machine_is_said(opened: Open) -> None:
    with pytest.raises(ListenError, match=r"^tcp://192\.0\.2\.1:0: Cannot assign requested address$"):
        opened(host="192.0.2.1")


@pytest.mark.parametrize(
    ("kind", "meant", "url"),
    [
        ("tcp", MQTT, "mqtt://127.0.0.1:{port}"),
        ("ws", HTTP, "ws://127.0.0.1:{port}/mqtt"),
        ("auto", AUTO, "mqtt://127.0.0.1:{port}"),
    ],
)
def test_a_url_can_be_pasted_into_a_client(opened: Open, kind: str, meant: str, url: str) -> None:
    listener = opened(kind)
    assert (listener.type, listener.kind) == (kind, meant)
    assert listener.url == url.format(port=listener.port)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_every_address_is_called_localhost(opened: Open, host: str) -> None:
    listener = opened(host=host)
    assert listener.url == f"mqtt://localhost:{listener.port}"


def test_the_first_path_is_shown() -> None:
    listener = listen("ws", limits(websocket_paths=("/a", "/b")), "127.0.0.1")
    assert listener.url == f"ws://127.0.0.1:{listener.port}/a"
    listener.close()


def test_ipv6(opened: Open) -> None:
    listener = opened(host="::1")
    assert listener.url == f"mqtt://[::1]:{listener.port}"
    connected, address, client = accepted(listener)
    assert listener.peer_name(address) == f"[::1]:{client.getsockname()[1]}"
    assert listener.is_loopback(connected)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port))
    for each in (connected, client):
        each.close()


@pytest.mark.parametrize("through", ["127.0.0.1", "::1"])
def test_every_address_is_that_of_both_families(opened: Open, through: str) -> None:
    """A Client that came over IPv4 is seen at ::ffff:127.0.0.1, and that is loopback too: an Origin is judged by it."""
    listener = opened(host="::")
    connected, _, client = accepted(listener, through)
    assert listener.is_loopback(connected)
    for each in (connected, client):
        each.close()


class At:
    def __init__(self, address: str) -> None:
        self.address = address

    def getsockname(self) -> tuple[str, int]:
        return self.address, 1883


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1%eth0"])
def test_another_address_is_no_loopback(opened: Open, address: str) -> None:
    assert not opened(host="0.0.0.0").is_loopback(At(address))  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_loopback_listener_need_not_look(opened: Open, host: str) -> None:
    assert opened(host=host).is_loopback(At("192.0.2.1"))  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize("nodelay", [True, False])
def test_sockets_are_prepared(nodelay: bool) -> None:
    listener = listen("tcp", limits(tcp_nodelay=nodelay), "127.0.0.1")
    connected, address, client = accepted(listener)
    listener.prepare(connected)
    assert bool(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is nodelay
    assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Three Keep Alive probes more than silence: a Client that vanished is noticed within two minutes.
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000
    assert listener.peer_name(address) == f"127.0.0.1:{client.getsockname()[1]}"
    for each in (connected, client, listener):
        each.close()


# -- Unix


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_unix_socket_has_its_mode_and_goes(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "broker.sock"
    listener = listen("unix", limits(), path=str(path), mode=mode)
    assert listener.url == f"unix:{path}"
    assert (listener.type, listener.kind, listener.host, listener.port) == ("unix", MQTT, "", 0)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    connected, address, client = accepted(listener)
    listener.prepare(connected)
    assert listener.peer_name(address) == "unix"
    assert listener.is_loopback(connected)
    for each in (connected, client):
        each.close()
    listener.close()
    assert not path.exists()
    listener.close()


def test_the_file_of_a_dead_listener_is_taken_over(opened: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "broker.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert os.path.exists(path)
    connected, _, client = accepted(opened("unix", path=path))
    for each in (connected, client):
        each.close()


def test_a_living_listener_is_left_alone(opened: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "broker.sock")
    living = opened("unix", path=path)
    with pytest.raises(ListenError) as caught:
        opened("unix", path=path)
    assert str(caught.value) == f"unix:{path}: another process listens there"
    connected, _, client = accepted(living)
    for each in (connected, client):
        each.close()


def test_a_living_listener_too_busy_to_answer_is_left_alone(opened: Open, tmp_path: Path) -> None:
    path = str(tmp_path / "broker.sock")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(path)
        busy.listen(0)
        first.connect(path)
        with pytest.raises(ListenError, match="another process listens there"):
            opened("unix", path=path)
        assert os.path.exists(path)


def test_a_file_that_is_no_socket_is_left_alone(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="there is a file in the way, and it is no socket"):
        opened("unix", path=str(path))
    assert path.read_text() == "data"


def test_a_folder_that_is_not_there_is_said(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "broker.sock"
    with pytest.raises(ListenError) as caught:
        opened("unix", path=str(path))
    assert str(caught.value) == f"unix:{path}: No such file or directory"


def test_a_path_that_is_too_long_is_said(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="path too long"):
        opened("unix", path=str(tmp_path / ("x" * 200)))


def test_the_file_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    old = listen("unix", limits(), path=str(path))
    path.rename(tmp_path / "kept")  # so that the successor gets another inode
    new = listen("unix", limits(), path=str(path))
    old.close()
    assert path.exists()
    new.close()
    assert not path.exists()


def test_a_file_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    listener = listen("unix", limits(), path=str(folder / "broker.sock"))
    (folder / "broker.sock").unlink()
    folder.rmdir()
    folder.write_text("a file now")
    listener.close()
