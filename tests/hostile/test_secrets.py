"""One secret in everything that takes one, and a look for it in all that a whole broker says.

The broker logs at its lowest level. It is given the secret as password, as key of tokens, in tokens, as the callback's
authorization, as the password of its own key, and in a URL; strangers bring it in CONNECT, in queries, cookies and
headers. Some of it is right and some wrong, so that both ways are gone.
"""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from broker.auth.hashing import Argon2id
from broker.auth.passwords import User
from broker.cli import beacon
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.types import (
    MQTT_5_0,
    Connack,
    Connect,
    Disconnect,
    Publish,
    Subscribe,
    SubscriptionRequest,
)
from tests.authority import NAME, authority
from tests.cli.conftest import Command, Process

if TYPE_CHECKING:
    from pathlib import Path

SECRET: Final = "canary-5b1d9e77-of-32-characters-at-least"
ENCODED: Final = base64.b64encode(f"ann:{SECRET}".encode()).decode()
TOKEN: Final = jwt.encode({"sub": "ann", "exp": time.time() + 3600, "note": SECRET}, SECRET, "HS256")
WRONG_TOKEN: Final = jwt.encode({"sub": "ann", "exp": time.time() + 3600}, SECRET + "x", "HS256")
# Whatever of these is found anywhere is a leak; of a token its signature is enough.
LEAKS: Final = (SECRET, ENCODED, TOKEN.rpartition(".")[2], WRONG_TOKEN.rpartition(".")[2])

CONFIG: Final = """
[log]
level = "debug"
format = "json"
[[listeners]]
type = "ws"
port = 0
[[listeners]]
type = "unix"
path = "{folder}/socket"
[[listeners]]
type = "tcp"
port = 0
tls = {{ certificate = "{folder}/tls.pem", key = "{folder}/tls.key", key_password_file = "{folder}/key-password" }}
[auth]
password_file = "{folder}/users"
failures_per_minute = 0
[auth.jwt]
key_file = "{folder}/jwt"
algorithms = ["HS256"]
query_parameter = "token"
cookie = "session"
[auth.http]
url = "http://127.0.0.1:{port}/"
authorization_file = "{folder}/authorization"
"""


def write(folder: Path, name: str, data: str | bytes) -> None:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    (folder / name).chmod(0o600)


def planted(folder: Path, port: int) -> Path:
    """The configuration's file, and all that it names; `port` is the callback's."""
    certificate, key = authority().server(NAME, "127.0.0.1")
    encrypted = load_pem_private_key(key.read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode())
    )
    write(folder, "tls.pem", certificate.read_bytes())
    write(folder, "tls.key", encrypted)
    write(folder, "key-password", SECRET)
    write(folder, "users", f"{User('ann', Argon2id.make(SECRET.encode()))}\n")
    write(folder, "jwt", SECRET)
    write(folder, "authorization", f"Bearer {SECRET}")
    write(folder, "broker.toml", CONFIG.format(folder=folder, port=port))
    return folder / "broker.toml"


def exchange(place: int | Path, data: bytes) -> bytes:
    """All that the broker answers to this, until it closes or says no more for a while."""
    said = b""
    with socket.socket(socket.AF_INET if isinstance(place, int) else socket.AF_UNIX) as stream:
        stream.connect(("127.0.0.1", place) if isinstance(place, int) else str(place))
        stream.sendall(data)
        stream.settimeout(20)  # a password takes a while
        try:
            while more := stream.recv(65_536):
                said += more
                stream.settimeout(0.1)
        except TimeoutError:
            pass
    return said


def http(target: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: localhost", *fields, "", "")).encode()


UPGRADE: Final = (
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: mqtt"),
)


def everything_told(port: int) -> bytes:
    """$SYS and all else, as one who is let in sees it over TLS."""
    tls = ssl.create_default_context(cafile=authority().ca_file)
    decoder = Decoder(DecoderLimits(), MQTT_5_0, server=False)
    said = b""
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        tls.wrap_socket(plain, server_hostname=NAME) as stream,
    ):
        stream.sendall(encode(Connect("reader", user_name="ann", password=SECRET.encode()), MQTT_5_0))
        subscriptions = [SubscriptionRequest("$SYS/#", 0), SubscriptionRequest("#", 0)]
        stream.settimeout(1.5)  # what is told is told each second
        began = time.monotonic()
        packets: list[object] = []
        while time.monotonic() < began + 1.5:
            data = stream.recv(65_536)
            said += data
            packets += decoder.feed(data)
            if len(packets) == 1:
                connack = packets[0]
                assert isinstance(connack, Connack)
                assert connack.reason == 0
                stream.sendall(encode(Subscribe(1, subscriptions), MQTT_5_0))
        assert sum(isinstance(packet, Publish) for packet in packets) > 10
        stream.sendall(encode(Disconnect(), MQTT_5_0))
    return said


