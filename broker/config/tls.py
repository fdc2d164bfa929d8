"""`[listeners.tls]`: what makes a listener a secure one.

Files are named here and looked into by `broker.config.files`; a secret stands in a file of its own, never in this one.
"""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from broker.config import kinds
from broker.config.table import Table

# What a `--bind` may say of TLS.
BIND_KEYS: Final = ("certificate", "key", "client_ca", "user_name")


class TlsHostConfig(Table):
    """`[[listeners.tls.hosts]]`: another certificate for Clients that ask for one of these names (SNI)."""

    names: kinds.HostNames = Field(
        description='Names of the host that Clients ask for; "*.example.org" stands for one label.',
        examples=[["mqtt.example.org", "*.mqtt.example.org"]],
    )
    certificate: kinds.File = Field(
        description="PEM file of the certificate for these names, with its chain.", examples=["/etc/triomq/host.pem"]
    )
    key: kinds.File = Field(
        default=Path(),
        description="PEM file of its private key; when not set, it stands in the file of the certificate.",
        examples=["/etc/triomq/host.key"],
        json_schema_extra=kinds.without_default,
    )

    @model_validator(mode="after")
    def _follow(self) -> Self:
        self._fill(key=self.certificate)
        return self


class TlsConfig(Table):
    """`[listeners.tls]`: certificates, and whether Clients have to show theirs."""

    certificate: kinds.File = Field(
        description="PEM file of the server's certificate, followed by its chain.", examples=["/etc/triomq/server.pem"]
    )
    key: kinds.File = Field(
        default=Path(),
        description="PEM file of the private key; when not set, it stands in the file of the certificate.",
        examples=["/etc/triomq/server.key"],
        json_schema_extra=kinds.without_default,
    )
    key_password_file: kinds.File | None = Field(
        default=None,
        description="File with the password of the private key, for a key that is encrypted.",
        examples=["/etc/triomq/server.key.password"],
        json_schema_extra=kinds.without_null,
    )
    client_ca: kinds.File | None = Field(
        default=None,
        description="PEM file of the authorities whose certificates Clients may show; when not set, none is asked for.",
        examples=["/etc/triomq/clients-ca.pem"],
        json_schema_extra=kinds.without_null,
    )
    client_crl: kinds.File | None = Field(
        default=None,
        description="PEM file of the lists of revoked certificates, one for each authority of `client_ca` that signs "
        "for Clients; whom no list in force covers is refused. When not set, nothing counts as revoked.",
        examples=["/etc/triomq/clients-crl.pem"],
        json_schema_extra=kinds.without_null,
    )
    require_client_certificate: bool = Field(
        default=False,
        description="Whether a Client without a certificate is refused; when not set, it is where client_ca is set.",
        examples=[True],
        json_schema_extra=kinds.without_default,
    )
    user_name: Literal["", "cn", "san", "dn"] = Field(
        default="",
        description="What of a Client's certificate is its user name, and so authenticates it: the common name (`cn`), "
        'the first alternative name (`san`), the whole subject (`dn`), or "" = nothing.',
        examples=["cn"],
    )
    minimum_version: Literal["1.2", "1.3"] = Field(
        default="1.2", description="Oldest version of TLS that is spoken.", examples=["1.2"]
    )
    hosts: list[TlsHostConfig] = Field(
        default_factory=list, description="Other certificates, for Clients that ask for another name of this host."
    )

    @model_validator(mode="after")
    def _follow(self) -> Self:
        self._fill(key=self.certificate, require_client_certificate=self.client_ca is not None)
        return self
