"""The files that settings name: whether they are there, hold what they should, and are kept from others.

It looks at the disk, and so stands apart from `checks`. What is found is said before anything starts, at the setting
that names the file; nothing of what stands in a file is ever told.
"""

from __future__ import annotations

import os
import ssl
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from broker.config.errors import Cure, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from broker.config.auth import AuthConfig
    from broker.config.positions import Loc
    from broker.config.settings import Config
    from broker.config.tls import TlsConfig

_BEGIN_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY: Final = b"PRIVATE KEY-----"  # with RSA, EC or ENCRYPTED before it, or nothing


class _Encrypted(Exception):
    """A key asks for a password, and nobody has named one."""


def file_problems(config: Config) -> list[Problem]:
    """What is wrong with the files that `config` names."""
    found: list[Problem] = []
    for index, listener in enumerate(config.listeners):
        if listener.tls is not None:
            found += _tls_problems(listener.tls, ("listeners", index, "tls"), config.server.allow_readable_keys)
    if config.web.tokens_file is not None:
        found += secret_problems(("web", "tokens_file"), config.web.tokens_file, config.server.allow_readable_keys)
    return found + _auth_problems(config.auth, config.server.allow_readable_keys)


def _auth_problems(auth: AuthConfig, allow_readable: bool) -> list[Problem]:
    """What is wrong with files of secrets; whether they hold what they should is seen by whoever reads them."""
    found: list[Problem] = []
    if auth.password_file is not None:
        found += secret_problems(("auth", "password_file"), auth.password_file, allow_readable)
    if auth.jwt is not None:
        loc: Loc = ("auth", "jwt")
        if auth.jwt.key_file is not None:
            secret = any(algorithm.startswith("HS") for algorithm in auth.jwt.algorithms)
            found += _key_problems((*loc, "key_file"), auth.jwt.key_file, secret, allow_readable)
        for index, key in enumerate(auth.jwt.keys):
            here: Loc = (*loc, "keys", index, "key_file")
            found += _key_problems(here, key.key_file, key.algorithm.startswith("HS"), allow_readable)
    if auth.http is not None:
        if auth.http.ca_file is not None:
            found += authority_problems(("auth", "http", "ca_file"), auth.http.ca_file)
        if auth.http.authorization_file is not None:
            found += secret_problems(
                ("auth", "http", "authorization_file"), auth.http.authorization_file, allow_readable
            )
    return found


def _key_problems(loc: Loc, path: Path, secret: bool, allow_readable: bool) -> list[Problem]:
    """Everybody may read a public key."""
    return secret_problems(loc, path, allow_readable) if secret else readable_problems(loc, path)


def _tls_problems(tls: TlsConfig, loc: Loc, allow_readable: bool) -> list[Problem]:
    found: list[Problem] = []
    password: bytes | None = None
    if tls.key_password_file is not None:
        found += secret_problems((*loc, "key_password_file"), tls.key_password_file, allow_readable)
        if not found:
            password = tls.key_password_file.read_bytes().rstrip(b"\r\n")
    if not found:
        found += _pair_problems(loc, tls.certificate, tls.key, password, allow_readable)
    if tls.client_ca is not None:
        found += authority_problems((*loc, "client_ca"), tls.client_ca)
    if tls.client_crl is not None:
        found += revoked_problems((*loc, "client_crl"), tls.client_crl)
    for index, host in enumerate(tls.hosts):
        found += _pair_problems((*loc, "hosts", index), host.certificate, host.key, None, allow_readable)
    return found


def readable_problems(loc: Loc, path: Path) -> list[Problem]:
    """A file that is not there, is none, or is closed to the broker."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return [Problem((loc,), f"{path} is no file")]
        with path.open("rb"):
            return []
    except OSError as error:
        return [Problem((loc,), f"{path} cannot be read: {error.strerror or error}")]


def secret_problems(loc: Loc, path: Path, allow_readable: bool) -> list[Problem]:
    """As `readable_problems`, and a secret that every user of the machine may read."""
    found = readable_problems(loc, path)
    if not found and not allow_readable and os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
        cure = Cure("to use it all the same", ("server", "allow_readable_keys"), "true")
        message = f"{path} holds a secret, and every user of this machine may read it; write: chmod o= {path}"
        found.append(Problem((loc,), message, (cure,)))
    return found


def authority_problems(loc: Loc, path: Path) -> list[Problem]:
    """A file of authorities that is none."""
    found = readable_problems(loc, path)
    if not found:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
        except ssl.SSLError:
            found.append(Problem((loc,), f"{path} holds no certificate in PEM form"))
    return found


def revoked_problems(loc: Loc, path: Path) -> list[Problem]:
    """A file of lists of revoked certificates that holds none."""
    found = readable_problems(loc, path)
    if not found:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with suppress(ssl.SSLError):
            context.load_verify_locations(path)
        if not context.cert_store_stats()["crl"]:
            found.append(Problem((loc,), f"{path} holds no list of revoked certificates (X509 CRL) in PEM form"))
    return found


def _pair_problems(
    loc: Loc, certificate: Path, key: Path, password: bytes | None, allow_readable: bool
) -> list[Problem]:
    """What is wrong with a certificate and its private key."""
    at_certificate, at_key = (*loc, "certificate"), (*loc, "key")
    found = readable_problems(at_certificate, certificate)
    if key != certificate:
        found += secret_problems(at_key, key, allow_readable)
    elif not found:
        found += secret_problems(at_certificate, certificate, allow_readable)
    if found:
        return found
    if _BEGIN_CERTIFICATE not in certificate.read_bytes():
        return [Problem((at_certificate,), f"{certificate} holds no certificate in PEM form")]
    if _PRIVATE_KEY not in key.read_bytes():
        if key == certificate:
            return [Problem((at_certificate,), f"{certificate} holds no private key, and no `key` names its file")]
        return [Problem((at_key,), f"{key} holds no private key in PEM form")]

    def asked() -> bytes:
        if password is None:
            raise _Encrypted
        return password

    involves = (at_key, at_certificate)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, asked)
    except _Encrypted:
        return [Problem(involves, f"{key} is encrypted; `key_password_file` in [listeners.tls] names its password")]
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return [Problem(involves, f"{key} does not belong to the certificate in {certificate}")]
        if password is not None:
            return [Problem(((*loc, "key_password_file"), *involves), f"{key} is not opened by this password")]
        return [Problem(involves, f"{key} and {certificate} cannot be used: {error.reason or error}")]
    return []
