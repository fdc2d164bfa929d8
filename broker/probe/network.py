"""Is anybody there? The name, a connection to each address that it stands for, and TLS where it is spoken."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

import trio

from broker.client.errors import CannotConnect
from broker.client.transport import connect_stream
from broker.probe.check import Group, Stage
from broker.probe.verdict import Wrong

if TYPE_CHECKING:
    from broker.probe.trial import Trial

NETWORK: Final = Group("network")
ADDRESSES: Final = 8  # of one name that are tried
DAY: Final = 86_400  # seconds
RENEWAL: Final = 21  # days left of a certificate, from which on it is worth a word

_NO_TLS: Final = "Is TLS spoken at that port? Plain MQTT is mqtt:// or ws://."
_ADVICE: Final = {
    errno.ECONNREFUSED: "Nobody listens at that port: is the Server running, and is the port right?",
    errno.EHOSTUNREACH: "No way leads there from this machine: network, VPN or routing.",
    errno.ENETUNREACH: "No way leads there from this machine: network, VPN or routing.",
    errno.ETIMEDOUT: "Nobody answered: a firewall may drop what is sent there, or the host is down.",
    errno.ENOENT: "There is no such file: does the Server listen on a Unix socket?",
    errno.EACCES: "This user may not open the socket: look at its owner and mode.",
}


@NETWORK.check("resolve", "The host name has an address", stage=Stage.RESOLVE, schemes=("mqtt", "mqtts", "ws", "wss"))
async def resolve(trial: Trial) -> str:
    """Is the name known?"""
    endpoint = trial.subject.endpoint
    found: list[str] = []
    with trio.CancelScope(deadline=trial.deadline) as scope:
        try:
            answers = await trio.socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Wrong(
                f"{endpoint.host}: {words}",
                expected="an address",
                advice="Is the name spelt right, and does the name service of this machine know it?",
            ) from error
    if scope.cancelled_caught:
        raise Wrong(f"{endpoint.host}: no answer of the name service", expected="an address")
    return ", ".join(found)


@NETWORK.check("port", "The port takes connections", stage=Stage.CONNECT)
async def port(trial: Trial) -> str:
    """Does each address take a connection? A Client may try any of them first."""
    endpoint = trial.subject.endpoint
    if endpoint.scheme == "unix":
        taken = await _try(socket.AF_UNIX, endpoint.path, trial.deadline)
        if isinstance(taken, int):
            raise Wrong(os.strerror(taken), expected="a connection", advice=_ADVICE.get(taken, ""))
        return f"{endpoint.path} takes connections"
    answers = await trio.socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    results: dict[str, float | int] = {}

    async def one(family: int, address: Any) -> None:
        results[str(address[0])] = await _try(family, address, trial.deadline)

    async with trio.open_nursery() as nursery:
        for family, _, _, _, address in answers[:ADDRESSES]:
            nursery.start_soon(one, family, address)
    taken_by = [f"{name} in {taken * 1000:.1f} ms" for name, taken in results.items() if isinstance(taken, float)]
    refused = {name: code for name, code in results.items() if isinstance(code, int)}
    said = [f"{name}: {os.strerror(code)}" for name, code in refused.items()]
    if not taken_by:
        code = next(iter(refused.values()))
        raise Wrong("; ".join(said), expected="a connection", advice=_ADVICE.get(code, ""))
    if said:
        trial.advice.append(f"Not every address answers ({'; '.join(said)}): Clients that try it first are held up.")
    return ", ".join(taken_by)


@NETWORK.check("tls", "TLS, and a certificate that holds", stage=Stage.SECURE, schemes=("mqtts", "wss"))
async def tls(trial: Trial) -> str:
    """Does the handshake end well, as Clients with the same trust would see it, and for how long will it?"""
    subject = trial.subject
    assert subject.tls is not None
    with trio.CancelScope(deadline=trial.deadline):
        try:
            stream = await connect_stream(subject.endpoint, subject.tls.context, subject.tls.server_name)
        except (CannotConnect, OSError) as error:
            raise Wrong(str(error).removeprefix(f"{subject.endpoint}: "), expected="a TLS handshake") from error
        assert isinstance(stream, trio.SSLStream)
        said = [stream.version(), stream.cipher()[0]]
        certificate = stream.getpeercert()
        await trio.aclose_forcefully(stream)
        if certificate:
            days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) // DAY)
            said.append(f"the certificate has {days} days left")
            if days < RENEWAL:
                trial.advice.append("The certificate is to be renewed, or Clients will soon refuse it.")
        else:
            trial.advice.append("The certificate was not checked: Clients that do may refuse it.")
        return ", ".join(said)
    raise Wrong("no answer to the TLS handshake", expected="a TLS handshake", advice=_NO_TLS)


async def _try(family: int, address: Any, deadline: float) -> float | int:
    """Seconds (a float) until connected, or the errno."""
    began = trio.current_time()
    with trio.CancelScope(deadline=deadline):
        try:
            with trio.socket.socket(family, socket.SOCK_STREAM) as opened:
                await opened.connect(address)
        except OSError as error:
            return error.errno or errno.EIO
        return trio.current_time() - began
    return errno.ETIMEDOUT
