"""TLS without any I/O: a layer between what a door reads and writes and the layers above.

`Tls` is what a listener knows: certificates, and what is asked of Clients. `TlsLayer` is one Network Connection's:
bytes from the network in, plain bytes out, and back. The standard library's `ssl` does it, over buffers in memory, so
that every door has it alike. Nothing is raised for a peer's fault: it becomes `fault`, and the alert that says so to
the peer stands in `take`.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from broker.core.ports import Certificate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
READ: Final = 64 * 1024  # bytes taken out of the layer at once

# As RFC 4514 section 3 abbreviates them; others go by their long names.
_SHORT: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_ALTERNATIVE: Final = ("DNS", "email", "URI")


class TlsError(Exception):
    """Certificates that cannot be used; the text names the file and what to do."""


class KeyPair:
    """A certificate chain and its key, as PEM files; the key may stand in the certificate's file."""

    def __init__(self, certificate: Path, key: Path | None = None, password_file: Path | None = None) -> None:
        self.certificate = certificate
        self.key = key
        self.password_file = password_file

    def load_into(self, context: ssl.SSLContext) -> None:
        key = self.key or self.certificate
        for path in (self.certificate, key):
            _readable(path)
        asked = False

        def password() -> bytes:
            nonlocal asked
            asked = True
            if self.password_file is None:
                return b""  # else OpenSSL would ask on the terminal
            _readable(self.password_file)
            return self.password_file.read_bytes().rstrip(b"\r\n")

        try:
            context.load_cert_chain(self.certificate, key, password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                why = f"{key}: this is not the key of {self.certificate}"
            elif asked:
                why = f"{key}: the key is encrypted; "
                why += "the password is wrong" if self.password_file else "name the file of its password"
            else:
                why = f"{self.certificate}: no certificate in PEM form with its key in {key} ({error.reason or error})"
            raise TlsError(why) from None


class Tls:
    """See the module. `hosts` are further certificates, chosen by the name that the Client asks for (SNI). With a
    `client_ca`, Clients show a certificate that it has signed, or may, where it is not `required`; with a `client_crl`
    one that its authority's list does not revoke (RFC 5280 section 5). `protocols` are what ALPN offers. Raises
    TlsError.
    """

    def __init__(
        self,
        pair: KeyPair,
        *,
        client_ca: Path | None = None,
        client_crl: Path | None = None,
        required: bool = True,
        minimum_version: str = "1.2",
        hosts: Sequence[tuple[Sequence[str], KeyPair]] = (),
        protocols: Sequence[str] = (),
    ) -> None:
        self.pair = pair
        self.client_ca = client_ca
        self.client_crl = client_crl
        self.required = required
        self.minimum_version = minimum_version
        self.hosts = hosts
        self.protocols = protocols
        self.context = self._made()

    def reload(self) -> None:
        """Read the files again, for connections from now on. TlsError leaves everything as it was."""
        self.context = self._made()

    def adopt(self, other: Tls) -> None:
        """Go by what `other` has read, for connections from now on."""
        self.__dict__.update(other.__dict__)

    def _made(self) -> ssl.SSLContext:
        context = self._context(self.pair)
        by_name = {name.lower(): self._context(pair) for names, pair in self.hosts for name in names}
        if by_name:

            def choose(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
                wanted = (name or "").lower()
                found = by_name.get(wanted) or by_name.get(f"*.{wanted.partition('.')[2]}")
                if found is not None:
                    tls.context = found

            context.sni_callback = choose
        return context

    def _context(self, pair: KeyPair) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.minimum_version]
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        if self.protocols:
            context.set_alpn_protocols(list(self.protocols))
        pair.load_into(context)
        if self.client_ca is not None:
            _readable(self.client_ca)
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise TlsError(f"{self.client_ca}: no certificates in PEM form ({error.reason or error})") from None
            if not context.cert_store_stats()["x509_ca"]:
                raise TlsError(f"{self.client_ca}: no certificate in it is that of an authority")
            context.verify_mode = ssl.CERT_REQUIRED if self.required else ssl.CERT_OPTIONAL
        if self.client_crl is not None:
            load_revoked(context, self.client_crl)
        return context


def load_revoked(context: ssl.SSLContext, path: Path) -> None:
    """Take no certificate that the lists at `path` revoke, or whose authority has no list there. Raises TlsError."""
    _readable(path)
    known = context.cert_store_stats()["crl"]
    with suppress(ssl.SSLError):
        context.load_verify_locations(path)
    if context.cert_store_stats()["crl"] == known:
        raise TlsError(f"{path} holds no list of revoked certificates (X509 CRL) in PEM form")
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


class TlsLayer:
    """See the module. `ready` after the handshake, `closed` when the peer has said its last word."""

    def __init__(self, tls: Tls) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._said_goodbye = False
        self.ready = False
        self.closed = False
        self.fault = ""

    def receive(self, data: bytes) -> bytes:
        """Bytes from the network; the plain ones that they complete."""
        if self.fault or self.closed:
            return b""
        self._incoming.write(data)
        parts: list[bytes] = []
        try:
            if not self.ready:
                self._object.do_handshake()
                self.ready = True
            while self._incoming.pending or self._object.pending():
                part = self._object.read(READ)
                if not part:
                    self.closed = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            self.fault = f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
            if isinstance(error, ssl.SSLCertVerificationError):
                self.fault += f": {error.verify_message}"
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def send(self, data: bytes) -> None:
        """Plain bytes for the peer; not before it is `ready`."""
        if not self.fault:
            self._object.write(data)

    def take(self) -> bytes:
        """What goes to the network."""
        return self._outgoing.read()

    def close(self) -> None:
        """Say goodbye, once."""
        if self.ready and not self._said_goodbye and not self.fault:
            self._said_goodbye = True
            with suppress(ssl.SSLError):  # the peer's own goodbye has not come: nobody waits for it
                self._object.unwrap()

    def certificate(self) -> Certificate | None:
        """Whom the Client's certificate names, verified; None where it showed none."""
        shown: dict[str, Any] | None = self._object.getpeercert()
        if not shown:
            return None
        names: list[tuple[str, str]] = [pair for level in shown.get("subject", ()) for pair in level]
        common = [value for kind, value in names if kind == "commonName"]
        alternatives: list[str] = [value for kind, value in shown.get("subjectAltName", ()) if kind in _ALTERNATIVE]
        return Certificate(
            common[0] if len(common) == 1 else "",
            ",".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in reversed(names)),
            tuple(alternatives),
        )


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4."""
    escaped = "".join(f"\\{each}" if each in ',+"\\<>;=' else each for each in value).replace("\0", "\\00")
    if escaped[:1] in ("#", " "):
        escaped = "\\" + escaped
    return escaped[:-1] + "\\ " if escaped.endswith(" ") and len(escaped) > 1 else escaped


def _readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror}") from None
