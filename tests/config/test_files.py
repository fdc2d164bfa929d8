"""Files that settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from broker.config import Config, ConfigError, load
from broker.config.errors import dotted
from broker.config.files import file_problems, readable_problems, secret_problems
from broker.config.settings import DEFERRED
from tests.authority import authority

if TYPE_CHECKING:
    from pathlib import Path

    import trustme


class Pem:
    """A certificate and its key in two files, and the authority that issued it in a third."""

    def __init__(self, authority: trustme.CA, folder: Path) -> None:
        self.folder = folder
        issued = authority.issue_cert("localhost")
        self.private = issued.private_key_pem.bytes()
        self.certificate = self.write("server.pem", b"".join(part.bytes() for part in issued.cert_chain_pems), 0o644)
        self.key = self.write("server.key", self.private)
        self.authority = self.write("ca.pem", authority.cert_pem.bytes(), 0o644)

    def write(self, name: str, content: bytes, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def encrypted(self, password: bytes) -> Path:
        key = serialization.load_pem_private_key(self.private, None)
        form, encryption = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
        return self.write("encrypted.key", key.private_bytes(serialization.Encoding.PEM, form, encryption))


@pytest.fixture
def pem(authority: trustme.CA, tmp_path: Path) -> Pem:
    return Pem(authority, tmp_path)


def found(allow_readable_keys: bool = False, **tls: Any) -> list[tuple[str, str]]:
    data = {"listeners": [{"type": "tcp", "tls": tls}], "server": {"allow_readable_keys": allow_readable_keys}}
    config = Config.model_validate(data, context=DEFERRED)
    return [
        (dotted(problem.involves[0]).removeprefix("listeners[0].tls."), problem.message)
        for problem in file_problems(config)
    ]


def test_without_tls_there_is_nothing_to_find() -> None:
    assert file_problems(Config()) == []


def test_good_files(pem: Pem, server_pem: Path) -> None:
    assert found(certificate=server_pem) == []
    assert found(certificate=pem.certificate, key=pem.key, client_ca=pem.authority) == []
    host = {"names": ["a"], "certificate": server_pem}
    assert found(certificate=pem.certificate, key=pem.key, hosts=[host]) == []


@pytest.mark.parametrize("name", ["certificate", "key", "key_password_file", "client_ca", "client_crl"])
def test_a_file_that_is_not_there(pem: Pem, name: str) -> None:
    files: dict[str, Any] = {"certificate": pem.certificate, "key": pem.key, "client_ca": pem.authority}
    files[name] = pem.folder / "no"
    assert found(**files) == [(name, f"{pem.folder}/no cannot be read: No such file or directory")]


def test_a_folder_is_no_file(pem: Pem) -> None:
    assert found(certificate=pem.folder, key=pem.key) == [("certificate", f"{pem.folder} is no file")]


def test_a_key_that_belongs_to_another_certificate(pem: Pem, server_pem: Path) -> None:
    assert found(certificate=pem.certificate, key=server_pem) == [
        ("key", f"{server_pem} does not belong to the certificate in {pem.certificate}")
    ]
    hosts = [{"names": ["a"], "certificate": pem.certificate, "key": server_pem}]
    assert [where for where, _ in found(certificate=server_pem, hosts=hosts)] == ["hosts[0].key"]


def test_files_without_what_they_should_hold(pem: Pem) -> None:
    assert found(certificate=pem.key) == [("certificate", f"{pem.key} holds no certificate in PEM form")]
    assert found(certificate=pem.certificate, key=pem.authority, allow_readable_keys=True) == [
        ("key", f"{pem.authority} holds no private key in PEM form")
    ]
    closed = pem.write("alone.pem", pem.certificate.read_bytes())
    assert found(certificate=closed) == [("certificate", f"{closed} holds no private key, and no `key` names its file")]
    assert found(certificate=pem.certificate, key=pem.key, client_ca=pem.key) == [
        ("client_ca", f"{pem.key} holds no certificate in PEM form")
    ]


def test_lists_of_revoked_certificates(pem: Pem, tmp_path: Path) -> None:
    files: dict[str, Any] = {"certificate": pem.certificate, "key": pem.key, "client_ca": pem.authority}
    assert found(**files, client_crl=authority().revoking(tmp_path / "crl.pem")) == []
    assert found(**files, client_crl=pem.authority) == [
        ("client_crl", f"{pem.authority} holds no list of revoked certificates (X509 CRL) in PEM form")
    ]


def test_a_damaged_key(pem: Pem) -> None:
    key = pem.write("bad.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    ((where, message),) = found(certificate=pem.certificate, key=key)
    assert where == "key"
    assert message.startswith(f"{key} and {pem.certificate} cannot be used: ")


def test_an_encrypted_key(pem: Pem) -> None:
    files: dict[str, Any] = {"certificate": pem.certificate, "key": pem.encrypted(b"secret")}
    assert found(**files) == [
        ("key", f"{files['key']} is encrypted; `key_password_file` in [listeners.tls] names its password")
    ]
    assert found(**files, key_password_file=pem.write("right", b"secret\n")) == []
    assert found(**files, key_password_file=pem.write("wrong", b"sekret\n")) == [
        ("key_password_file", f"{files['key']} is not opened by this password")
    ]


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_key_that_everybody_may_read(pem: Pem, mode: int) -> None:
    pem.key.chmod(mode)
    message = f"{pem.key} holds a secret, and every user of this machine may read it; write: chmod o= {pem.key}"
    assert found(certificate=pem.certificate, key=pem.key) == [("key", message)]
    assert found(certificate=pem.certificate, key=pem.key, allow_readable_keys=True) == []
    pem.key.chmod(0o640)
    assert found(certificate=pem.certificate, key=pem.key) == []


def test_a_key_in_a_certificate_that_everybody_may_read(pem: Pem, server_pem: Path) -> None:
    both = pem.write("both.pem", server_pem.read_bytes(), 0o644)
    assert [where for where, _ in found(certificate=both)] == ["certificate"]


def test_loading_tells_the_line_and_the_way_out(pem: Pem) -> None:
    pem.key.chmod(0o644)
    path = pem.write(
        "broker.toml",
        f'[[listeners]]\ntype = "tcp"\n[listeners.tls]\ncertificate = "{pem.certificate}"\n'
        f'key = "{pem.key}"\n'.encode(),
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    (mistake,) = caught.value.mistakes
    assert mistake.where == f"{path}:5:7"
    assert "add to the file:\n        [server]\n        allow_readable_keys = true" in mistake.remedy
    assert load(path, {"BROKER_SERVER__ALLOW_READABLE_KEYS": "true"}).listeners[0].port == 8883


def test_single_files(pem: Pem) -> None:
    assert readable_problems(("x",), pem.authority) == []
    assert secret_problems(("x",), pem.key, allow_readable=False) == []
    assert len(secret_problems(("x",), pem.authority, allow_readable=False)) == 1