@pytest.mark.build("plain")  # what is told is not told by what is compiled
def test_one_secret_planted_in_everything(tmp_path: Path) -> None:
    command = Command()
    with socket.create_server(("127.0.0.1", 0)) as callback:
        file = planted(tmp_path, callback.getsockname()[1])  # nobody answers there, which is logged
    told: dict[str, bytes] = {}
    with Process("serve", "-c", str(file)) as process:
        lines = process.error_lines(b'"type": "tcp"')
        ws, mqtts = (int(found[1]) for line in lines if (found := re.search(rb'"url": "[a-z]+://[^":]+:(\d+)', line)))
        for user, password in (
            ("ann", SECRET),
            ("ann", SECRET + "x"),
            ("ann", TOKEN),
            ("x", WRONG_TOKEN),
        ):
            connect = encode(Connect("c", user_name=user, password=password.encode()), MQTT_5_0)
            told[f"CONNECT {user} {password}"] = exchange(mqtts, connect)  # without TLS, by mistake
            told[f"the same, {user} {password}"] = exchange(tmp_path / "socket", connect)
        for name, head in {
            "query": http(f"/mqtt?token={TOKEN}", *UPGRADE),
            "wrong query": http(f"/mqtt?token={WRONG_TOKEN}&password={SECRET}", *UPGRADE),
            "cookie": http("/mqtt", *UPGRADE, "Origin: http://localhost", f"Cookie: session={TOKEN}; other={SECRET}"),
            "authorization": http("/mqtt", *UPGRADE, f"Authorization: Basic {ENCODED}"),
            "no handshake": http("/mqtt", f"Cookie: session={TOKEN}", f"Authorization: Bearer {SECRET}"),
            "a page": http("/", f"Authorization: Basic {ENCODED}"),
            "health": http(f"/healthz?token={SECRET}"),
            "nothing": http(f"/nothing?password={SECRET}"),
            "malformed": http(f"/mqtt?{SECRET}", *UPGRADE[1:], "Sec-WebSocket-Version: 12"),
        }.items():
            told[name] = exchange(ws, head)
        wrong = encode(Connect("w", user_name="ann", password=f"not {SECRET}".encode()), MQTT_5_0)
        nobody = encode(Connect("n", user_name="bob", password=SECRET.encode()), MQTT_5_0)
        for number, connect in enumerate((wrong, nobody)):
            masked = b"\x82" + (
                b"\xfe" + len(connect).to_bytes(2, "big") if len(connect) > 125 else bytes([128 | len(connect)])
            )
            told[f"frames {number}"] = exchange(ws, http("/mqtt", *UPGRADE) + masked + bytes(4) + connect)
        told["everything"] = everything_told(mqtts)
        told["health"] = command("health", "-c", str(file), "--json").output.encode()
        told["shown"] = command("config", "show", "-c", str(file)).output.encode()
        shown = beacon.read(process.popen.pid)
        assert shown is not None
        # A mistake in the file, with the secret in its line; then files that are no good.
        good = file.read_text()
        file.write_text(good.replace("http://127", f"http://ann:{SECRET}@127") + f'password = "{SECRET}"\n')
        by_pid = ("reload", "--pid", str(process.popen.pid))
        refused = command(*by_pid)
        assert refused.exit_code == 2
        told["refused"] = refused.output.encode() + command("check-config", str(file)).output.encode()
        told["environment"] = command("config", "show", env={"BROKER_AUTH__PASSWORD": SECRET}).output.encode()
        file.write_text(good)
        write(tmp_path, "key-password", f"not {SECRET}")
        told["another password"] = command(*by_pid).output.encode()
        write(tmp_path, "key-password", SECRET)
        write(tmp_path, "users", f"ann:{SECRET}\n")
        told["a line that is none"] = command(*by_pid).output.encode()
        process.popen.send_signal(signal.SIGTERM)
        code, out, err = process.wait()
    assert code == 0
    answers = [told[f"the same, ann {password}"][:4] for password in (SECRET, TOKEN, SECRET + "x")]
    assert [(answer[0], answer[3] >= 0x80) for answer in answers] == [(0x20, False), (0x20, False), (0x20, True)]
    assert all(told[name].startswith(b"HTTP/1.1 101 ") for name in ("query", "cookie", "authorization", "frames 0"))
    told |= {"stdout": out, "stderr": b"".join(lines) + err, "beacon": json.dumps(vars(shown)).encode()}
    assert b"SIGHUP" in err
    assert b'"level": "debug"' in err
    assert all(json.loads(line)["message"] for line in told["stderr"].splitlines()), "and each line is an object"
    leaks = [(where, leak) for where, said in told.items() for leak in LEAKS if leak.encode() in said]
    assert leaks == []
