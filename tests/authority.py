"""Certificates for tests, by trustme: made once a process, in a folder that goes with it."""

from __future__ import annotations

import atexit
import shutil
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

NAME = "localhost"


class Authority:
    """One authority, the server's certificate for 127.0.0.1 and localhost, and any others that a test asks for."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="triomq-certificates-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.ca = trustme.CA(organization_name="TrioMQ tests")
        self.ca_file = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.certificate, self.key = self.server("127.0.0.1", NAME)

    def server(self, *names: str) -> tuple[Path, Path]:
        """A certificate for these names, and its key."""
        return self._written(self.ca.issue_cert(*names), names[0])

    def client(self, common_name: str, *names: str) -> tuple[Path, Path]:
        return self._written(self.ca.issue_cert(*names, common_name=common_name), f"client-{common_name}")

    def revoking(self, path: Path, *certificates: Path, next_update: timedelta = timedelta(days=30)) -> Path:
        """Write the list that revokes these certificates to `path`; it is `next_update` from now that it runs out."""
        key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        now = datetime.now(UTC)
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes()).subject
        made = x509.CertificateRevocationListBuilder().issuer_name(issuer)
        made = made.last_update(now - timedelta(days=60)).next_update(now + next_update)
        for certificate in certificates:
            serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            made = made.add_revoked_certificate(revoked)
        path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def trusting(self, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """What a Client needs who trusts this authority, and shows a certificate of it where it has one."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if client is not None:
            context.load_cert_chain(*client)
        return context

    def _written(self, leaf: trustme.LeafCert, name: str) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        key.touch(mode=0o600)
        leaf.private_key_pem.write_to_path(key)
        return certificate, key


@cache
def authority(name: str = "") -> Authority:
    """The one of that name; they do not trust each other."""
    return Authority()
