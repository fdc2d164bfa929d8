"""Enhanced authentication: a Chain and a Client of SCRAM, from CONNECT to Grant, and once more."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, cast

import pytest
from scramp import ScramClient

from broker.auth.methods import Denied
from broker.auth.scram import Scram
from broker.core.grants import Grant
from broker.core.ports import Challenge, Peer, Refusal
from broker.packets.codes import REASONS_FROM_SERVER
from broker.packets.reasons import ReasonCode
from broker.packets.types import CONNACK, DISCONNECT, Auth, Connack, Connect, Disconnect, Properties, Publish
from tests.auth.chains import CANARY, HERE, WRONG, Bench, Fixed, alice, granted, refused
from tests.auth.test_scram import ITERATIONS, USERS, keep
from tests.core.parts import accept, new_broker, payloads, request, said, send, session_of, subscribe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.core.ports import Answer


@pytest.fixture(autouse=True)
def no_secret(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of this module lets the password into the log."""
    caplog.set_level(logging.DEBUG)
    yield
    assert CANARY not in caplog.text
    assert not any(CANARY in str(vars(record)) for record in caplog.records)


def scram() -> Scram:
    return Scram({**USERS, "alice": keep(CANARY)}.get, iterations=ITERATIONS)


def connect_with(data: bytes | None, user_name: str | None = None, method: str = "SCRAM-SHA-256") -> Connect:
    properties = Properties()
    properties.authentication_method = method
    properties.authentication_data = data
    return Connect("c", user_name=user_name, properties=properties)


def client(name: str = "alice", password: str = CANARY) -> ScramClient:
    return ScramClient(["SCRAM-SHA-256"], name, password)


def first(one: ScramClient) -> bytes:
    return cast("str", one.get_client_first()).encode()


def go_on(one: ScramClient, challenge: Answer) -> Answer:
    assert isinstance(challenge, Challenge)
    one.set_server_first(challenge.data.decode())
    answer = challenge.exchange.go_on(cast("str", one.get_client_final()).encode())
    assert isinstance(answer, Grant | Refusal | Challenge)
    return answer


def signed_in(bench: Bench) -> Grant:
    one = client()
    return granted(go_on(one, bench.ask(connect_with(first(one)))))


def again(bench: Bench, grant: Grant, data: bytes, method: str = "SCRAM-SHA-256") -> Answer:
    return bench.chain.reauthenticate(grant, method, data, Peer(HERE, "tcp"))


def test_the_methods_are_those_of_connect() -> None:
    assert Bench(Fixed(None)).chain.methods == ()
    bench = Bench(scram=scram())
    methods = [bench.chain.methods]
    bench.chain.replace([], bench.grants, frozenset(), None)
    assert [*methods, bench.chain.methods] == [("SCRAM-SHA-256",), ()]


@pytest.mark.parametrize("user_name", [None, "alice"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_client_proves_itself(user_name: str | None, at_once: bool) -> None:
    bench = Bench(Fixed(Denied("never asked")), scram=scram())
    one = client()
    answer = bench.ask(connect_with(first(one) if at_once else None, user_name))
    assert isinstance(answer, Challenge)
    if not at_once:
        assert answer.data == b""
        answer = cast("Answer", answer.exchange.go_on(first(one)))
    assert bench.counts == (0, 0, 0, 0)
    grant = granted(go_on(one, answer))
    assert (grant.user_name, grant.principal, grant.expires_at) == ("alice", "user:alice", math.inf)
    one.set_server_final(grant.data.decode())  # the Server knows the password too
    assert bench.granted == [("alice", "c", grant.data)]
    assert bench.counted("scram") == (1, 0, 0)


@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("nobody", CANARY)])
def test_a_wrong_proof_is_a_failure(name: str, password: str) -> None:
    bench = Bench(scram=scram(), anonymous=lambda peer: True)
    one = client(name, password)
    answer = bench.ask(connect_with(first(one)))
    assert refused(go_on(one, answer)) == WRONG
    assert bench.counted("scram") == (0, 1, 0)
    assert bench.failures.counted == 1
    assert isinstance(answer, Challenge)
    assert refused(cast("Answer", answer.exchange.go_on(b""))) == ReasonCode.NOT_AUTHORIZED
    assert bench.granted == []


def test_another_user_name_in_connect_is_refused() -> None:
    bench = Bench(scram=scram())
    one = client()
    assert refused(go_on(one, bench.ask(connect_with(first(one), "bob")))) == WRONG


