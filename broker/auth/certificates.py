"""The Client's certificate says who it is.

The transport has verified the certificate; here its name becomes the user name. A certificate that does not have the
name asked for is refused and not passed on, as whoever shows one means to be known by it. So is a CONNECT whose User
Name is another one: a Client is one somebody, and not a second one by what it writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from broker.auth.methods import Denied, Identity
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from broker.core.ports import Certificate, Peer
    from broker.packets.types import Connect

Source = Literal["cn", "san", "dn"]
SOURCES: Final[dict[Source, str]] = {
    "cn": "common name",
    "san": "DNS name or e-mail address",
    "dn": "distinguished name",
}


class CertificateMethod:
    """A Method. The user name is `prefix` and, by `source`, the subject's common name ("cn"), its whole distinguished
    name ("dn"), or the first of the alternative names that is a DNS name or an e-mail address ("san").

    A prefix keeps the names of certificates apart from those of passwords.
    """

    name = "certificate"

    def __init__(self, source: Source = "cn", prefix: str = "") -> None:
        if source not in SOURCES:
            raise ValueError(f"source is {source!r}; it may be {', '.join(SOURCES)}")
        self.source = source
        self.prefix = prefix

    def check(self, connect: Connect, peer: Peer) -> Identity | Denied | None:
        certificate = peer.certificate
        if certificate is None:
            return None
        found = self._name_in(certificate)
        if not found:
            return Denied(f"the certificate has no {SOURCES[self.source]}", ReasonCode.NOT_AUTHORIZED)
        if not found.isprintable():
            return Denied(f"the certificate's {SOURCES[self.source]} can't be printed", ReasonCode.NOT_AUTHORIZED)
        user_name = self.prefix + found
        if connect.user_name is not None and connect.user_name != user_name:
            return Denied("the User Name is not that of the certificate")
        return Identity(user_name, self.name)

    def _name_in(self, certificate: Certificate) -> str:
        if self.source == "cn":
            return certificate.common_name
        if self.source == "dn":
            return certificate.distinguished_name
        # Only a URI has a colon.
        return next((name for name in certificate.alternative_names if name and ":" not in name), "")
