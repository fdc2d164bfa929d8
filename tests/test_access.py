"""Authentication and roles as a configuration writes them, through a broker that listens: who comes in, and to what."""

from __future__ import annotations

import time
from base64 import b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import trio
from scramp import ScramClient, ScramMechanism

import broker
from broker.access import Access
from broker.auth.hashing import Argon2id
from broker.auth.methods import AccessError
from broker.config import Config
from broker.core.session import Session
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Auth, Connack, Connect, Disconnect, Properties, Publish
from tests.authority import NAME, authority
from tests.core.parts import accept, new_broker
from tests.core.parts import limits as core_limits
from tests.scripted import Peer, WebSocketStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from broker.server import Server

SECRET = b"0123456789abcdef0123456789abcdef"
ANN = Argon2id.make(b"secret").text
WRONG = ReasonCode.BAD_USER_NAME_OR_PASSWORD
REFUSED = ReasonCode.NOT_AUTHORIZED

STREAMS: list[trio.abc.Stream] = []  # of the test that runs


@asynccontextmanager
async def serving(listeners: list[dict[str, Any]] | None = None, **tables: Any) -> AsyncIterator[Server]:
    """A broker with these listeners, on any port of this machine."""
    given = [{"host": "127.0.0.1", "port": 0, **each} for each in listeners or [{"type": "tcp"}]]
    config = Config.model_validate({"listeners": given, "server": {"shutdown_timeout": 0.05}, **tables})
    with trio.fail_after(30):
        async with broker.serve(config) as server:
            try:
                yield server
            finally:
                while STREAMS:
                    await trio.aclose_forcefully(STREAMS.pop())


async def to(
    server: Server, number: int = 0, shown: tuple[Path, Path] | None = None, target: str = "", origin: str = ""
) -> Peer:
    """A new connection, in TLS where the listener speaks it, with the certificate that is `shown`."""
    listener = server.listeners[number]
    stream: trio.abc.Stream = await trio.open_tcp_stream(listener.host, listener.port)
    STREAMS.append(stream)
    if listener.tls is not None:
        stream = trio.SSLStream(stream, authority().trusting(shown), server_hostname=NAME, https_compatible=True)
    if listener.type == "ws":
        websocket = WebSocketStream(stream, listener.url.removesuffix("/mqtt") + (target or "/mqtt"))
        await websocket.open()
        stream = websocket
    return Peer(stream, MQTT_5_0)


async def answer(peer: Peer, user_name: str | None = None, password: bytes | None = None, name: str = "c") -> int:
    """The Reason Code of the CONNACK."""
    await peer.send(Connect(name, MQTT_5_0, True, 0, user_name, password))
    connack = await peer.expect(Connack)
    return connack.reason


@pytest.fixture
def users(tmp_path: Path) -> dict[str, Any]:
    """`[auth]` with the password file of ann and bob."""
    file = tmp_path / "users"
    file.touch(mode=0o600)
    file.write_text(f"ann:{ANN}\nbob:{ANN}\n")
    return {"password_file": file}


async def test_passwords(users: Mapping[str, Any]) -> None:
    async with serving(auth=users) as server:
        for user_name, password, reason in (
            ("ann", b"secret", 0),
            ("ann", b"secret", 0),
            ("ann", b"Secret", WRONG),
            ("eve", b"secret", WRONG),
            (None, None, REFUSED),
        ):
            assert await answer(await to(server), user_name, password) == reason, user_name


async def test_nobody_comes_in_unasked_where_it_is_not_said(users: Mapping[str, Any]) -> None:
    listeners: list[dict[str, Any]] = [{"type": "tcp"}, {"type": "ws"}, {"type": "tcp", "allow_anonymous": True}]
    async with serving(listeners, auth=users) as server:
        assert [await answer(await to(server, number)) for number in range(3)] == [REFUSED, REFUSED, 0]
        assert await answer(await to(server, 2), "ann", b"wrong") == WRONG, "who gives a name has to prove it"


async def test_a_session_is_its_users(users: Mapping[str, Any]) -> None:
    async with serving(auth=users) as server:
        first = await to(server)
        assert await answer(first, "ann", b"secret") == 0
        assert await answer(await to(server), "bob", b"secret") == REFUSED
        await first.quiet()
        assert await answer(await to(server), "ann", b"secret") == 0
        disconnect = await first.expect(Disconnect)
        assert disconnect.reason == ReasonCode.SESSION_TAKEN_OVER