@pytest.mark.parametrize("method", ["SCRAM-SHA-1", "scram-sha-256", ""])
def test_another_method_is_refused(method: str) -> None:
    bench = Bench(Fixed(alice()), scram=scram())
    assert refused(bench.ask(connect_with(None, "alice", method))) == ReasonCode.BAD_AUTHENTICATION_METHOD
    bench = Bench(Fixed(alice()), anonymous=lambda peer: True)
    assert refused(bench.ask(connect_with(None))) == ReasonCode.BAD_AUTHENTICATION_METHOD
    assert bench.counts == (0, 1, 0, 0)


def test_a_password_is_not_ignored_where_only_scram_takes_one() -> None:
    bench = Bench(scram=scram(), anonymous=lambda peer: True)
    assert refused(bench.ask()) == WRONG
    assert granted(bench.ask(Connect("c"))).principal == ""


def test_guesses_by_scram_are_limited() -> None:
    bench = Bench(scram=scram())
    for _ in range(10):
        one = client(password="wrong")
        assert refused(go_on(one, bench.ask(connect_with(first(one))))) == WRONG
    assert refused(bench.ask(connect_with(first(client())))) == ReasonCode.CONNECTION_RATE_EXCEEDED
    assert refused(bench.ask(connect_with(first(client())), "203.0.113.1:1")) == ReasonCode.CONNECTION_RATE_EXCEEDED
    assert isinstance(bench.ask(connect_with(first(client("user"))), "203.0.113.1:1"), Challenge)


def test_of_many_conversations_at_once_ten_are_answered() -> None:
    bench = Bench(scram=scram())
    clients = [client(password="wrong") for _ in range(20)] + [client()]
    asked = [bench.ask(connect_with(first(one))) for one in clients]
    answers = [refused(go_on(one, challenge)) for one, challenge in zip(clients, asked, strict=True)]
    assert answers == [WRONG] * 10 + [ReasonCode.CONNECTION_RATE_EXCEEDED] * 11


def test_verifiers_that_cannot_be_had_refuse() -> None:
    def broken(name: str) -> None:
        raise OSError(CANARY)

    bench = Bench(scram=Scram(broken))
    assert refused(bench.ask(connect_with(first(client())))) == ReasonCode.SERVER_UNAVAILABLE
    assert bench.counted("scram") == (0, 0, 1)
    assert bench.failures.counted == 0


def test_a_reload_ends_what_is_half_done() -> None:
    bench = Bench(scram=scram())
    one = client()
    challenge = bench.ask(connect_with(first(one)))
    bench.chain.replace([], bench.grants, frozenset(), scram())
    assert refused(go_on(one, challenge)) == ReasonCode.SERVER_BUSY


# -- Again


def test_a_client_proves_itself_again() -> None:
    bench = Bench(scram=scram())
    grant = signed_in(bench)
    before = grant.data
    one = client()
    same = granted(go_on(one, again(bench, grant, first(one))))
    assert same is grant
    one.set_server_final(same.data.decode())
    assert same.data != before
    assert same.principal == "user:alice"
    assert bench.counted("scram") == (2, 0, 0)


def test_who_has_proved_himself_again_is_known_for_another_day() -> None:
    bench = Bench(scram=scram())
    grant = signed_in(bench)
    for wait in (80_000, 80_000):
        bench.clock.wait(wait)
        one = client()
        granted(go_on(one, again(bench, grant, first(one))))
    for number in range(20):
        bench.failures.failed(HERE, f"user{number}", bench.clock.now)
    assert signed_in(bench).principal == "user:alice"


def test_it_begins_with_nothing_too() -> None:
    bench = Bench(scram=scram())
    grant = signed_in(bench)
    one = client()
    challenge = again(bench, grant, b"")
    assert isinstance(challenge, Challenge)
    assert challenge.data == b""
    assert isinstance(go_on(one, cast("Answer", challenge.exchange.go_on(first(one)))), Grant)


def test_nobody_becomes_somebody_else() -> None:
    bench = Bench(scram=scram())
    grant = signed_in(bench)
    before = grant.data
    one = client("user", "pencil")
    assert refused(go_on(one, again(bench, grant, first(one)))) == ReasonCode.NOT_AUTHORIZED
    one = client("user", "pencil")
    assert refused(go_on(one, again(bench, Grant(), first(one)))) == ReasonCode.NOT_AUTHORIZED
    assert grant.data == before


def test_a_wrong_proof_is_told_by_disconnect() -> None:
    bench = Bench(scram=scram())
    grant = signed_in(bench)
    one = client(password="wrong")
    assert refused(go_on(one, again(bench, grant, first(one)))) == ReasonCode.NOT_AUTHORIZED
    assert bench.failures.counted == 1
    assert refused(again(bench, grant, b"nonsense")) == ReasonCode.NOT_AUTHORIZED
    assert refused(again(bench, grant, first(client()), "PLAIN")) == ReasonCode.NOT_AUTHORIZED


