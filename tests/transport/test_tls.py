"""TLS in memory: handshakes, certificates of both sides, and the layers above; no socket."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import PINGRESP_PACKET, encode
from broker.packets.types import Pingreq
from broker.transport.layers import AUTO, HTTP, MQTT, Layers
from broker.transport.tls import KeyPair, Tls, TlsError, TlsLayer
from tests.authority import Authority, authority
from tests.core.parts import limits, new_broker
from tests.transport.parts import UPGRADE, connect, frame, names

if TYPE_CHECKING:
    from pathlib import Path

PINGREQ = encode(Pingreq(), 5)


class Client:
    """The other side of a TlsLayer: `say` plain bytes into it; what it answers is `heard`."""

    def __init__(self, context: ssl.SSLContext, name: str = "localhost", session: ssl.SSLSession | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)
        self.fault = ""

    def shake(self) -> bytes:
        """The next bytes of the handshake."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.fault = str(error.reason)
        return self._outgoing.read()

    def said(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()

    def take(self, data: bytes) -> None:
        self._incoming.write(data)

    def heard(self) -> bytes:
        parts = []
        while True:
            try:
                part = self.tls.read(65536)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self.fault = str(error.reason)
                break
            if not part:
                break
            parts.append(part)
        return b"".join(parts)


def shaken(layer: TlsLayer, client: Client) -> None:
    """A whole handshake, as far as it goes."""
    for _ in range(6):
        data = client.shake()
        if data:
            assert layer.receive(data) == b""
        client.take(layer.take())
        if (layer.ready and not data) or layer.fault or client.fault:
            break


@pytest.fixture(scope="module")
def certificates() -> Authority:
    return authority()


@pytest.fixture(scope="module")
def tls(certificates: Authority) -> Tls:
    return Tls(KeyPair(certificates.certificate, certificates.key), protocols=("mqtt",))


def mutual(certificates: Authority, required: bool = True, crl: Path | None = None) -> Tls:
    pair = KeyPair(certificates.certificate, certificates.key)
    hosts = [(("other.example.org",), KeyPair(*certificates.server("other.example.org")))] if crl else []
    return Tls(pair, client_ca=certificates.ca_file, client_crl=crl, required=required, hosts=hosts)


# -- The layer


def test_bytes_go_both_ways(tls: Tls, certificates: Authority) -> None:
    layer, client = TlsLayer(tls), Client(certificates.trusting())
    shaken(layer, client)
    assert (layer.ready, layer.fault, client.fault) == (True, "", "")
    assert client.tls.version() == "TLSv1.3"
    assert layer.receive(client.said(b"hello")) == b"hello"
    big = bytes(300_000)
    layer.send(big)
    client.take(layer.take())
    assert client.heard() == big
    assert layer.receive(client.said(big)) == big
    assert layer.certificate() is None


def test_every_cut_is_the_same(tls: Tls, certificates: Authority) -> None:
    layer, client = TlsLayer(tls), Client(certificates.trusting())
    data = client.shake()
    while data:
        for byte in data:
            assert layer.receive(bytes([byte])) == b""
        client.take(layer.take())
        data = client.shake()
    assert b"".join(layer.receive(bytes([byte])) for byte in client.said(b"one by one")) == b"one by one"


def test_goodbye_of_the_client(tls: Tls, certificates: Authority) -> None:
    layer, client = TlsLayer(tls), Client(certificates.trusting())
    shaken(layer, client)
    assert layer.receive(client.said(b"last") + client.goodbye()) == b"last"
    assert layer.closed
    assert layer.receive(b"more") == b""


def test_goodbye_of_the_server(tls: Tls, certificates: Authority) -> None:
    layer, client = TlsLayer(tls), Client(certificates.trusting())
    shaken(layer, client)
    layer.close()
    layer.close()
    client.take(layer.take())
    assert client.heard() == b""
    assert layer.take() == b"", "once is enough"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x00\x00", bytes(100)])
def test_what_is_no_tls_is_a_fault(tls: Tls, data: bytes) -> None:
    layer = TlsLayer(tls)
    assert layer.receive(data) == b""
    assert layer.fault.startswith("TLS: ")
    assert not layer.ready
    layer.send(b"nothing")
    layer.close()


def test_a_flipped_bit_is_a_fault(tls: Tls, certificates: Authority) -> None:
    layer, client = TlsLayer(tls), Client(certificates.trusting())
    shaken(layer, client)
    data = bytearray(client.said(b"hello"))
    data[-1] ^= 1
    assert layer.receive(bytes(data)) == b""
    assert "bad record mac" in layer.fault


@pytest.mark.parametrize(("minimum", "offered", "works"), [("1.2", "1.2", True), ("1.3", "1.2", False)])
def test_the_oldest_version(certificates: Authority, minimum: str, offered: str, works: bool) -> None:
    layer = TlsLayer(Tls(KeyPair(certificates.certificate, certificates.key), minimum_version=minimum))
    context = certificates.trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = Client(context)
    shaken(layer, client)
    assert layer.ready is works
    assert bool(layer.fault) is not works


def test_tls_1_1_is_never_spoken(tls: Tls) -> None:
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_alpn(certificates: Authority, tls: Tls) -> None:
    context = certificates.trusting()
    context.set_alpn_protocols(["x", "mqtt"])
    client = Client(context)
    shaken(TlsLayer(tls), client)
    assert client.tls.selected_alpn_protocol() == "mqtt"


def test_a_session_is_resumed(certificates: Authority, tls: Tls) -> None:
    context = certificates.trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its tickets come with the handshake
    first = Client(context)
    shaken(TlsLayer(tls), first)
    second = Client(context, session=first.tls.session)
    shaken(TlsLayer(tls), second)
    assert second.tls.session_reused


def test_the_name_that_is_asked_for_chooses(certificates: Authority) -> None:
    hosts = [
        (
            ("other.example.org", "*.wild.example.org"),
            KeyPair(*certificates.server("other.example.org", "*.wild.example.org")),
        )
    ]
    tls = Tls(KeyPair(certificates.certificate, certificates.key), hosts=hosts)
    for name in ("localhost", "other.example.org", "a.wild.example.org"):
        client = Client(certificates.trusting(), name)
        shaken(TlsLayer(tls), client)
        assert client.fault == ""
    client = Client(certificates.trusting(), "a.b.wild.example.org")
    shaken(TlsLayer(tls), client)
    assert client.fault == "CERTIFICATE_VERIFY_FAILED"


# -- Clients that show who they are


def test_a_clients_certificate_says_who_it_is(certificates: Authority) -> None:
    layer = TlsLayer(mutual(certificates))
    client = Client(certificates.trusting(certificates.client("ann", "ann.example.org", "ann@example.org")))
    shaken(layer, client)
    layer.receive(client.said(b""))
    found = layer.certificate()
    assert found is not None
    assert found.common_name == "ann"
    assert found.distinguished_name.startswith("CN=ann,")
    assert found.alternative_names == ("ann.example.org", "ann@example.org")


@pytest.mark.parametrize("required", [False, True])
def test_without_a_certificate(certificates: Authority, required: bool) -> None:
    layer, client = TlsLayer(mutual(certificates, required)), Client(certificates.trusting())
    shaken(layer, client)
    client.heard()
    assert layer.ready is not required
    assert bool(layer.fault) is required
    if not required:
        assert layer.certificate() is None


@pytest.mark.parametrize("required", [False, True])
def test_a_certificate_of_another_authority(certificates: Authority, required: bool) -> None:
    stranger = authority("stranger")
    layer = TlsLayer(mutual(certificates, required))
    context = certificates.trusting()
    context.load_cert_chain(*stranger.client("ann"))
    client = Client(context)
    shaken(layer, client)
    assert not layer.ready
    assert layer.fault


@pytest.mark.parametrize("name", ["localhost", "other.example.org"])
@pytest.mark.parametrize("required", [False, True])
def test_a_certificate_that_is_revoked(certificates: Authority, tmp_path: Path, required: bool, name: str) -> None:
    ann, bob = certificates.client("ann"), certificates.client("bob")
    tls = mutual(certificates, required, certificates.revoking(tmp_path / "crl.pem", ann[0]))
    layer, client = TlsLayer(tls), Client(certificates.trusting(bob), name)
    shaken(layer, client)
    assert (layer.ready, layer.fault) == (True, "")
    layer, client = TlsLayer(tls), Client(certificates.trusting(ann), name)
    shaken(layer, client)
    client.heard()
    assert (layer.ready, layer.fault) == (False, "TLS: certificate verify failed: certificate revoked")
    assert client.fault == "SSLV3_ALERT_CERTIFICATE_REVOKED"


def test_a_list_that_has_run_out_or_is_of_another_authority_lets_nobody_in(
    certificates: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "crl.pem"
    other = authority("stranger").revoking(tmp_path / "other.pem")
    for crl, why in (
        (certificates.revoking(path, next_update=timedelta(days=-1)), "CRL has expired"),
        (other, "unable to get certificate CRL"),
    ):
        layer = TlsLayer(mutual(certificates, crl=crl))
        shaken(layer, Client(certificates.trusting(certificates.client("ann"))))
        assert (layer.ready, layer.fault) == (False, f"TLS: certificate verify failed: {why}")


def test_who_is_revoked_does_not_come_back_with_a_ticket(certificates: Authority, tmp_path: Path) -> None:
    path = tmp_path / "crl.pem"
    tls = mutual(certificates, crl=certificates.revoking(path))
    ann = certificates.client("ann")
    context = certificates.trusting(ann)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its tickets come with the handshake
    first = Client(context)
    shaken(TlsLayer(tls), first)
    second = Client(context, session=first.tls.session)
    shaken(TlsLayer(tls), second)
    assert second.tls.session_reused
    certificates.revoking(path, ann[0])
    tls.reload()
    layer = TlsLayer(tls)
    shaken(layer, Client(context, session=first.tls.session))
    assert (layer.ready, layer.fault) == (False, "TLS: certificate verify failed: certificate revoked")


# -- Files


def test_a_reload_takes_the_new_files_or_leaves_the_old(certificates: Authority, tmp_path: Path) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    certificate.write_bytes(certificates.certificate.read_bytes())
    key.write_bytes(certificates.key.read_bytes())
    tls = Tls(KeyPair(certificate, key))
    stranger = authority("stranger")
    certificate.write_bytes(stranger.certificate.read_bytes())
    with pytest.raises(TlsError, match="this is not the key"):
        tls.reload()
    client = Client(certificates.trusting())
    shaken(TlsLayer(tls), client)
    assert client.fault == ""
    key.write_bytes(stranger.key.read_bytes())
    tls.reload()
    client = Client(stranger.trusting())
    shaken(TlsLayer(tls), client)
    assert client.fault == ""


def test_one_file_may_have_both(certificates: Authority, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.key.read_bytes() + certificates.certificate.read_bytes())
    client = Client(certificates.trusting())
    shaken(TlsLayer(Tls(KeyPair(both))), client)
    assert client.fault == ""


def test_files_that_are_not_right(certificates: Authority, tmp_path: Path) -> None:
    good = certificates.certificate, certificates.key
    empty = tmp_path / "empty.pem"
    empty.touch()
    for pair, why in (
        (KeyPair(tmp_path / "none.pem", good[1]), "none.pem: No such file"),
        (KeyPair(empty, good[1]), "no certificate in PEM form"),
        (KeyPair(good[0], empty), "no certificate in PEM form"),
        (KeyPair(good[0], authority("stranger").key), "this is not the key of"),
        (KeyPair(tmp_path), "Is a directory"),
    ):
        with pytest.raises(TlsError, match=why):
            Tls(pair)
    for ca, why in ((empty, "no certificates in PEM form"), (tmp_path / "none.pem", "No such file")):
        with pytest.raises(TlsError, match=why):
            Tls(KeyPair(*good), client_ca=ca)
    with pytest.raises(TlsError, match="that of an authority"):
        Tls(KeyPair(*good), client_ca=good[0])
    for crl, why in ((empty, "no list of revoked"), (good[0], "no list of revoked"), (tmp_path / "none", "No such")):
        with pytest.raises(TlsError, match=why):
            Tls(KeyPair(*good), client_ca=certificates.ca_file, client_crl=crl)


def test_an_encrypted_key_needs_its_password(certificates: Authority, tmp_path: Path) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    plain = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
    key, password = tmp_path / "server.key", tmp_path / "password"
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret words"),
        )
    )
    with pytest.raises(TlsError, match="the key is encrypted; name the file"):
        Tls(KeyPair(certificates.certificate, key))
    password.write_bytes(b"other\n")
    with pytest.raises(TlsError, match="the password is wrong") as caught:
        Tls(KeyPair(certificates.certificate, key, password))
    assert "other" not in str(caught.value)
    password.write_bytes(b"secret words\n")
    Tls(KeyPair(certificates.certificate, key, password))