async def test_guesses_are_limited(users: Mapping[str, Any]) -> None:
    async with serving(auth={**users, "failures_per_minute": 2}) as server:
        reasons = [await answer(await to(server), "ann", b"guess") for _ in range(4)]
        assert reasons[:2] == [WRONG, WRONG]
        assert reasons[-1] == ReasonCode.CONNECTION_RATE_EXCEEDED


async def test_roles(users: Mapping[str, Any]) -> None:
    roles = [
        {"name": "all", "users": ["ann"], "allow_publish": ["#"], "allow_subscribe": ["#"]},
        {"name": "own", "users": ["bob"], "allow_publish": ["home/%u/#"], "allow_subscribe": ["home/%u/#"]},
    ]
    async with serving(auth=users, roles=roles) as server:
        ann, bob = await to(server), await to(server)
        assert await answer(ann, "ann", b"secret", "a") == 0
        assert await answer(bob, "bob", b"secret", "b") == 0
        assert await bob.subscribe("#", "home/#", "home/bob/+") == [REFUSED, REFUSED, 0]
        assert await bob.publish("home/ann/x", b"", 1) == REFUSED
        assert await ann.publish("home/x", b"not his", 1) == ReasonCode.NO_MATCHING_SUBSCRIBERS
        assert await ann.publish("home/bob/x", b"his", 1) == 0
        received = await bob.expect(Publish)
        assert (received.topic, received.payload) == ("home/bob/x", b"his")
        await bob.quiet()


async def test_roles_of_those_who_are_not_asked() -> None:
    roles = [{"name": "guests", "users": ["anonymous"], "allow_subscribe": ["news/#"]}]
    async with serving(roles=roles) as server:
        guest = await to(server)
        assert await answer(guest, "any", b"name") == 0
        assert await guest.subscribe("news/+", "private") == [0, REFUSED]


@pytest.mark.parametrize("kind", ["tcp", "ws"])
async def test_certificates(kind: str) -> None:
    made = authority()
    tls = {"certificate": made.certificate, "key": made.key, "client_ca": made.ca_file, "user_name": "cn"}
    roles = [{"name": "own", "users": ["*"], "allow_publish": ["%u/#"]}]
    async with serving([{"type": kind, "tls": tls}], roles=roles) as server:
        peer = await to(server, shown=made.client("ann"))
        assert await answer(peer) == 0
        assert await peer.publish("ann/x", b"", 1) == ReasonCode.NO_MATCHING_SUBSCRIBERS
        assert await peer.publish("bob/x", b"", 1) == REFUSED
        assert await answer(await to(server, shown=made.client("bob")), "ann") == WRONG
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            await answer(await to(server))


@pytest.mark.parametrize("kind", ["tcp", "ws"])
async def test_a_certificate_is_revoked_by_a_reload(kind: str, tmp_path: Path) -> None:
    made = authority()
    crl = made.revoking(tmp_path / "crl.pem")
    tls = {"certificate": made.certificate, "key": made.key, "client_ca": made.ca_file, "client_crl": crl}
    async with serving([{"type": kind, "tls": {**tls, "user_name": "cn"}}], auth={}) as server:
        ann, bob = made.client("ann"), made.client("bob")
        assert await answer(await to(server, shown=ann), name="1") == 0
        made.revoking(crl, ann[0])
        assert await answer(await to(server, shown=ann), name="2") == 0, "it has not been read"
        await server.reload(server.config)
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            await answer(await to(server, shown=ann), name="3")
        assert await answer(await to(server, shown=bob), name="4") == 0


def token(**claims: Any) -> bytes:
    return jwt.encode({"sub": "ann", "exp": time.time() + 60, **claims}, SECRET, "HS256").encode()


