"""Who somebody is, said by a signed token: JSON Web Tokens (RFC 7519), with what RFC 8725 asks for.

The law of this file:

- What decides is here and not in the token: each key is bound to one algorithm, each algorithm must be in the
  allow-list, and "none" cannot be. A public key is no HMAC key, and a weak key is refused at the start.
- A password that is no JWT is nobody's fault and none of our business (None): passwords work beside tokens. What has
  the shape of a JWT and is not good is Denied, whatever is wrong with it. Nothing is ever raised for a token.
- The signature is judged first. Only then is 0x87 an answer (expired, too early, for somebody else): a page may fetch
  a new token and come back. All else is 0x86.
- The reasons of a Denied are sentences of ours. Neither a token, nor a part of one, nor a library's words stand there.

PyJWT is the extra `triomq[jwt]`, imported when a `JwtMethod` is made.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any, Final

from broker.auth.methods import Denied, Identity, Verdict
from broker.auth.tokens import PASSWORD, find
from broker.packets.reasons import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from broker.core.ports import Peer
    from broker.packets.types import Connect

SYMMETRIC: Final = ("HS256", "HS384", "HS512")
ALGORITHMS: Final = (
    *SYMMETRIC,
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)

TOKEN_BYTES: Final = 8 * 1024
KEYS: Final = 32

_SHAPE: Final = re.compile(rb"([A-Za-z0-9_-]+)={0,2}\.[A-Za-z0-9_-]*={0,2}\.[A-Za-z0-9_-]*={0,2}")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# what PyJWT raises -> what a log says of it
_SENTENCES: Final = {
    "ExpiredSignatureError": "the token has expired",
    "ImmatureSignatureError": "the token is not valid yet (nbf or iat)",
    "InvalidAudienceError": "the token is for another audience (aud)",
    "InvalidIssuerError": "the token is of another issuer (iss)",
    "MissingRequiredClaimError": "the token lacks a claim that is required (exp, aud or iss)",
    "InvalidSubjectError": "the token's claim sub is no string",
}
_NOT_ENOUGH: Final = frozenset(
    {"ExpiredSignatureError", "ImmatureSignatureError", "InvalidAudienceError", "InvalidIssuerError"}
)


class Key:
    """What signatures are checked with: `kid` is the name that tokens call it by in their head, or "".

    `material` is the secret itself for HS256, HS384 and HS512, and a public key as PEM for all others.
    """

    __slots__ = ("algorithm", "kid", "material")

    def __init__(self, kid: str, algorithm: str, material: bytes) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.material = material

    @classmethod
    def read(cls, kid: str, algorithm: str, file: Path) -> Key:
        """The key in `file`. A line end at its end is an editor's and does not belong to a secret. Raises OSError."""
        content = file.read_bytes()
        return cls(kid, algorithm, content.removesuffix(b"\n").removesuffix(b"\r"))


