"""A development CA: keys and X.509 certificates (RFC 5280), made, written and read.

Keys are EC P-256, the CA lives 3650 days and a leaf 825, the most that common clients take. A file appears whole or not
at all, a key with mode 0600 from its first byte. Of a pair the key is written first, so that a certificate which is
there has its key beside it.

It needs the package `cryptography`, which the extra `certs` installs.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 825
SKEW: Final = timedelta(hours=1)  # that the clock of a device may be behind ours
LONGEST_NAME: Final = 64  # characters of a common name (RFC 5280, ub-common-name)
_HOST_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.I)


class AuthorityError(Exception):
    """What was asked for cannot be made or read; the message says why and, where there is one, the way out."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """What `broker certs show` tells of one certificate. Times are in UTC, `fingerprint` is SHA-256 in hex."""

    subject: str
    issuer: str
    names: tuple[str, ...]  # of the Subject Alternative Name
    usage: tuple[str, ...]  # "CA", "server", "client"
    key: str
    not_before: datetime
    not_after: datetime
    fingerprint: str

    def days_left(self, now: datetime) -> int:
        """Whole days; below 0 when it has expired."""
        return (self.not_after - now) // timedelta(days=1)


def make_ca(now: datetime) -> Pair:
    """A new CA. Its name has a random part: whoever sees several tells them apart."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"TrioMQ development CA {secrets.token_hex(4)}")
    end = now - SKEW + timedelta(days=CA_DAYS)
    builder = (
        _builder(key.public_key(), name, name, now, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def make_server(ca: Pair, names: Sequence[str], now: datetime) -> Pair:
    """A certificate for a Server that is reached by `names`, each a DNS name or an IP address."""
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if not _HOST_NAME.fullmatch(name):
                raise AuthorityError(f"'{name}' is neither a DNS name nor an IP address") from None
            general.append(x509.DNSName(name.lower()))
    if not general:
        raise AuthorityError("a server's certificate needs at least one name")
    first = names[0] if len(names[0]) <= LONGEST_NAME else "server"
    return _leaf(ca, first, general, ExtendedKeyUsageOID.SERVER_AUTH, now)


def make_client(ca: Pair, name: str, now: datetime) -> Pair:
    """A certificate for a Client whose common name is `name`; where that reads as one, a DNS name or e-mail too."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise AuthorityError(f"a client's name has 1 to {LONGEST_NAME} printable characters, and no blank around them")
    general: list[x509.GeneralName] = []
    if name.isascii() and "@" in name.strip("@"):
        general.append(x509.RFC822Name(name))
    elif _HOST_NAME.fullmatch(name):
        general.append(x509.DNSName(name))
    return _leaf(ca, name, general, ExtendedKeyUsageOID.CLIENT_AUTH, now)


def read_ca(certificate: Path, key: Path) -> Pair:
    """The CA in these two files; AuthorityError where they hold none that can sign."""
    pair = Pair(_read(certificate), _read(key))
    _load_ca(pair, f"{certificate} and {key}")
    return pair


def write_pair(pair: Pair, certificate: Path, key: Path, *, force: bool) -> None:
    """Write both. What is there stays, and AuthorityError is raised, unless `force` is set."""
    for path in (certificate, key):
        if not force and os.path.lexists(path):
            raise AuthorityError(f"{path} is there already; --force writes over it")
    _write(key, pair.key, 0o600)
    _write(certificate, pair.certificate, 0o644)


def read_certificates(path: Path) -> list[Shown]:
    """All certificates in the file, PEM or DER, in their order."""
    data = _read(path)
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return [_shown(certificate) for certificate in x509.load_pem_x509_certificates(data)]
        if b"PRIVATE KEY-----" in data:
            raise AuthorityError(f"{path} holds a private key; name its certificate")
        return [_shown(x509.load_der_x509_certificate(data))]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityError(f"{path} holds no certificate that can be read, neither PEM nor DER") from error


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _leaf(ca: Pair, name: str, general: list[x509.GeneralName], purpose: x509.ObjectIdentifier, now: datetime) -> Pair:
    authority, signer = _load_ca(ca, "the CA")
    if authority.not_valid_after_utc <= now:
        raise AuthorityError("the CA has expired: make a new one with 'broker certs init --force'")
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now - SKEW + timedelta(days=LEAF_DAYS), authority.not_valid_after_utc)
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(key.public_key(), _name(name), authority.subject, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return _pair(builder.sign(signer, hashes.SHA256()), key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM), pem)


def _load_ca(ca: Pair, called: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate)
        key = load_pem_private_key(ca.key, None)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuthorityError(f"{called} cannot be read as a CA's certificate and its key without a password") from error
    except x509.ExtensionNotFound as error:
        raise AuthorityError(f"{called} are of no CA") from error
    if not constraints.ca or not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise AuthorityError(f"{called} are of no CA")
    if key.public_key() != certificate.public_key():
        raise AuthorityError(f"{called} do not belong together")
    return certificate, key


def _shown(certificate: x509.Certificate) -> Shown:
    return Shown(
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        _alternative_names(certificate),
        _purposes(certificate),
        _key(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def _purposes(certificate: x509.Certificate) -> tuple[str, ...]:
    found: list[str] = []
    with suppress(x509.ExtensionNotFound):
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            found.append("CA")
    with suppress(x509.ExtensionNotFound):
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.SERVER_AUTH in purposes:
            found.append("server")
        if ExtendedKeyUsageOID.CLIENT_AUTH in purposes:
            found.append("client")
    return tuple(found)


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "Ed448" if isinstance(key, ed448.Ed448PublicKey) else "of another kind"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(file, "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}") from error
