"""`[auth]`: how Clients prove who they are.

A secret is never written here: it stands in a file of its own, which a `…_file` names.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from broker.config import kinds
from broker.config.kinds import Count, Seconds
from broker.config.table import Table

METHODS: Final = ("certificate", "jwt", "password", "http")  # in the order in which they are asked by default

_Method = Literal["certificate", "jwt", "password", "http"]
_Methods = Annotated[
    tuple[_Method, ...], Field(min_length=1), BeforeValidator(kinds.split), AfterValidator(kinds.distinct)
]
_Algorithm = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
_Algorithms = Annotated[tuple[_Algorithm, ...], BeforeValidator(kinds.split), AfterValidator(kinds.distinct)]


class BoundKey(NamedTuple):
    """A key for tokens, good for this algorithm only."""

    kid: str
    algorithm: str
    file: Path


class JwtKeyConfig(Table):
    """`[[auth.jwt.keys]]`: one of several keys, told apart by the `kid` of a token."""

    kid: kinds.Name = Field(default="", description="The `kid` of tokens that this key is for.", examples=["2026-a"])
    algorithm: _Algorithm = Field(description="The one algorithm that this key is good for.", examples=["RS256"])
    key_file: kinds.File = Field(
        description="File of the key: a public key in PEM form, or for HS256, HS384, HS512 the secret itself.",
        examples=["/etc/triomq/jwt-2026-a.pem"],
    )


class JwtConfig(Table):
    """`[auth.jwt]`: signed tokens (JSON Web Tokens) as Password, or with the WebSocket upgrade."""

    key_file: kinds.File | None = Field(
        default=None,
        description="File of the key: a public key in PEM form, or for HS256, HS384, HS512 the secret itself; several "
        "keys are listed in [[auth.jwt.keys]].",
        examples=["/etc/triomq/jwt.pem"],
        json_schema_extra=kinds.without_null,
    )
    algorithms: _Algorithms = Field(
        default=(),
        description="Algorithms that tokens may be signed with; when not set, those of [[auth.jwt.keys]].",
        examples=[["RS256"]],
    )
    audience: kinds.Words = Field(
        default=(),
        description="One of these has to be the audience (`aud`) of a token; when not set, a token that has one is "
        "for somebody else.",
        examples=[["mqtt.example.org"]],
    )
    issuer: kinds.Words = Field(
        default=(),
        description="One of these has to be the issuer (`iss`) of a token; when not set, any is.",
        examples=[["https://login.example.org"]],
    )
    user_claim: kinds.Word = Field(default="sub", description="Claim that holds the user name.")
    roles_claim: kinds.Name = Field(
        default="", description='Claim that holds roles, such as "realm_access.roles"; "" = none.'
    )
    leeway: Seconds = Field(
        default=30.0, ge=0, le=600, description="By how much the clocks of issuer and broker may differ."
    )
    require_expiry: bool = Field(default=True, description="Whether a token that never expires is refused.")
    match_user_name: bool = Field(
        default=True, description="Whether a User Name in CONNECT has to be that of the token."
    )
    query_parameter: kinds.Name = Field(
        default="", description='Parameter of the WebSocket URL that may hold the token; "" = none.'
    )
    cookie: kinds.Name = Field(
        default="", description='Cookie of the WebSocket upgrade that may hold the token; "" = none.'
    )
    keys: list[JwtKeyConfig] = Field(
        default_factory=list, description="Several keys, so that one can follow another without a gap."
    )

    @model_validator(mode="after")
    def _follow(self) -> Self:
        self._fill(algorithms=tuple(dict.fromkeys(key.algorithm for key in self.keys)))
        return self

    @property
    def bound_keys(self) -> tuple[BoundKey, ...]:
        """All keys with the algorithms that they are good for; `key_file` is one for each of `algorithms`."""
        several = [BoundKey(key.kid, key.algorithm, key.key_file) for key in self.keys]
        if self.key_file is not None:
            several += [BoundKey("", algorithm, self.key_file) for algorithm in self.algorithms]
        return tuple(several)


class HttpConfig(Table):
    """`[auth.http]`: a web service that is asked about each CONNECT."""

    url: kinds.HttpUrl = Field(
        description="Where the question is posted to; https, unless the service is on this machine.",
        examples=["https://login.example.org/mqtt"],
    )
    timeout: Seconds = Field(
        default=2.0, gt=0, le=60, description="Longest time for an answer; without one the Client is refused."
    )
    cache: Seconds = Field(
        default=30.0, ge=0, le=86400, description="Time for which who was let in is not asked for again; 0 = none."
    )
    ca_file: kinds.File | None = Field(
        default=None,
        description="PEM file of the authorities that the service's certificate has to come from; when not set, those "
        "of the system.",
        examples=["/etc/triomq/login-ca.pem"],
        json_schema_extra=kinds.without_null,
    )
    authorization_file: kinds.File | None = Field(
        default=None,
        description='File with the value of the Authorization header, such as "Bearer …", that the service asks for.',
        examples=["/etc/triomq/login.token"],
        json_schema_extra=kinds.without_null,
    )


class AuthConfig(Table):
    """`[auth]`: how Clients prove who they are. Once one method is set up, nobody gets in unasked."""

    methods: _Methods | None = Field(
        default=None,
        description="Methods that are asked, in this order; when not set, all that are set up: certificate, jwt, "
        "password, http.",
        examples=[["certificate", "password"]],
        json_schema_extra=kinds.without_null,
    )
    password_file: kinds.File | None = Field(
        default=None,
        description="File of user names and hashed passwords, which `broker passwd` writes.",
        examples=["/etc/triomq/passwd"],
        json_schema_extra=kinds.without_null,
    )
    scram: bool = Field(
        default=False,
        description="Whether 5.0 Clients may prove a password of the password file without sending it (SCRAM-SHA-256).",
    )
    hashing_at_once: Count = Field(
        default=2, ge=1, le=64, description="Passwords that are hashed at a time, each on a thread and with 19 MiB."
    )
    password_cache: Seconds = Field(
        default=3600.0,
        ge=0,
        le=86400,
        description="Time for which a password that was right is not hashed again; 0 = none.",
    )
    failures_per_minute: Count = Field(
        default=10,
        ge=0,
        le=100_000,
        description="Failures of one address, and of one user name, above which they have to wait; 0 = no limit.",
    )
    timeout: Seconds = Field(
        default=5.0, gt=0, le=300, description="Longest time for a method's answer; without one the Client is refused."
    )
    jwt: JwtConfig | None = Field(
        default=None,
        description="Signed tokens as Password, or with the WebSocket upgrade; needs the extra triomq[jwt].",
        json_schema_extra=kinds.without_null,
    )
    http: HttpConfig | None = Field(
        default=None,
        description="A web service that is asked about each CONNECT; needs the extra triomq[http].",
        json_schema_extra=kinds.without_null,
    )