class JwtMethod:
    """Lets in whoever brings a JWT that a key of ours has signed. See the module.

    `audience` and `issuer`: one of these must stand in aud, and iss be one of those; with an empty one a token with an
    aud is refused, as it is for somebody else, and iss may be anything. `user_claim` holds the user name. `roles_claim`
    holds roles, as a list or with spaces between; its name may be a path ("realm_access.roles"). `leeway`: seconds by
    which the clocks of an issuer and this machine may differ. `require_expiry`: a token without exp is refused.
    `match_user_name`: a user name in CONNECT must be that of the token. `parameter` and `cookie` as in
    `broker.auth.tokens`.

    Raises ModuleNotFoundError with what to install, and ValueError for a key that cannot be used.
    """

    name = "jwt"

    def __init__(
        self,
        keys: Sequence[Key],
        algorithms: Sequence[str],
        *,
        audience: Sequence[str] = (),
        issuer: Sequence[str] = (),
        user_claim: str = "sub",
        roles_claim: str = "",
        leeway: float = 30.0,
        require_expiry: bool = True,
        match_user_name: bool = True,
        parameter: str = "",
        cookie: str = "",
    ) -> None:
        try:
            import jwt
        except ModuleNotFoundError:
            raise ModuleNotFoundError(_INSTALL) from None
        for algorithm in algorithms:
            if algorithm not in ALGORITHMS:
                raise ValueError(f"{algorithm!a} is no algorithm for tokens here; there are {', '.join(ALGORITHMS)}")
        if not algorithms:
            raise ValueError("no algorithm is allowed, so that no token could be good")
        if not user_claim:
            raise ValueError("user_claim names no claim")
        if not (math.isfinite(leeway) and leeway >= 0):
            raise ValueError("leeway must be 0 or more seconds")
        self._jwt = jwt
        self._algorithms = frozenset(algorithms)
        self._audience = tuple(audience)
        self._issuer = tuple(issuer)
        self._user_claim = user_claim
        self._roles_claim = roles_claim
        self._leeway = leeway
        self._required = ["exp"] if require_expiry else []
        self._match_user_name = match_user_name
        self._parameter = parameter
        self._cookie = cookie
        self._keys: tuple[_Ready, ...] = ()
        self.replace(keys)

    def replace(self, keys: Sequence[Key]) -> None:
        """Check with these keys from now on. Raises ValueError, and keeps the old ones, where one is no good."""
        if not 1 <= len(keys) <= KEYS:
            raise ValueError(f"there must be between 1 and {KEYS} keys for tokens, not {len(keys)}")
        self._keys = tuple(self._ready(key) for key in keys)

    def check(self, connect: Connect, peer: Peer) -> Verdict:
        """See `Method`."""
        token = find(connect, peer, self._parameter, self._cookie)
        if token is None:
            return None
        try:
            if not _is_jwt(token.value):
                return None if token.source == PASSWORD else Denied(f"the {token.source} holds no single token")
            if len(token.value) > TOKEN_BYTES:
                return Denied(f"a token of more than {TOKEN_BYTES} bytes")
            claims = self._verified(token.value)
            return claims if isinstance(claims, Denied) else self._identity(claims, connect)
        except Exception as error:  # fails closed: whatever a stranger's token does to a library is a refusal
            return Denied(f"the token cannot be read ({type(error).__name__})")

    def _verified(self, token: bytes) -> dict[str, Any] | Denied:
        """The claims of a token with a good signature, and good as of now."""
        try:
            head = self._jwt.get_unverified_header(token)
        except self._jwt.PyJWTError:
            return Denied("the token is malformed")
        algorithm, kid = head.get("alg"), head.get("kid", "")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            return Denied("the token's algorithm is not allowed")
        keys = [key for key in self._keys if key.algorithm == algorithm]
        if kid and any(key.kid == kid for key in self._keys):
            keys = [key for key in keys if key.kid == kid]
        elif kid:
            keys = [key for key in keys if not key.kid]
        if not keys:
            return Denied("no key fits the token's kid and algorithm")
        for key in keys:
            try:
                return self._decoded(token, key)
            except self._jwt.InvalidSignatureError:
                continue
            except self._jwt.PyJWTError as error:
                return _denied(error)
        return Denied("the token's signature is wrong")

    def _decoded(self, token: bytes, key: _Ready) -> dict[str, Any]:
        claims: dict[str, Any] = self._jwt.decode(
            token,
            key.prepared,
            algorithms=[key.algorithm],
            options={"require": self._required, "enforce_minimum_key_length": True},
            audience=self._audience or None,
            issuer=self._issuer or None,
            leeway=self._leeway,
        )
        return claims

    def _identity(self, claims: dict[str, Any], connect: Connect) -> Verdict:
        for name in ("exp", "nbf", "iat"):
            if name in claims and not _is_time(claims[name]):
                return Denied(f"the token's claim {name} is no number")
        user_name = claims.get(self._user_claim)
        if not isinstance(user_name, str) or not is_name(user_name):
            return Denied("the token's claim for the user name is missing or no name")
        if self._match_user_name and connect.user_name and connect.user_name != user_name:
            return Denied("the user name in CONNECT is not that of the token")
        roles = self._roles(claims)
        if roles is None:
            return Denied("the token's claim for roles holds something else")
        # What is taken until then is worth something until then: an end at exp would close it in the same moment.
        end = float(claims["exp"]) + self._leeway if "exp" in claims else math.inf
        return Identity(user_name, self.name, roles, end)

    def _roles(self, claims: dict[str, Any]) -> tuple[str, ...] | None:
        """The roles in a token; None where the claim is of a wrong kind."""
        if not self._roles_claim:
            return ()
        value: Any = claims
        for name in (self._roles_claim,) if self._roles_claim in claims else self._roles_claim.split("."):
            if not isinstance(value, dict):
                return None
            if name not in value:
                return ()
            value = value[name]
        names: Iterable[Any] = value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else [0]
        roles = tuple(name for name in names if name != "")
        return roles if all(isinstance(name, str) and is_name(name) for name in roles) else None

    def _ready(self, key: Key) -> _Ready:
        called = f"the {key.algorithm!a} key" + (f" {key.kid!a}" if key.kid else "")
        if key.algorithm not in self._algorithms:
            raise ValueError(f"{called}: its algorithm is not among those allowed")
        symmetric = key.algorithm in SYMMETRIC
        if symmetric and b"-----BEGIN" in key.material:
            raise ValueError(
                f"{called} is a PEM file; a public key is known to all and no secret: name it RS256 or ES256"
            )
        try:
            algorithm = self._jwt.get_algorithm_by_name(key.algorithm)
        except NotImplementedError:
            raise ModuleNotFoundError(_INSTALL) from None
        try:
            prepared = algorithm.prepare_key(key.material)
            weak = algorithm.check_key_length(prepared)
        except Exception:  # PyJWT's and cryptography's of many kinds; their words could hold some of the key
            raise ValueError(f"{called} cannot be read as one; {_WANTED[symmetric]}") from None
        if weak:
            raise ValueError(f"{called} is too short for its algorithm (RFC 7518 section 3); {_WANTED[symmetric]}")
        if hasattr(prepared, "private_bytes"):
            raise ValueError(f"{called} is a private key, which whoever only checks signatures should not have")
        return _Ready(key.kid, key.algorithm, prepared)