@pytest.mark.parametrize(
    "reason",
    [
        WRONG,
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.SERVER_BUSY,
        ReasonCode.NOT_AUTHORIZED,
        ReasonCode.CONNECTION_RATE_EXCEEDED,
        ReasonCode.BAD_AUTHENTICATION_METHOD,
    ],
)
def test_every_reason_may_stand_where_it_is_put(reason: ReasonCode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason in REASONS_FROM_SERVER[CONNACK]
    bench = Bench(scram=scram())
    grant = signed_in(bench)
    exchange = again(bench, grant, first(client()))
    assert isinstance(exchange, Challenge)
    monkeypatch.setattr(exchange.exchange, "_hear", lambda data: Refusal(reason))
    assert refused(cast("Answer", exchange.exchange.go_on(b""))) in REASONS_FROM_SERVER[DISCONNECT]


def test_a_backend_that_fails_meanwhile_ends_it() -> None:
    users: dict[str, object] = {"alice": keep(CANARY)}
    bench = Bench(scram=Scram(cast("dict[str, None]", users).get, iterations=ITERATIONS))
    grant = signed_in(bench)
    users["alice"] = "broken"
    assert refused(again(bench, grant, first(client()))) == ReasonCode.SERVER_BUSY
    bench.chain.replace([], bench.grants, frozenset(), None)
    assert refused(again(bench, grant, first(client()))) == ReasonCode.NOT_AUTHORIZED


# -- With packets, through the core


def auth(data: str, reason: ReasonCode = ReasonCode.CONTINUE_AUTHENTICATION) -> Auth:
    properties = Properties()
    properties.authentication_method = "SCRAM-SHA-256"
    properties.authentication_data = data.encode()
    return Auth(reason, properties)


def test_from_connect_to_connack_and_once_more() -> None:
    broker = new_broker(Bench(scram=scram()).chain)
    connection = accept(broker)
    one = client()
    request(connection, "c", authentication_method="SCRAM-SHA-256", authentication_data=first(one))
    (challenge,) = said(connection)
    assert (type(challenge), challenge.reason) == (Auth, 0x18)
    one.set_server_first(challenge.properties.authentication_data.decode())
    send(connection, auth(one.get_client_final()))
    (connack,) = said(connection)
    assert (type(connack), connack.reason) == (Connack, 0)
    one.set_server_final(connack.properties.authentication_data.decode())
    assert session_of(connection).principal == "user:alice"

    one = client()
    send(connection, auth(one.get_client_first(), ReasonCode.RE_AUTHENTICATE))
    (challenge,) = said(connection)
    assert subscribe(connection, "a") == 0, "everything else goes on"
    send(connection, Publish("a", b"1"))
    assert payloads(connection) == [b"1"]
    one.set_server_first(challenge.properties.authentication_data.decode())
    send(connection, auth(one.get_client_final()))
    (done,) = said(connection)
    assert (type(done), done.reason) == (Auth, 0)
    one.set_server_final(done.properties.authentication_data.decode())

    one = client(password="wrong")
    send(connection, auth(one.get_client_first(), ReasonCode.RE_AUTHENTICATE))
    one.set_server_first(said(connection)[0].properties.authentication_data.decode())
    send(connection, auth(one.get_client_final()))
    (end,) = said(connection)
    assert (type(end), end.reason) == (Disconnect, ReasonCode.NOT_AUTHORIZED)
    assert connection.ended


def test_a_connect_without_data_through_the_core() -> None:
    connection = accept(new_broker(Bench(scram=scram()).chain))
    request(connection, "c", authentication_method="SCRAM-SHA-256")
    (empty,) = said(connection)
    assert (type(empty), empty.reason) == (Auth, 0x18)
    one = client()
    send(connection, auth(one.get_client_first()))
    one.set_server_first(said(connection)[0].properties.authentication_data.decode())
    send(connection, auth(one.get_client_final()))
    assert said(connection)[0].reason == 0


def test_a_wrong_password_is_a_connack_without_a_word() -> None:
    connection = accept(new_broker(Bench(scram=scram()).chain))
    one = client(password="wrong")
    request(connection, "c", authentication_method="SCRAM-SHA-256", authentication_data=first(one))
    one.set_server_first(said(connection)[0].properties.authentication_data.decode())
    send(connection, auth(one.get_client_final()))
    (connack,) = said(connection)
    assert (type(connack), connack.reason) == (Connack, WRONG)
    assert connack.properties.reason_string is None
    assert connection.ended


def test_a_method_that_is_not_offered_is_refused() -> None:
    connection = accept(new_broker(Bench(Fixed(alice()), anonymous=lambda peer: True).chain))
    request(connection, "c", authentication_method="SCRAM-SHA-256", authentication_data=first(client()))
    assert said(connection)[0].reason == ReasonCode.BAD_AUTHENTICATION_METHOD