async def test_tokens(tmp_path: Path, users: Mapping[str, Any]) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(SECRET + b"\n")
    settings = {"key_file": key, "algorithms": ["HS256"], "query_parameter": "token", "leeway": 0}
    async with serving([{"type": "tcp"}, {"type": "ws"}], auth={**users, "jwt": settings}) as server:
        assert await answer(await to(server), None, token()) == 0
        assert await answer(await to(server), "ann", token()) == 0
        assert await answer(await to(server), "ann", b"secret") == 0, "and passwords beside them"
        assert await answer(await to(server), "bob", token()) == WRONG
        assert await answer(await to(server), None, token(exp=time.time() - 60)) == REFUSED
        assert await answer(await to(server), None, token()[:-4] + b"AAAA") == WRONG
        assert await answer(await to(server, 1, target=f"/mqtt?token={token().decode()}")) == 0
        assert await answer(await to(server, 1)) == REFUSED
        short = await to(server)
        assert await answer(short, None, token(exp=time.time() + 1)) == 0
        disconnect = await short.expect(Disconnect)
        assert disconnect.reason == REFUSED


async def test_scram(tmp_path: Path) -> None:
    stored = scram_line("ann", "secret")
    file = tmp_path / "users"
    file.touch(mode=0o600)
    file.write_text(stored)
    async with serving(auth={"password_file": file, "scram": True}) as server:
        peer = await to(server)
        client = ScramClient(["SCRAM-SHA-256"], "ann", "secret")
        await peer.send(Connect("c", MQTT_5_0, True, 0, properties=enhanced(client.get_client_first())))
        challenge = await peer.expect(Auth)
        assert challenge.reason == ReasonCode.CONTINUE_AUTHENTICATION
        client.set_server_first(said(challenge))
        await peer.send(Auth(ReasonCode.CONTINUE_AUTHENTICATION, enhanced(client.get_client_final())))
        connack = await peer.expect(Connack)
        assert connack.reason == 0
        client.set_server_final(said(connack))  # who raises if the Server does not know the password


def scram_line(name: str, password: str) -> str:
    salt, stored, server, iterations = ScramMechanism("SCRAM-SHA-256").make_auth_info(password)
    fields = [b64encode(each).decode() for each in (salt, stored, server)]
    return f"{name}:{ANN}:$scram-sha-256${iterations}${fields[0]}${fields[1]}${fields[2]}\n"


def enhanced(text: str) -> Properties:
    values = Properties()
    values.authentication_method = "SCRAM-SHA-256"
    values.authentication_data = text.encode()
    return values