_INSTALL: Final = "tokens need a library more; install it with: pip install triomq[jwt]"
_WANTED: Final = {
    True: "wanted is a random secret of at least 32 bytes for HS256, 48 for HS384 and 64 for HS512",
    False: "wanted is a public key as PEM, an RSA one of at least 2048 bits",
}


class _Ready:
    """A key as the library takes it, read once."""

    __slots__ = ("algorithm", "kid", "prepared")

    def __init__(self, kid: str, algorithm: str, prepared: Any) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.prepared = prepared


def _is_jwt(value: bytes) -> bool:
    """Whether `value` has the shape of a signed JWT: three parts of base64url, the first a JSON object's beginning."""
    match = _SHAPE.fullmatch(value)
    if match is None:
        return False
    begin = match.group(1)[:32]
    try:
        return urlsafe_b64decode(begin[: len(begin) & ~3] or begin + b"==").lstrip(b" \t\r\n").startswith(b"{")
    except binascii.Error:
        return False


def _denied(error: Exception) -> Denied:
    kind = type(error).__name__
    sentence = _SENTENCES.get(kind, "the token is malformed")
    return Denied(sentence, ReasonCode.NOT_AUTHORIZED) if kind in _NOT_ENOUGH else Denied(sentence)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_name(name: str) -> bool:
    """Whether this may be a user name or a role: some text without controls, and one that has an UTF-8 form."""
    if not name or _CONTROLS.search(name):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        return False
    return True
