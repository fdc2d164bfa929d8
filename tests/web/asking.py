"""Requests to an ASGI application in memory, through our own bridge."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import h11

from broker.web.app import build
from broker.web.bans import Bans
from broker.web.exchange import Exchange
from broker.web.heads import read_head
from broker.web.history import History
from broker.web.settings import Settings
from tests.web.lines import MemoryLine

if TYPE_CHECKING:
    from broker.web.exchange import AsgiApp
    from tests.web.systems import Bench


class Answer:
    """A response, as h11 understands it."""

    def __init__(self, said: bytes, method: str) -> None:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
        client.send(h11.EndOfMessage())
        client.receive_data(said)
        head = client.next_event()
        assert isinstance(head, h11.Response), said
        self.status = head.status_code
        self.fields = [(name.decode(), value.decode()) for name, value in head.headers]
        self.headers = dict(self.fields)
        body = bytearray()
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        self.body = bytes(body)

    @property
    def text(self) -> str:
        return (gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body).decode()

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


def site(bench: Bench, *, local: bool = True, bans: Bans | None = None, **settings: Any) -> Asker:
    """Somebody on this machine, or far away, in front of a broker without a dashboard."""
    wanted = Settings(open_here=True)
    for name, value in settings.items():
        assert hasattr(wanted, name)
        setattr(wanted, name, value)
    system = bench.system
    app = build(system, wanted, bans or Bans(system.broker), History(system), {})
    line = MemoryLine() if local else MemoryLine("192.0.2.1:5000", loopback=False)
    return Asker(app, line, "localhost:8080" if local else "broker.example")


class Asker:
    """Somebody with a browser: he keeps the cookie that he is given."""

    def __init__(self, app: AsgiApp, line: MemoryLine | None = None, host: str = "localhost:8080") -> None:
        self.app = app
        self.line = line or MemoryLine()
        self.host = host
        self.headers: dict[str, str] = {}

    async def ask(self, method: str, target: str, json_: object = None, **headers: str) -> Answer:
        fields = {"Host": self.host, **self.headers}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = b""
        if json_ is not None:
            body = json_ if isinstance(json_, bytes) else json.dumps(json_).encode()
            fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **fields}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        parser, read = read_head(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode())
        exchange = Exchange(self.line, parser, read, 1 << 20)
        if body:
            exchange.receive(body)
        self.line.said = b""
        await exchange.run(self.app)
        answer = Answer(self.line.said, method)
        cookie = answer.headers.get("set-cookie")
        if cookie is not None:
            self.headers["Cookie"] = cookie.partition(";")[0]
        return answer

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.ask("GET", target, **headers)
