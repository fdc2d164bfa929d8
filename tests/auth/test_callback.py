"""`broker.auth.callback` against a web service on this machine that answers well, badly, late or never."""

from __future__ import annotations

import json
import logging
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio
import trustme
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from broker.auth.callback import ANSWER_BYTES, ROLES, HttpMethod, _Answer, _Useless
from broker.auth.methods import Denied, Identity, Verdict
from broker.core.ports import Certificate, Peer
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect

UNHURRIED = examples(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ALLOW = {"result": "allow"}
HANG = "hang"  # in place of an answer
CLOSE = "close"


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield
    assert "canary" not in caplog.text


def reply(body: object, status: str = "200 OK", fields: str = "") -> bytes:
    """An HTTP response; `body` is JSON unless it is bytes already."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{fields}\r\n".encode() + data


class Service:
    """A web service that gives `answers` in their order and then the last one for ever."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers) or [ALLOW]
        self.heads: list[h11.Request] = []
        self.questions: list[dict[str, Any]] = []
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self.delay = 0.0
        self.keeps = True  # a connection, after an answer
        self.url = ""

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            async with stream:
                while await self._one(stream):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it lost patience

    async def _one(self, stream: trio.abc.Stream) -> bool:
        parser, body = h11.Connection(h11.SERVER), b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await stream.receive_some()
                if not data:
                    return False
                parser.receive_data(bytes(data))
            elif isinstance(event, h11.Request):
                self.heads.append(event)
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
        self.questions.append(json.loads(body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(self.delay)
            if answer == HANG:
                await stream.receive_some()
            if answer in (HANG, CLOSE):
                return False
            await stream.send_all(answer if isinstance(answer, bytes) else reply(answer))
        finally:
            self.at_once -= 1
        return self.keeps


@asynccontextmanager
async def running(service: Service, tls: ssl.SSLContext | None = None) -> AsyncIterator[Service]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        service.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/canary/check?key=canary"

        async def serve(stream: trio.SocketStream) -> None:
            try:
                await service.serve(trio.SSLStream(stream, tls, server_side=True) if tls else stream)
            except trio.BrokenResourceError:
                return  # a handshake that failed

        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield service
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def asking(service: Service, **settings: Any) -> AsyncIterator[HttpMethod]:
    async with running(service):
        method = HttpMethod(service.url, **{"timeout": 30.0, **settings})
        try:
            yield method
        finally:
            await method.aclose()


def client(
    user_name: str | None = "ada", password: bytes | None = b"canary", address: str = "192.0.2.1:5"
) -> tuple[Connect, Peer]:
    return Connect("c1", user_name=user_name, password=password), Peer(address, "ws", "web")


async def ask(method: HttpMethod, connect: Connect | None = None, peer: Peer | None = None) -> Verdict:
    answer = method.check(connect or client()[0], peer or client()[1])
    if isinstance(answer, Awaitable):
        answer = await answer
    if isinstance(answer, Denied):
        assert "canary" not in answer.detail
        assert "127.0.0.1" not in answer.detail
    return answer


async def test_an_allow_says_who() -> None:
    end = time.time() + 60
    service = Service({"result": "allow", "roles": ["reader"], "expires_at": end, "user_name": "Ada", "cache": 0})
    async with asking(service) as method:
        who = await ask(method)
    assert isinstance(who, Identity)
    assert (who.user_name, who.method, who.roles, who.expires_at) == ("Ada", "http", ("reader",), end)
    assert (method.calls, method.cached, method.failures, method.turned_away) == (1, 0, 0, 0)


async def test_what_the_service_is_told() -> None:
    service = Service({"result": "deny"})
    async with asking(service, authorization="Bearer canary") as method:
        connect, peer = client()
        peer.certificate = Certificate("device 7", "CN=device 7", ())
        await ask(method, connect, peer)
        await ask(method, *client("ada", b"\xff\x00canary"))
        await ask(method, *client(None, None))
    assert service.questions[0] == {
        "client_identifier": "c1",
        "user_name": "ada",
        "password": "canary",
        "address": "192.0.2.1:5",
        "transport": "ws",
        "listener": "web",
        "certificate": "device 7",
    }
    second, third = service.questions[1:]
    assert (second["password"], second["password_base64"], second["certificate"]) == (None, "/wBjYW5hcnk=", None)
    assert (third["user_name"], third["password"]) == (None, None)
    assert "password_base64" not in third
    head = service.heads[0]
    fields = {name.decode(): value.decode() for name, value in head.headers}
    assert (head.method, head.target) == (b"POST", b"/canary/check?key=canary")
    assert (fields["authorization"], fields["content-type"]) == ("Bearer canary", "application/json")
    assert service.connections == 1, "one connection serves all"


async def test_a_deny_and_an_ignore() -> None:
    async with asking(Service({"result": "deny", "roles": ["reader"]}, {"result": "ignore"})) as method:
        no = await ask(method)
        assert isinstance(no, Denied)
        assert (no.reason, no.detail) == (ReasonCode.BAD_USER_NAME_OR_PASSWORD, "the callback says no")
        assert await ask(method) is None
        assert (method.calls, method.failures) == (2, 0)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (reply(ALLOW, "201 Created"), "status of its answer is 201"),
        (reply(ALLOW, "204 No Content"), "status of its answer is 204"),
        (reply(ALLOW, "301 Moved", "Location: /canary\r\n"), "status of its answer is 301"),
        (reply(ALLOW, "307 Moved", "Location: /canary\r\n"), "status of its answer is 307"),
        (reply(ALLOW, "401 canary"), "status of its answer is 401"),
        (reply(ALLOW, "500 canary"), "status of its answer is 500"),
        (reply(b"canary" * 20_000), f"more than {ANSWER_BYTES} bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"canary" * 20_000, f"more than {ANSWER_BYTES} bytes"),
        (reply(b"\x1f\x8bcanary", fields="Content-Encoding: gzip\r\n"), "compressed"),
        (reply(b""), "no JSON"),
        (reply(b"canary"), "no JSON"),
        (reply(b'{"result":"allow"'), "no JSON"),
        (reply(b'{"result":"allow"}canary'), "no JSON"),
        (reply(b'\xff{"result":"allow"}'), "no JSON"),
        (reply(b"[" * 60_000), "no JSON"),
        (reply(b'{"result":"allow","expires_at":NaN}'), "no JSON"),
        (reply(b'{"result":"allow","expires_at":' + b"9" * 5000 + b"}"), "no JSON"),
        (["allow"], "no JSON object"),
        ("allow", "no JSON object"),
        (True, "no JSON object"),
        ({}, "field result"),
        ({"result": "Allow"}, "field result"),
        ({"result": True}, "field result"),
        ({"result": ["allow"]}, "field result"),
        ({"result": None}, "field result"),
        ({**ALLOW, "canary": 1}, "other fields"),
        ({**ALLOW, "roles": "reader"}, "field roles"),
        ({**ALLOW, "roles": ["reader", 7]}, "field roles"),
        ({**ALLOW, "roles": [""]}, "field roles"),
        ({**ALLOW, "roles": None}, "field roles"),
        ({**ALLOW, "roles": ["r"] * (ROLES + 1)}, "field roles"),
        ({**ALLOW, "expires_at": "2030"}, "field expires_at"),
        ({**ALLOW, "expires_at": True}, "field expires_at"),
        (reply(b'{"result":"allow","expires_at":1e999}'), "field expires_at"),
        ({**ALLOW, "expires_at": 10**400}, "field expires_at"),
        ({**ALLOW, "user_name": 7}, "field user_name"),
        ({**ALLOW, "user_name": ""}, "field user_name"),
        ({**ALLOW, "user_name": "a\ncanary"}, "field user_name"),
        ({**ALLOW, "cache": -1}, "field cache"),
        ({**ALLOW, "cache": "60"}, "field cache"),
        (b"canary\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"canary" * 30_000, "RemoteProtocolError"),
        (CLOSE, "RemoteProtocolError"),
    ],
    ids=range(44),
)
async def test_an_answer_that_is_no_good_lets_nobody_in(answer: object, detail: str) -> None:
    service = Service(answer)
    async with asking(service) as method:
        no = await ask(method)
        assert isinstance(no, Denied)
        assert no.reason == ReasonCode.SERVER_UNAVAILABLE
        assert detail in no.detail
        assert method.failures == 1
        assert method.calls == (2 if "RemoteProtocolError" in detail else 1)
        service.answers = [ALLOW]
        assert isinstance(await ask(method), Identity), "and the next call is as good as ever"


@pytest.mark.parametrize("answer", [HANG, b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{", b"HTTP/1.1 2"])
async def test_an_answer_that_does_not_come_in_time_lets_nobody_in(answer: object) -> None:
    service = Service(answer)
    async with asking(service, timeout=0.05, concurrency=1) as method:
        for _ in range(2):
            begin = trio.current_time()
            no = await ask(method)
            assert isinstance(no, Denied)
            assert (no.reason, no.detail) == (0x88, "the callback failed: no answer within 0.05 s")
            assert 0.05 <= trio.current_time() - begin < 2
        assert (method.calls, method.failures) == (2, 2)
        service.answers = [ALLOW]
        method._timeout = 10.0
        assert isinstance(await ask(method), Identity)


async def test_an_answer_that_drips_is_cut_off_by_the_time_for_the_whole() -> None:
    async def drip(stream: trio.SocketStream) -> None:
        try:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            while True:
                await stream.send_all(b" ")
                await trio.sleep(0.01)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, drip, listeners)
        method = HttpMethod(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", timeout=0.1)
        no = await ask(method)
        assert isinstance(no, Denied)
        assert no.detail == "the callback failed: no answer within 0.1 s"
        await method.aclose()
        nursery.cancel_scope.cancel()


async def test_nobody_listens() -> None:
    service = Service()
    async with running(service):
        pass
    method = HttpMethod(service.url)
    no = await ask(method)
    assert isinstance(no, Denied)
    assert (no.reason, no.detail) == (0x88, "the callback failed: ConnectError")
    assert (method.calls, method.failures) == (1, 1)
    await method.aclose()


async def test_a_connection_that_broke_is_replaced_and_the_question_asked_once_more() -> None:
    service = Service({**ALLOW, "cache": 0}, CLOSE, {**ALLOW, "cache": 0}, CLOSE)
    async with asking(service) as method:
        assert isinstance(await ask(method), Identity)
        assert isinstance(await ask(method), Identity)
        assert (method.calls, service.connections) == (3, 2)
        assert isinstance(await ask(method), Denied)
        assert (method.calls, method.failures) == (5, 1)


async def test_who_was_let_in_is_remembered_and_comes_back_without_a_call() -> None:
    now = [100.0]
    service = Service(ALLOW)
    async with asking(service, cache=10.0, monotonic=lambda: now[0]) as method:
        first = await ask(method)
        connect, peer = client(address="192.0.2.1:60000")
        assert method.check(connect, peer) is first, "at once, from another port"
        assert (method.calls, method.cached) == (1, 1)
        for other in (
            (Connect("c2", user_name="ada", password=b"canary"), peer),
            client("eve"),
            client("ada", b"wrong"),
            client("ada", None),
            client(address="192.0.2.2:5"),
            (connect, Peer("192.0.2.1:5", "tcp", "web")),
        ):
            calls = method.calls
            await ask(method, *other)
            assert method.calls == calls + 1, "somebody else is asked for"
        now[0] = 109.9
        assert method.check(connect, peer) is first
        now[0] = 110.0
        assert await ask(method) is not first
        calls = method.calls
        method.forget()
        await ask(method)
        assert method.calls == calls + 1


@pytest.mark.parametrize(
    "answer", [{"result": "deny", "cache": 60}, {"result": "ignore", "cache": 60}, b"canary\r\n\r\n"]
)
async def test_who_was_not_let_in_is_not_remembered(answer: object) -> None:
    async with asking(Service(answer)) as method:
        await ask(method)
        calls = method.calls
        await ask(method)
        assert method.calls == 2 * calls
        assert method.cached == 0


@pytest.mark.parametrize(
    ("setting", "answered", "calls"), [(10.0, None, 1), (10.0, 0, 2), (0.0, None, 2), (0.0, 0.5, 1), (0.0, 1e300, 1)]
)
async def test_an_answer_says_how_long_it_is_good(setting: float, answered: float | None, calls: int) -> None:
    answer = ALLOW if answered is None else {**ALLOW, "cache": answered}
    async with asking(Service(answer), cache=setting, monotonic=lambda: 7.0) as method:
        for _ in range(2):
            assert isinstance(await ask(method), Identity)
        assert method.calls == calls


async def test_nobody_is_let_in_beyond_the_end_that_an_answer_names() -> None:
    wall = [1000.0]
    async with asking(Service({**ALLOW, "expires_at": 1010, "cache": 600}), wall=lambda: wall[0]) as method:
        assert isinstance(await ask(method), Identity)
        wall[0] = 1009.0
        assert isinstance(await ask(method), Identity)
        assert method.calls == 1
        wall[0] = 1010.0
        no = await ask(method)
        assert isinstance(no, Denied)
        assert no.reason == ReasonCode.NOT_AUTHORIZED
        assert method.calls == 2


async def test_what_is_remembered_is_bounded_and_the_oldest_use_is_forgotten() -> None:
    async with asking(Service(ALLOW), entries=2) as method:
        for user_name in ("a", "b", "a", "c", "a"):
            await ask(method, *client(user_name))
        assert (method.calls, method.cached) == (3, 2)
        await ask(method, *client("b"))
        assert method.calls == 4
        assert len(method._allowed) == 2
        assert b"canary" not in b"".join(method._allowed)


@pytest.mark.parametrize("user_name", [None, "", "a\x01b"])
async def test_an_allow_for_somebody_without_a_name_is_no_good(user_name: str | None) -> None:
    async with asking(Service(ALLOW, {**ALLOW, "user_name": "device"})) as method:
        no = await ask(method, *client(user_name))
        assert isinstance(no, Denied)
        assert no.reason == ReasonCode.SERVER_UNAVAILABLE
        who = await ask(method, *client(user_name))
        assert isinstance(who, Identity)
        assert who.user_name == "device"


async def crowd(method: HttpMethod, many: int) -> list[Verdict]:
    verdicts: list[Verdict] = []

    async def one(number: int) -> None:
        verdicts.append(await ask(method, *client(f"user {number}")))

    async with trio.open_nursery() as nursery:
        for number in range(many):
            nursery.start_soon(one, number)
    return verdicts


async def test_few_calls_at_a_time_and_the_rest_in_line() -> None:
    service = Service(ALLOW)
    service.delay = 0.005
    async with asking(service, concurrency=3) as method:
        verdicts = await crowd(method, 20)
        assert all(isinstance(verdict, Identity) for verdict in verdicts)
        assert service.most_at_once == 3
        assert (method.calls, service.connections) == (20, 3)


async def test_the_line_is_bounded_and_whoever_is_too_many_hears_so_at_once() -> None:
    service = Service(ALLOW)
    service.delay = 0.05
    async with asking(service, concurrency=2, waiting=3) as method:
        verdicts = await crowd(method, 12)
        busy = [verdict for verdict in verdicts if isinstance(verdict, Denied)]
        assert [verdict.reason for verdict in busy] == [ReasonCode.SERVER_BUSY] * 7
        assert verdicts[:7] == busy
        assert (method.turned_away, method.calls, method.failures) == (7, 5, 0)
        assert isinstance(await ask(method), Identity)


async def test_the_time_in_line_counts() -> None:
    service = Service(HANG)
    async with asking(service, concurrency=1, timeout=0.1) as method:
        begin = trio.current_time()
        verdicts = await crowd(method, 5)
        assert trio.current_time() - begin < 2
        assert [verdict.reason for verdict in verdicts if isinstance(verdict, Denied)] == [0x88] * 5
        assert method.failures == 5


async def test_a_client_that_went_away_gives_its_place_free() -> None:
    service = Service(HANG)
    async with asking(service, concurrency=1) as method:
        with trio.move_on_after(0.05) as scope:
            await ask(method)
        assert scope.cancelled_caught
        assert method.failures == 0
        service.answers = [ALLOW]
        with trio.fail_after(10):
            assert isinstance(await ask(method), Identity)


async def test_no_place_is_lost_whenever_clients_go_away() -> None:
    service = Service({**ALLOW, "cache": 0})
    service.delay = 0.002
    async with asking(service, concurrency=2) as method:
        for number in range(40):
            with trio.move_on_after(number * 0.0003):
                await crowd(method, 3)
        with trio.fail_after(10):
            assert all(isinstance(verdict, Identity) for verdict in await crowd(method, 6))
        assert method.failures == 0


async def test_a_service_that_keeps_no_connection_is_as_good() -> None:
    service = Service({**ALLOW, "cache": 0})
    service.keeps = False
    async with asking(service) as method:
        for _ in range(5):
            assert isinstance(await ask(method), Identity)
        assert service.connections == 5


async def test_nothing_is_connected_before_it_is_asked() -> None:
    service = Service()
    async with asking(service) as method:
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert service.connections == 0
        await ask(method)
        assert service.connections == 1


async def test_https_is_verified(tmp_path: Any) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    wrong = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.example").configure_cert(wrong)
    for one, name in ((authority, "ours.pem"), (stranger, "theirs.pem")):
        one.cert_pem.write_to_path(str(tmp_path / name))
    for tls, ca_file, good in (
        (context, str(tmp_path / "ours.pem"), True),
        (context, str(tmp_path / "theirs.pem"), False),
        (context, "", False),
        (wrong, str(tmp_path / "ours.pem"), False),
    ):
        service = Service(ALLOW)
        async with running(service, tls):
            method = HttpMethod(service.url, timeout=30.0, ca_file=ca_file)
            answer = await ask(method)
            await method.aclose()
        assert isinstance(answer, Identity if good else Denied)
        assert bool(service.questions) is good, "not a byte of a password before the certificate is good"


@pytest.mark.parametrize(
    ("url", "settings", "text"),
    [
        ("ftp://canary.example", {}, "must be like"),
        ("canary", {}, "must be like"),
        ("https://", {}, "must be like"),
        ("https://[::1", {}, "must be like"),
        ("https://canary:99999/", {}, "must be like"),
        ("https://canary/\r\nx", {}, "must be like"),
        ("https://user:canary@a.example", {}, "no user name and password"),
        ("https://a.example", {"timeout": 0.0}, "timeout"),
        ("https://a.example", {"timeout": float("inf")}, "timeout"),
        ("https://a.example", {"concurrency": 0}, "concurrency"),
        ("https://a.example", {"waiting": -1}, "concurrency"),
        ("https://a.example", {"cache": -1.0}, "cache"),
        ("https://a.example", {"cache": float("nan")}, "cache"),
        ("https://a.example", {"authorization": "canary\r\nx: y"}, "authorization"),
        ("https://a.example", {"authorization": "canärie"}, "authorization"),
        ("https://a.example", {"ca_file": "/nowhere/ca.pem"}, "'/nowhere/ca.pem' cannot be read: No such file"),
        ("https://a.example", {"ca_file": __file__}, "cannot be read"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(url: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as raised:
        HttpMethod(url, **settings)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://accounts.example/", True),
        ("http://192.0.2.1/", True),
        ("http://127.0.0.1:8000/", False),
        ("http://[::1]:8000/", False),
        ("http://localhost/", False),
        ("https://accounts.example/", False),
    ],
)
def test_passwords_in_the_clear_are_warned_of(url: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    HttpMethod(url)
    assert ("in the clear" in caplog.text) is warned


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install triomq\[http\]"):
        HttpMethod("https://a.example")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries(
    {"result": st.just("allow") | JSON}, optional={"roles": JSON, "expires_at": JSON, "user_name": JSON, "cache": JSON}
)


def judged(body: bytes) -> _Answer | str:
    try:
        return _Answer(body)
    except _Useless as error:
        return str(error)


@UNHURRIED
@given(st.binary(max_size=200))
def test_any_bytes_are_judged(body: bytes) -> None:
    assert judged(body) in ("its answer is no JSON", "its answer is no JSON object")


@UNHURRIED
@given(FIELDS)
def test_any_fields_are_judged(fields: dict[str, Any]) -> None:
    answer = judged(json.dumps(fields).encode())
    if isinstance(answer, str):
        assert answer.isprintable()
    else:
        assert answer.result == fields["result"]
        assert all(isinstance(role, str) and role for role in answer.roles)
        assert isinstance(answer.expires_at, float)
        assert answer.user_name is None or answer.user_name
        assert answer.cache is None or answer.cache >= 0
