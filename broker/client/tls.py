"""TLS under a Network Connection: what a Client trusts and shows, and what went wrong in words that help.

Nothing is left to chance: the Server's certificate is checked unless `insecure` says otherwise, and that is logged as
a warning. TLS is 1.2 or later. The end of the stream may come without TLS's own "close notify", since MQTT and
WebSocket say themselves where they end.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from broker.client.errors import CannotConnect

if TYPE_CHECKING:
    from broker.client.url import Endpoint

_LOG: Final = logging.getLogger("broker.client")

_NO_TLS: Final = "what answers does not speak TLS: is it the right port?"
_UNKNOWN_CA: Final = (
    "the Server's certificate is of an authority that is unknown here: name its CA with --cafile (ca_file)"
)
_WANTS_OURS: Final = "--cert and --key (certificate, key)"
_CERTIFICATES: Final = {  # X509_V_ERR_... of OpenSSL
    2: _UNKNOWN_CA,
    9: "the Server's certificate is not valid yet: is the clock here right?",
    10: "the Server's certificate has expired: it is to be renewed there, if the clock here is right",
    18: "the Server's certificate is self-signed: if it is the right one, name it with --cafile (ca_file)",
    19: _UNKNOWN_CA,
    20: _UNKNOWN_CA,
    21: _UNKNOWN_CA,
    23: "the Server's certificate was revoked",
    26: "the Server's certificate is not one for a server",
}
_NAME_MISMATCH: Final = (62, 64)  # of a host name, of an IP address
_REASONS: Final = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"the Server wants a certificate of ours: {_WANTS_OURS}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"the Server agrees to no handshake; it may want a certificate: {_WANTS_OURS}",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the Server does not take our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the Server does not take our certificate: it is of the wrong kind",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the Server does not take our certificate: it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the Server does not take our certificate: it was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the Server does not take our certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the Server does not take our certificate: its authority is unknown there",
    "TLSV1_ALERT_DECRYPT_ERROR": "the Server does not take our certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the Server does not take our certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the Server speaks no version of TLS that is spoken here, 1.2 and 1.3",
    "UNSUPPORTED_PROTOCOL": "the Server speaks no version of TLS that is spoken here, 1.2 and 1.3",
    "TLSV1_UNRECOGNIZED_NAME": "the Server has no certificate for this name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to speak TLS with a Server. All files are PEM.

    `ca_file` holds the certificates of the authorities that are trusted, instead of the system's. `certificate` with
    its `key` (which may be in the same file) is shown to a Server that asks for one; `key_password` decrypts the key.
    `server_name` is the name that the Server's certificate must hold, where it is not the host of the URL.

    `insecure` does without that name and, where there is no `ca_file`, without any check: whoever is between may then
    read and change everything. `context` is used instead of all this but `server_name`.
    """

    ca_file: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    key_password: str | None = None
    server_name: str = ""
    insecure: bool = False
    context: ssl.SSLContext | None = None

    def make_context(self, endpoint: Endpoint) -> ssl.SSLContext:
        """For Network Connections to `endpoint`; ValueError for a file that cannot be used."""
        if self.context is not None:
            return self.context
        if self.key is not None and self.certificate is None:
            raise ValueError("a key is of no use without its certificate")
        for path in (self.ca_file, self.certificate, self.key):
            if path is not None:
                _check_readable(Path(path))
        context = _trusting(self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1" if endpoint.websocket else "mqtt"])
        if self.insecure:
            context.check_hostname = False
            if self.ca_file is None:
                context.verify_mode = ssl.CERT_NONE
                _LOG.warning("%s: the certificate is NOT checked: anybody may be at the other end", endpoint)
            else:
                _LOG.warning("%s: the name in the certificate is NOT checked", endpoint)
        if self.certificate is not None:
            _show(context, Path(self.certificate), self.key, self.key_password)
        return context

    def ready(self, endpoint: Endpoint) -> Tls:
        """The same, with its context made: for many Network Connections to `endpoint`. ValueError as `make_context`."""
        return replace(self, context=self.make_context(endpoint))


def as_tls(tls: Tls | ssl.SSLContext | None) -> Tls:
    """What the argument `tls` of `connect` stands for."""
    if isinstance(tls, ssl.SSLContext):
        return Tls(context=tls)
    return tls or Tls()


async def secure(
    stream: trio.abc.Stream, endpoint: Endpoint, context: ssl.SSLContext, server_name: str = ""
) -> trio.SSLStream[trio.abc.Stream]:
    """TLS over `stream`, its handshake done; CannotConnect, and `stream` closed, where that fails."""
    wrapped = trio.SSLStream(stream, context, server_hostname=server_name or endpoint.host, https_compatible=True)
    try:
        await wrapped.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise CannotConnect(f"{endpoint}: {handshake_failed(error.__cause__ or error)}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return wrapped


def handshake_failed(error: BaseException) -> str:
    """Why there was no TLS, in one line with the way out where there is one."""
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return explain(error)
    return f"the Server broke off the TLS handshake: does it speak TLS at this port? ({_words(error)})"


def explain(error: BaseException) -> str:
    """An error of a stream in one line, those of TLS in words of ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAME_MISMATCH:
            said = error.verify_message.rstrip(".")
            return f"the Server's certificate is for another name ({said}): connect by a name that it holds"
        return _CERTIFICATES.get(error.verify_code, f"the Server's certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", f"TLS failed ({_words(error)})")
    return str(error)


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or error.strerror or "no reason").lower().replace("_", " ")
    return str(error)


def _trusting(ca_file: str | Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ValueError(f"{ca_file} holds no certificate in PEM") from error


def _show(context: ssl.SSLContext, certificate: Path, key: str | Path | None, password: str | None) -> None:
    try:
        # An empty password rather than none: without one OpenSSL asks for it in the terminal
        context.load_cert_chain(certificate, key, password or "")
    except ssl.SSLError as error:
        called = f"{certificate} and {key}" if key is not None else f"{certificate}"
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{called} do not belong together") from error
        raise ValueError(f"{called}: not a certificate and its key in PEM, or not the key's password") from error


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