def said(packet: Auth | Connack) -> str:
    data = packet.properties.authentication_data
    assert data is not None
    return data.decode()


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "no user"), ("ann\n", "users:1"), (f"ann:{ANN}\nann:{ANN}\n", "users:2"), (None, "No such file")],
)
async def test_a_file_that_is_not_right_lets_nobody_in(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "users"
    if content is not None:
        file.touch(mode=0o600)
        file.write_text(content)
    with pytest.raises(AccessError, match=why):
        async with serving(auth={"password_file": file}):
            pytest.fail("it listens")


async def test_a_pattern_that_is_none_lets_nobody_in() -> None:
    with pytest.raises(AccessError, match="deny_publish"):
        async with serving(roles=[{"name": "r", "users": ["*"], "deny_publish": ["a/\ufffe"]}]):
            pytest.fail("it listens")


# -- Reload


def config_of(server: Server, **tables: Any) -> Config:
    listener = server.listeners[0]
    given: dict[str, Any] = {"type": listener.type, "host": "127.0.0.1", "port": 0, **tables.pop("listener", {})}
    return Config.model_validate({"listeners": [given], "server": {"shutdown_timeout": 0.05}, **tables})


async def test_a_reload_knows_new_users_and_new_passwords(users: Mapping[str, Any]) -> None:
    async with serving(auth=users) as server:
        first = await to(server)
        assert await answer(first, "ann", b"secret", "first") == 0
        users["password_file"].write_text(f"ann:{Argon2id.make(b'other').text}\neve:{ANN}\n")
        assert await server.reload(config_of(server, auth=users)) == [], "nothing that stands in the configuration"
        assert await answer(await to(server), "ann", b"secret") == WRONG
        assert await answer(await to(server), "ann", b"other", "a") == 0
        assert await answer(await to(server), "eve", b"secret", "e") == 0
        assert await answer(await to(server), "bob", b"secret") == WRONG
        await first.quiet()


async def test_a_reload_with_mistakes_changes_nothing(users: Mapping[str, Any]) -> None:
    async with serving(auth=users) as server:
        good = users["password_file"].read_text()
        users["password_file"].write_text(good + "broken\n")
        with pytest.raises(AccessError, match="users:3"):
            await server.reload(config_of(server, auth=users, roles=[{"name": "none", "users": ["*"]}]))
        ann = await to(server)
        assert await answer(ann, "ann", b"secret") == 0
        assert await ann.subscribe("#") == [0]


async def test_new_roles_hold_for_those_who_are_here_and_for_what_waits_for_others(users: Mapping[str, Any]) -> None:
    roles = [{"name": "all", "users": ["*"], "allow_publish": ["#"], "allow_subscribe": ["#"]}]
    async with serving(auth=users, roles=roles) as server:
        ann, bob = await to(server), await to(server)
        assert await answer(ann, "ann", b"secret", "a") == 0
        await bob.send(Connect("b", MQTT_5_0, True, 0, "bob", b"secret", properties=lasting()))
        await bob.expect(Connack)
        assert await ann.subscribe("#") == [0]
        assert await bob.subscribe("#", qos=1) == [1]
        await bob.send(Disconnect())
        server.publish("private", b"queued", qos=1)
        assert (await ann.expect(Publish)).payload == b"queued"
        less = [{"name": "all", "users": ["*"], "allow_publish": ["#"], "allow_subscribe": ["news/#"]}]
        (change,) = await server.reload(config_of(server, auth=users, roles=less))
        assert change.path == "roles[0].allow_subscribe"
        assert not change.restart
        server.publish("private", b"live", qos=1)
        server.publish("news/1", b"public", qos=1)
        assert (await ann.expect(Publish)).payload == b"public"
        assert await ann.subscribe("private") == [REFUSED]
        again = await to(server)
        await again.send(Connect("b", MQTT_5_0, False, 0, "bob", b"secret", properties=lasting()))
        assert (await again.expect(Connack)).session_present
        assert (await again.expect(Publish)).payload == b"public"
        await again.quiet()


async def test_who_is_not_in_the_password_file_any_more_is_disconnected(users: Mapping[str, Any]) -> None:
    async with serving([{"type": "tcp"}, {"type": "ws"}], auth=users) as server:
        ann, bob = await to(server), await to(server, 1)
        assert await answer(ann, "ann", b"secret", "a") == 0
        assert await answer(bob, "bob", b"secret", "b") == 0
        users["password_file"].write_text(f"ann:{ANN}\n")
        await server.reload(config_of(server, auth=users))
        assert (await bob.expect(Disconnect)).reason == ReasonCode.NOT_AUTHORIZED
        await bob.closed()
        await ann.quiet()
        assert server.broker.stats.clients_expelled == 1
        assert server.broker.sys_topics.values(0.0)["clients/expelled"] == "1"
        await server.reload(config_of(server, auth={"http": {"url": "http://127.0.0.1:9/"}}))
        assert (await ann.expect(Disconnect)).reason == ReasonCode.NOT_AUTHORIZED, "no password is proof any more"


async def test_retained_messages_go_with_the_right_to_retain_them(users: Mapping[str, Any], tmp_path: Path) -> None:
    roles = [{"name": "all", "users": ["*"], "allow_publish": ["#"], "allow_subscribe": ["#"]}]
    less = [
        {"name": "all", "users": ["*"], "allow_publish": ["to/%c"], "allow_subscribe": ["#"]},
        {"name": "more", "users": ["ann"], "allow_publish": ["#"]},
    ]
    store = {"path": tmp_path / "data"}
    async with serving(auth=users, roles=roles, store=store) as server:
        for name in ("ann", "bob"):
            peer = await to(server)
            assert await answer(peer, name, b"secret", name) == 0
            for topic in (f"from/{name}", f"to/{name}"):
                await peer.publish(topic, b"x", qos=1, retain=True)
        server.publish("from/the program", b"x", retain=True)
        await server.reload(config_of(server, auth=users, roles=roles, store=store))
        assert await retained(server) == ["from/ann", "from/bob", "from/the program", "to/ann", "to/bob"]
        await server.reload(config_of(server, auth=users, roles=less, store=store))
        assert await retained(server) == ["from/ann", "from/the program", "to/ann", "to/bob"]
    least = [{"name": "all", "users": ["ann"], "allow_publish": ["from/#"]}]
    async with serving(auth=users, roles=least, store=store) as server:
        assert await retained(server) == ["from/ann", "from/the program"], "what is kept is looked at when it is loaded"


async def retained(server: Server) -> list[str]:
    """The topics that have a retained message, when all were looked at."""
    while server.broker.audit is not None:  # noqa: ASYNC110 - the core has no Events
        await trio.sleep(0.001)
    return sorted(each.topic for each in server.broker.retained.read("#") if each is not None)


async def test_roles_of_a_proof_stay_with_one_whose_connack_waits(users: Mapping[str, Any]) -> None:
    config = Config.model_validate({"auth": users, "roles": [{"name": "r", "allow_publish": ["#"]}]})
    access = Access(config)
    core = new_broker()
    session = Session("c", core_limits(), core.stats, 0)
    session.principal = "user:ann"
    session.claimed_by = connection = accept(core)
    connection.grant.roles, connection.grant.method = ("r",), "jwt"
    grant = access.grant(session)
    assert grant.publish("a", 0, False) == 0
    assert (grant.roles, grant.method) == (("r",), "jwt")
    await access.aclose()


def lasting() -> Properties:
    values = Properties()
    values.session_expiry_interval = 600
    return values


async def test_authentication_comes_and_goes_by_a_reload(users: Mapping[str, Any]) -> None:
    async with serving() as server:
        assert await answer(await to(server)) == 0
        await server.reload(config_of(server, auth=users))
        assert await answer(await to(server)) == REFUSED
        assert await answer(await to(server), "ann", b"secret", "ann's") == 0
        await server.reload(config_of(server))
        assert await answer(await to(server)) == 0


async def test_limits_and_certificates_are_taken_over(tmp_path: Path) -> None:
    made, other = authority(), authority("stranger")
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    for file, content in ((certificate, made.certificate), (key, made.key)):
        file.write_bytes(content.read_bytes())
    tls = {"tls": {"certificate": certificate, "key": key}}
    async with serving([{"type": "tcp", **tls}]) as server:
        assert await answer(await to(server)) == 0
        for file, content in ((certificate, other.certificate), (key, other.key)):
            file.write_bytes(content.read_bytes())
        limits = {"maximum_packet_size": 5000, "connect_packet_size": 5000}
        found = await server.reload(config_of(server, listener=tls, limits=limits))
        assert "limits.maximum_packet_size" in [change.path for change in found]
        with pytest.raises(trio.BrokenResourceError):
            await answer(await to(server))
        listener = server.listeners[0]
        stream = await trio.open_tcp_stream(listener.host, listener.port)
        STREAMS.append(stream)
        peer = Peer(trio.SSLStream(stream, other.trusting(), server_hostname=NAME), MQTT_5_0)
        await peer.send(Connect("c", MQTT_5_0, True, 0))
        connack = await peer.expect(Connack)
        assert connack.properties.maximum_packet_size == 5000


async def test_bounds_of_the_whole_broker_are_taken_over() -> None:
    wanted = {
        "sessions_per_user": 7,
        "subscription_bytes": 5000,
        "flapping_connects": 1,
        "flapping_window": 9.0,
        "flapping_ban": 90.0,
        "takeover_storm": 3,
    }
    async with serving() as server:
        assert [await answer(await to(server)) for _ in range(3)] == [0, 0, 0]
        config = config_of(server)
        again = {"listeners": config.listeners, "server": {"shutdown_timeout": 0.05, **wanted}}
        found = await server.reload(Config.model_validate(again))
        assert {change.path for change in found if not change.restart} >= {f"server.{name}" for name in wanted}
        assert {name: getattr(server.broker.limits, name) for name in wanted} == wanted
        assert [await answer(await to(server)) for _ in range(3)] == [0, ReasonCode.BANNED, ReasonCode.BANNED]


async def test_a_service_that_cannot_be_reached_lets_nobody_in() -> None:
    async with serving(auth={"http": {"url": "http://127.0.0.1:9/", "timeout": 2}}) as server:
        assert await answer(await to(server), "ann", b"secret") == ReasonCode.SERVER_UNAVAILABLE