# -- Under the other layers


def opened(kind: str, tls: Tls | None) -> Layers:
    return Layers(new_broker(), limits(), kind, "127.0.0.1:1", "ws" if kind == HTTP else "tcp", "", True, 0.0, tls)


def spoken(layers: Layers, client: Client, data: bytes) -> bytes:
    """Handshake where it is due, then say `data`; what was answered."""
    for _ in range(4):
        shake = client.shake()
        if shake:
            layers.receive(shake, 0.0)
        client.take(layers.take())
    layers.receive(client.said(data), 0.0)
    while answer := layers.take():
        client.take(answer)
    return client.heard()


@pytest.mark.parametrize("kind", [MQTT, AUTO])
def test_mqtt(certificates: Authority, tls: Tls, kind: str) -> None:
    layers, client = opened(kind, tls), Client(certificates.trusting())
    assert not layers.plain
    assert names(spoken(layers, client, connect("c") + PINGREQ)) == ["Connack", "Pingresp"]
    assert layers.connection.peer.transport == "tls"
    layers.receive(client.goodbye(), 0.0)
    assert layers.connection.end_reason == "closed by the peer"


@pytest.mark.parametrize("kind", [HTTP, AUTO])
def test_websocket(certificates: Authority, tls: Tls, kind: str) -> None:
    layers, client = opened(kind, tls), Client(certificates.trusting())
    answer = spoken(layers, client, UPGRADE + frame(connect("c", 4)))
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\x82\x04\x20\x02\x00\x00")
    assert layers.connection.peer.transport == "wss"


