"""What a development CA makes, judged by OpenSSL through `ssl` wherever that can judge it."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from broker.cli import authority
from broker.cli.authority import AuthorityError, Pair, Shown

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def ca() -> Pair:
    return authority.make_ca(NOW)


def written(pair: Pair, folder: Path, stem: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    authority.write_pair(pair, certificate, key, force=False)
    return certificate, key


def shown(pair: Pair, folder: Path) -> Shown:
    return authority.read_certificates(written(pair, folder, "shown")[0])[0]


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Both halves of a handshake in memory; the server's end of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (one, other):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert other.version() == "TLSv1.3"
    return other


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "a.test"])
def test_both_ends_take_each_other(ca: Pair, tmp_path: Path, name: str) -> None:
    root, _ = written(ca, tmp_path, "ca")
    names = ["localhost", "127.0.0.1", "::1", "A.test"]
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(root))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(*written(authority.make_server(ca, names, NOW), tmp_path, "server"))
    client = ssl.create_default_context(cafile=str(root))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(*written(authority.make_client(ca, "sensor-7", NOW), tmp_path, "client"))
    found = shake_hands(server, client, name).getpeercert()
    assert found is not None
    assert found["subject"] == ((("commonName", "sensor-7"),),)


def test_another_name_is_not_taken(ca: Pair, tmp_path: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*written(authority.make_server(ca, ["localhost"], NOW), tmp_path, "server"))
    client = ssl.create_default_context(cadata=ca.certificate.decode())
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(server, client, "127.0.0.1")


def test_a_client_cannot_pass_for_a_server(ca: Pair, tmp_path: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*written(authority.make_client(ca, "localhost", NOW), tmp_path, "client"))
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake_hands(server, ssl.create_default_context(cadata=ca.certificate.decode()), "localhost")


def test_how_long_they_live(ca: Pair, tmp_path: Path) -> None:
    root = authority.read_certificates(written(ca, tmp_path, "ca")[0])[0]
    leaf = shown(authority.make_server(ca, ["a"], NOW), tmp_path)
    assert root.not_after - root.not_before == timedelta(days=3650)
    assert leaf.not_after - leaf.not_before == timedelta(days=825)
    assert leaf.not_before == NOW - timedelta(hours=1)
    assert leaf.days_left(NOW) == 824
    assert leaf.days_left(leaf.not_after + timedelta(seconds=1)) == -1


def test_nothing_outlives_its_ca(ca: Pair, tmp_path: Path) -> None:
    late = NOW + timedelta(days=3600)
    leaf = shown(authority.make_server(ca, ["a"], late), tmp_path)
    assert leaf.not_after == NOW - authority.SKEW + timedelta(days=3650)
    with pytest.raises(AuthorityError, match="the CA has expired: make a new one"):
        authority.make_client(ca, "a", NOW + timedelta(days=3650))


@pytest.mark.parametrize(
    ("name", "names"),
    [("sensor-7", ("sensor-7",)), ("ann@example.org", ("ann@example.org",)), ("Ann Önder", ()), ("ä@b", ())],
)
def test_a_client_is_named_by_its_common_name(ca: Pair, tmp_path: Path, name: str, names: tuple[str, ...]) -> None:
    found = shown(authority.make_client(ca, name, NOW), tmp_path)
    assert found.subject == f"CN={name}"
    assert found.issuer.startswith("CN=TrioMQ development CA ")
    assert (found.names, found.usage, found.key) == (names, ("client",), "EC secp256r1")


@pytest.mark.parametrize("name", ["", " ", "a ", "a\nb", "x" * 65])
def test_names_that_no_client_has(ca: Pair, name: str) -> None:
    with pytest.raises(AuthorityError, match="1 to 64 printable"):
        authority.make_client(ca, name, NOW)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "http://a", "10.0.0.0/8", "a..b", "ä.test", "-a"])
def test_names_that_no_server_has(ca: Pair, name: str) -> None:
    with pytest.raises(AuthorityError, match="neither a DNS name nor an IP address"):
        authority.make_server(ca, [name], NOW)


def test_a_server_needs_a_name(ca: Pair) -> None:
    with pytest.raises(AuthorityError, match="at least one name"):
        authority.make_server(ca, [], NOW)


def test_a_long_name_of_a_server_stands_among_its_names(ca: Pair, tmp_path: Path) -> None:
    name = ".".join(["x" * 30] * 4)
    found = shown(authority.make_server(ca, [name, "*.b.test"], NOW), tmp_path)
    assert (found.subject, found.names) == ("CN=server", (name, "*.b.test"))


def test_keys_are_for_their_owner(ca: Pair, tmp_path: Path) -> None:
    certificate, key = written(ca, tmp_path, "ca")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(certificate.stat().st_mode) & 0o400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "ca.key"]


@pytest.mark.parametrize("there", ["x.crt", "x.key"])
def test_what_is_there_stays(ca: Pair, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    (tmp_path / there).chmod(0o644)
    with pytest.raises(AuthorityError, match=f"{there} is there already; --force writes over it"):
        written(ca, tmp_path, "x")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]
    authority.write_pair(ca, tmp_path / "x.crt", tmp_path / "x.key", force=True)
    assert (tmp_path / "x.key").read_bytes() == ca.key
    assert stat.S_IMODE((tmp_path / "x.key").stat().st_mode) == 0o600


def test_where_nothing_can_be_written(ca: Pair, tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match=r"nowhere/x\.key: No such file or directory"):
        written(ca, tmp_path / "nowhere", "x")
    (tmp_path / "x.crt").mkdir()
    with pytest.raises(AuthorityError, match=r"x\.crt: Is a directory"):
        authority.write_pair(ca, tmp_path / "x.crt", tmp_path / "x.key", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.crt", "x.key"]


def test_a_ca_is_read_again(ca: Pair, tmp_path: Path) -> None:
    assert authority.read_ca(*written(ca, tmp_path, "ca")) == ca


def test_files_that_are_no_ca(ca: Pair, tmp_path: Path) -> None:
    certificate, key = written(ca, tmp_path, "ca")
    leaf, leaf_key = written(authority.make_client(ca, "a", NOW), tmp_path, "leaf")
    for one, other, why in (
        (leaf, leaf_key, "are of no CA"),
        (certificate, leaf_key, "do not belong together"),
        (key, certificate, "cannot be read as"),
        (certificate, tmp_path / "no.key", "No such file"),
    ):
        with pytest.raises(AuthorityError, match=why):
            authority.read_ca(one, other)


def test_certificates_of_others_are_read(tmp_path: Path) -> None:
    root = trustme.CA()
    issued = root.issue_cert("mail@example.org", common_name="me", key_type=trustme.KeyType.RSA)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(issued.cert_chain_pems[0].bytes() + root.cert_pem.bytes())
    leaf, above = authority.read_certificates(chain)
    assert leaf.names == ("mail@example.org",)
    assert leaf.key == "RSA 2048"
    assert leaf.usage == ("server", "client")
    assert above.usage == ("CA",)
    der = tmp_path / "leaf.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))
    assert authority.read_certificates(der) == [leaf]


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(AuthorityError, match="holds no certificate"):
        authority.read_certificates(file)


def test_a_key_is_no_certificate(ca: Pair, tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="holds a private key; name its certificate"):
        authority.read_certificates(written(ca, tmp_path, "ca")[1])
