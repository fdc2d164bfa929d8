"""The few plain HTTP answers of a WebSocket listener: a page for people, a line for health checks, honest refusals.

Every answer ends the connection and carries the headers that keep a browser from guessing: nothing here needs a
script, a style or a frame.
"""

from __future__ import annotations

import html
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broker.websocket.origins import host_and_port

if TYPE_CHECKING:
    from collections.abc import Sequence

HEALTH: Final = "/healthz"
HOME: Final = "/"

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"

UPGRADE_REQUIRED: Final = (("Upgrade", "websocket"), ("Connection", "Upgrade"))  # what a 426 must say

SECURITY: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)

# For every port of that host, so a mistake heals within a day.
_STRICT_TRANSPORT: Final = (("Strict-Transport-Security", "max-age=86400"),)

_HOME: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>TrioMQ</title></head>
<body>
<h1>TrioMQ</h1>
<p>This is an MQTT 3.1, 3.1.1 and 5.0 broker. Nothing is shown here: MQTT clients connect to</p>
<pre>{url}</pre>
<p>with the WebSocket subprotocol <code>mqtt</code>. In a web page, with <a href="https://github.com/mqttjs/MQTT.js">
MQTT.js</a>:</p>
<pre>
const client = mqtt.connect("{url}");
client.on("connect", () =&gt; {{
  client.subscribe("devices/#");
  client.publish("devices/hello", "from this page");
}});
client.on("message", (topic, payload) =&gt; console.log(topic, payload.toString()));
</pre>
{note}</body>
</html>
"""


class HttpRequest:
    """The head of one HTTP request; header names are in lower case, repeated fields joined with a comma."""

    __slots__ = ("headers", "method", "path", "query")

    def __init__(self, method: str, path: str, query: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers


def answer(
    status: int,
    body: str,
    media: str = TEXT,
    headers: Sequence[tuple[str, str]] = (),
    head: bool = False,
) -> bytes:
    """A whole HTTP response that ends the connection; with `head` its body is left out and still counted."""
    content = body.encode("utf-8")
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines.append(f"Date: {formatdate(usegmt=True)}")
    lines.append("Connection: close")
    lines.append(f"Content-Type: {media}")
    lines.append(f"Content-Length: {len(content)}")
    lines.extend(f"{name}: {value}" for name, value in (*SECURITY, *headers))
    return "\r\n".join((*lines, "", "")).encode("ascii") + (b"" if head else content)


def strict_transport(host: str, secure: bool) -> Sequence[tuple[str, str]]:
    """The header field that keeps a browser to TLS with the `host` that it asked, over a connection that is `secure`.

    Not for this machine: other servers of a developer, without TLS, are called localhost too.
    """
    called = host_and_port(host)
    if not secure or called is None or called[0] == "localhost" or called[0].endswith(".localhost"):
        return ()
    return _STRICT_TRANSPORT


def respond(request: HttpRequest, paths: Sequence[str], secure: bool = False) -> bytes:
    """The answer to a request that is no WebSocket handshake; `paths` are those of the WebSocket endpoint."""
    strict = strict_transport(request.headers.get("host", ""), secure)
    status, text, media, headers = content(request, paths, secure)
    return answer(status, text, media, headers=(*headers, *strict), head=request.method == "HEAD")


def content(
    request: HttpRequest, paths: Sequence[str], secure: bool = False, note: str = ""
) -> tuple[int, str, str, Sequence[tuple[str, str]]]:
    """What `respond` answers: status, body, media type, header fields. The page for people also says the `note`."""
    if request.path not in (HOME, HEALTH) and request.path not in paths:
        return 404, "There is nothing here.\n", TEXT, ()
    if request.method not in ("GET", "HEAD"):
        return 405, "Only GET and HEAD are answered here.\n", TEXT, (("Allow", "GET, HEAD"),)
    if request.path == HEALTH:
        return 200, "ok\n", TEXT, ()
    if request.path == HOME:
        said = f"<p>{html.escape(note)}</p>\n" if note else ""
        return 200, _HOME.format(url=html.escape(_url(request, paths, secure)), note=said), HTML, ()
    text = f"This is a WebSocket endpoint for MQTT clients: {_url(request, paths, secure)}\n"
    return 426, text, TEXT, UPGRADE_REQUIRED


def _url(request: HttpRequest, paths: Sequence[str], secure: bool) -> str:
    host = request.headers.get("host", "")
    path = paths[0] if paths else HOME
    return f"{'wss' if secure else 'ws'}://{host if host_and_port(host) else 'this-host'}{path}"
