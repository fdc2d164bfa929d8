"""MQTT.js under a test's command, in Node and in a page of a headless Chromium.

`node/agent.mjs` is the other half: it takes commands and reports events. Node gets them through its standard input and
output; a page through a small HTTP server here, which is also where the page comes from, so that its origin is another
than the broker's, as it is on a dashboard.
"""

from __future__ import annotations

import base64
import http.server
import json
import queue
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from tests.interop import tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 30.0

CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

PROTOCOLS: dict[str, dict[str, object]] = {
    "3.1": {"protocolVersion": 3, "protocolId": "MQIsdp"},
    "3.1.1": {"protocolVersion": 4},
    "5.0": {"protocolVersion": 5},
}


@dataclass(frozen=True)
class Message:
    """An Application Message as MQTT.js handed it over."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class MqttJs:
    """One MQTT.js client; every call waits for its event and raises `queue.Empty` without one."""

    def __init__(self, send: Callable[[dict[str, object]], None]) -> None:
        self._send = send
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._messages: list[dict[str, Any]] = []
        self._connection = 0

    def put(self, event: dict[str, Any]) -> None:
        """Take an event that the agent reported."""
        self._events.put(event)

    def connect(self, url: str, version: str, client_id: str, **options: object) -> dict[str, Any]:
        """Begin a connection; without `reconnectPeriod` it is not tried again. Return what came of it."""
        options = {"reconnectPeriod": 0, "clientId": client_id, **PROTOCOLS[version], **options}
        self._connection += 1
        self._messages.clear()
        self._send({"do": "connect", "url": url, "options": options, "connection": self._connection})
        return self._wait(lambda event: event["event"] in ("connect", "error", "close"))

    def wait(self, kind: str) -> dict[str, Any]:
        """Wait for an event of that kind; messages that come before it are kept for `receive`."""
        return self._wait(lambda event: event["event"] == kind)

    def subscribe(self, topic_filter: str, qos: int = 0) -> list[int]:
        """Subscribe and return the granted QoS or Reason Code of each filter."""
        self._send({"do": "subscribe", "filter": topic_filter, "options": {"qos": qos}})
        granted: list[int] = self._done("subscribe")["granted"]
        return granted

    def unsubscribe(self, topic_filter: str) -> None:
        self._send({"do": "unsubscribe", "filter": topic_filter})
        self._done("unsubscribe")

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, **properties: Any) -> None:
        """Publish and wait for the end of the exchange."""
        options = {"qos": qos, "retain": retain, **({"properties": properties} if properties else {})}
        text = base64.b64encode(payload).decode()
        self._send({"do": "publish", "topic": topic, "payload": text, "options": options})
        self._done("publish")

    def receive_event(self) -> dict[str, Any]:
        """Return the next message with all that was reported of it."""
        if self._messages:
            return self._messages.pop(0)
        return self._wait(lambda event: event["event"] == "message", keep=False)

    def receive(self) -> Message:
        """Return the next message."""
        event = self.receive_event()
        return Message(event["topic"], base64.b64decode(event["payload"]), event["qos"], event["retain"])

    def end(self) -> float:
        """Disconnect; return the seconds until MQTT.js saw the connection closed."""
        self._send({"do": "end"})
        seconds: float = self._done("end")["milliseconds"] / 1000
        return seconds

    def _done(self, action: str) -> dict[str, Any]:
        return self._wait(lambda event: event["event"] == "done" and event["do"] == action)

    def _wait(self, wanted: Callable[[dict[str, Any]], bool], keep: bool = True) -> dict[str, Any]:
        while True:
            event = self._events.get(timeout=SECONDS)
            if event.get("connection", self._connection) != self._connection:
                continue
            if wanted(event):
                return event
            if event["event"] == "failed":
                raise AssertionError(f"MQTT.js failed to {event['do']}: {event['message']}")
            if event["event"] == "message" and keep:
                self._messages.append(event)


@contextmanager
def in_node() -> Iterator[MqttJs]:
    """Run the agent in Node."""
    tools.mqttjs()
    process = subprocess.Popen(
        [tools.program("node", "nodejs"), str(tools.NODE_FOLDER / "main.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    commands, events = process.stdin, process.stdout

    def send(command: dict[str, object]) -> None:
        commands.write(json.dumps(command) + "\n")
        commands.flush()

    client = MqttJs(send)
    reader = threading.Thread(target=_read_lines, args=(events, client))
    reader.start()
    try:
        yield client
    finally:
        commands.close()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
            reader.join()
            events.close()


def _read_lines(lines: IO[str], client: MqttJs) -> None:
    for line in lines:
        client.put(json.loads(line))


class PageServer(http.server.ThreadingHTTPServer):
    """Gives out the page and its scripts, hands commands to it and takes its events."""

    daemon_threads = False

    def __init__(self) -> None:
        scripts = tools.mqttjs() / "dist"  # asked for first: where it is missing, no socket is left open
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.commands: queue.Queue[dict[str, object] | None] = queue.Queue()
        self.client = MqttJs(self.commands.put)
        self.files = {
            "/": (tools.NODE_FOLDER / "page.html", "text/html; charset=utf-8"),
            "/agent.mjs": (tools.NODE_FOLDER / "agent.mjs", "text/javascript"),
            "/mqtt.min.js": (scripts / "mqtt.min.js", "text/javascript"),
        }

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class PageHandler(http.server.BaseHTTPRequestHandler):
    """One request of the page; HTTP/1.0, so that no connection outlives its answer."""

    server: PageServer

    def do_GET(self) -> None:
        if self.path not in self.server.files:
            self.send_error(404)
            return
        file, content_type = self.server.files[self.path]
        self._answer(file.read_bytes(), content_type)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/command":
            self._answer(json.dumps(self.server.commands.get()).encode(), "application/json")
        else:
            self.server.client.put(json.loads(body))
            self._answer(b"{}", "application/json")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is its failures."""

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def page_server() -> Iterator[PageServer]:
    """Serve the page on loopback; a browser that opens it becomes the server's `client`."""
    with PageServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def in_chromium(server: PageServer, profile: Path) -> Iterator[MqttJs]:
    """Open the page in a headless Chromium with a profile of its own."""
    command = [tools.program("chromium", "chromium"), *CHROMIUM_FLAGS, f"--user-data-dir={profile}", server.origin]
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield server.client
    finally:
        server.commands.put(None)
        process.terminate()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