def test_auto_takes_what_is_not_in_tls_too(tls: Tls) -> None:
    layers = opened(AUTO, tls)
    layers.receive(connect("c", 4) + PINGREQ, 0.0)
    assert layers.plain
    assert layers.take() == b"\x20\x02\x00\x00" + PINGRESP_PACKET
    assert layers.connection.peer.transport == "tcp"


@pytest.mark.parametrize("kind", [MQTT, HTTP])
def test_others_do_not(tls: Tls, kind: str) -> None:
    layers = opened(kind, tls)
    layers.receive(connect("c", 4), 0.0)
    assert layers.connection.ended
    assert layers.connection.end_reason.startswith("TLS: ")
    assert not layers.connection.broker.sessions


def test_tls_within_tls_is_no_mqtt(certificates: Authority, tls: Tls) -> None:
    layers, client = opened(AUTO, tls), Client(certificates.trusting())
    spoken(layers, client, b"\x16\x03\x01\x00\x05hello")
    assert layers.connection.ended


def test_the_certificate_is_there_before_the_connect(certificates: Authority) -> None:
    layers = opened(MQTT, mutual(certificates))
    client = Client(certificates.trusting(certificates.client("bob")))
    assert names(spoken(layers, client, connect("c"))) == ["Connack"]
    found = layers.connection.peer.certificate
    assert found is not None
    assert found.common_name == "bob"


def test_the_end_is_said_in_tls(certificates: Authority, tls: Tls) -> None:
    layers, client = opened(MQTT, tls), Client(certificates.trusting())
    assert names(spoken(layers, client, connect("c") + b"\x00\x00")) == ["Connack", "Disconnect"]
    assert layers.take() == b""
    assert client.heard() == b""
    assert client.fault in ("", "TLS/SSL connection has been closed (EOF)")
