"""`broker.auth.jwt`: good tokens say who, bad ones are refused, and nothing is ever raised for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from broker.auth.jwt import ALGORITHMS, KEYS, TOKEN_BYTES, JwtMethod, Key
from broker.auth.methods import Denied, Identity, Verdict
from broker.core.ports import Peer
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNHURRIED = examples(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SECRET = b"canary: a secret of at least 32 bytes"
LONG = SECRET * 2

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private(kind: str) -> Private:
    if kind == "ES":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind))


def public_pem(kind: str) -> bytes:
    return (
        private(kind)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def private_pem(kind: str) -> bytes:
    return private(kind).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(head: object, claims: object, secret: bytes = SECRET) -> bytes:
    """A token of any head and claims with a good HS256 signature."""
    text = f"{part(head)}.{part(claims)}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}".encode()


def token(**claims: Any) -> bytes:
    everything = {"sub": "ada", "exp": time.time() + 600, **claims}
    return signed({"alg": "HS256"}, {name: value for name, value in everything.items() if value is not ...})


def method(**settings: Any) -> JwtMethod:
    return JwtMethod([Key("", "HS256", SECRET)], ["HS256"], **settings)


def check(password: bytes | None, by: JwtMethod | None = None, user_name: str | None = None) -> Verdict:
    return (by or method()).check(Connect("c", user_name=user_name, password=password), Peer("192.0.2.1:5", "tcp"))


def identity(verdict: Verdict) -> Identity:
    assert isinstance(verdict, Identity), verdict.detail if verdict else "None"
    return verdict


def denied(verdict: Verdict) -> Denied:
    assert isinstance(verdict, Denied)
    assert "canary" not in verdict.detail
    assert verdict.detail.isprintable()
    return verdict


def test_a_good_token_says_who() -> None:
    end = time.time() + 600
    who = identity(check(token(exp=end, roles=["ignored"]), method(leeway=5.0)))
    assert (who.user_name, who.method, who.roles) == ("ada", "jwt", ())
    assert who.expires_at == pytest.approx(end + 5)


@pytest.mark.parametrize(
    ("algorithm", "signing", "checking"),
    [
        ("HS256", lambda: SECRET, lambda: SECRET),
        ("HS384", lambda: LONG, lambda: LONG),
        ("HS512", lambda: LONG, lambda: LONG),
        ("RS256", lambda: private("2048"), lambda: public_pem("2048")),
        ("PS256", lambda: private("2048"), lambda: public_pem("2048")),
        ("ES256", lambda: private("ES"), lambda: public_pem("ES")),
        ("EdDSA", lambda: private("EdDSA"), lambda: public_pem("EdDSA")),
    ],
)
def test_each_kind_of_signature(algorithm: str, signing: Callable[[], Any], checking: Callable[[], bytes]) -> None:
    by = JwtMethod([Key("", algorithm, checking())], [algorithm])
    good = jwt.encode({"sub": "ada", "exp": time.time() + 60}, signing(), algorithm).encode()
    assert identity(check(good, by)).user_name == "ada"
    end = good.rindex(b".") + 1
    forged = good[:end] + (b"A" if good[end : end + 1] != b"A" else b"B") + good[end + 1 :]
    assert denied(check(forged, by)).detail == "the token's signature is wrong"


@pytest.mark.parametrize("password", [b"", b"secret", b"a.b.c", b"1.2.3", b"eyJhbGciOiJIUzI1NiJ9", b"\xff.\xff.\xff"])
@pytest.mark.parametrize("end", [b"", b"x" * 60_000])
def test_an_ordinary_password_is_none_of_its_business(password: bytes, end: bytes) -> None:
    assert check(password + end) is None


def test_no_password_is_none_of_its_business() -> None:
    assert check(None) is None


NOW = time.time()


@pytest.mark.parametrize(
    ("claims", "detail", "reason"),
    [
        ({"exp": NOW - 60}, "the token has expired", 0x87),
        ({"nbf": NOW + 600}, "the token is not valid yet (nbf or iat)", 0x87),
        ({"iat": NOW + 600}, "the token is not valid yet (nbf or iat)", 0x87),
        ({"aud": "canary"}, "the token is for another audience (aud)", 0x87),
        ({"exp": ...}, "the token lacks a claim that is required (exp, aud or iss)", 0x86),
        ({"exp": None}, "the token lacks a claim that is required (exp, aud or iss)", 0x86),
        ({"exp": "canary"}, "the token is malformed", 0x86),
        ({"exp": str(int(NOW) + 600)}, "the token's claim exp is no number", 0x86),
        ({"exp": math.inf}, "the token is malformed", 0x86),
        ({"exp": math.nan}, "the token is malformed", 0x86),
        ({"exp": 10**400}, "the token cannot be read (OverflowError)", 0x86),
        ({"exp": [NOW]}, "the token is malformed", 0x86),
        ({"exp": {}}, "the token is malformed", 0x86),
        ({"nbf": True}, "the token's claim nbf is no number", 0x86),
        ({"iat": "1"}, "the token's claim iat is no number", 0x86),
        ({"sub": ...}, "the token's claim for the user name is missing or no name", 0x86),
        ({"sub": ""}, "the token's claim for the user name is missing or no name", 0x86),
        ({"sub": "a\x00canary"}, "the token's claim for the user name is missing or no name", 0x86),
        ({"sub": "a\ncanary"}, "the token's claim for the user name is missing or no name", 0x86),
        ({"sub": "\ud800"}, "the token's claim for the user name is missing or no name", 0x86),
        ({"sub": 7}, "the token's claim sub is no string", 0x86),
        ({"sub": None}, "the token's claim sub is no string", 0x86),
    ],
)
def test_claims_that_are_not_good(claims: dict[str, Any], detail: str, reason: int) -> None:
    answer = denied(check(token(**claims)))
    assert (answer.detail, answer.reason) == (detail, reason)


def test_clocks_may_differ_by_the_leeway() -> None:
    assert identity(check(token(exp=time.time() - 20))).expires_at > time.time()
    assert denied(check(token(exp=time.time() - 20), method(leeway=10.0)))
    assert identity(check(token(nbf=time.time() + 20, iat=time.time() + 20)))


@pytest.mark.parametrize(
    ("settings", "claims", "good"),
    [
        ({"audience": ["mqtt"]}, {"aud": "mqtt"}, True),
        ({"audience": ["mqtt", "other"]}, {"aud": ["x", "other"]}, True),
        ({"audience": ["mqtt"]}, {"aud": "mqtt2"}, False),
        ({"audience": ["mqtt"]}, {"aud": ["mqtt", 7]}, False),
        ({"audience": ["mqtt"]}, {"aud": {"mqtt": 1}}, False),
        ({"audience": ["mqtt"]}, {}, False),
        ({"issuer": ["https://id.example"]}, {"iss": "https://id.example"}, True),
        ({"issuer": ["https://id.example"]}, {"iss": "https://id.example.evil"}, False),
        ({"issuer": ["https://id.example"]}, {"iss": ["https://id.example"]}, False),
        ({"issuer": ["https://id.example"]}, {}, False),
        ({}, {"iss": "https://id.example"}, True),
        ({"require_expiry": False}, {"exp": ...}, True),
        ({"require_expiry": False}, {"exp": NOW - 60}, False),
        ({"user_claim": "email"}, {"email": "ada@example"}, True),
        ({"user_claim": "email"}, {}, False),
    ],
)
def test_settings_about_claims(settings: dict[str, Any], claims: dict[str, Any], good: bool) -> None:
    answer = check(token(**claims), method(**settings))
    assert isinstance(answer, Identity if good else Denied)


def test_a_token_without_an_end_does_not_end_where_that_is_allowed() -> None:
    assert identity(check(token(exp=...), method(require_expiry=False))).expires_at == math.inf


@pytest.mark.parametrize(
    ("claim", "claims", "roles"),
    [
        ("roles", {"roles": ["reader", "writer"]}, ("reader", "writer")),
        ("roles", {"roles": "reader  writer"}, ("reader", "writer")),
        ("roles", {"roles": []}, ()),
        ("roles", {"roles": ""}, ()),
        ("roles", {}, ()),
        ("realm.roles", {"realm": {"roles": ["reader"]}}, ("reader",)),
        ("realm.roles", {"realm.roles": ["exact"], "realm": {"roles": ["path"]}}, ("exact",)),
        ("realm.roles", {"realm": {}}, ()),
        ("realm.roles", {"realm": ["roles"]}, None),
        ("roles", {"roles": ["reader", 7]}, None),
        ("roles", {"roles": [["reader"]]}, None),
        ("roles", {"roles": {"reader": True}}, None),
        ("roles", {"roles": 7}, None),
        ("roles", {"roles": None}, None),
        ("roles", {"roles": ["a\ncanary"]}, None),
        ("roles", {"roles": ["\udfff"]}, None),
    ],
)
def test_roles(claim: str, claims: dict[str, Any], roles: tuple[str, ...] | None) -> None:
    answer = check(token(**claims), method(roles_claim=claim))
    if roles is None:
        assert denied(answer).detail == "the token's claim for roles holds something else"
    else:
        assert identity(answer).roles == roles


def test_the_user_name_in_connect_is_that_of_the_token() -> None:
    for user_name in (None, "", "ada"):
        assert identity(check(token(), user_name=user_name)).user_name == "ada"
    assert denied(check(token(), user_name="canary")).reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert identity(check(token(), method(match_user_name=False), "jwt")).user_name == "ada"


@pytest.mark.parametrize(
    ("head", "detail"),
    [
        ({}, "the token's algorithm is not allowed"),
        ({"alg": "none"}, "the token's algorithm is not allowed"),
        ({"alg": "None"}, "the token's algorithm is not allowed"),
        ({"alg": ""}, "the token's algorithm is not allowed"),
        ({"alg": None}, "the token's algorithm is not allowed"),
        ({"alg": ["HS256"]}, "the token's algorithm is not allowed"),
        ({"alg": {"HS256": 1}}, "the token's algorithm is not allowed"),
        ({"alg": "HS512"}, "the token's algorithm is not allowed"),
        ({"alg": "RS256"}, "the token's algorithm is not allowed"),
        ({"alg": "HS256", "kid": 7}, "the token is malformed"),
        ({"alg": "HS256", "kid": None}, "the token is malformed"),
        ({"alg": "HS256", "crit": ["canary"], "canary": 1}, "the token is malformed"),
        ({"alg": "HS256", "b64": False, "crit": ["b64"]}, "the token is malformed"),
    ],
)
def test_heads_that_are_not_good(head: dict[str, Any], detail: str) -> None:
    assert denied(check(signed(head, {"sub": "ada", "exp": time.time() + 60}))).detail == detail


def test_none_is_refused_with_and_without_a_signature() -> None:
    unsigned = f"{part({'alg': 'none'})}.{part({'sub': 'ada', 'exp': time.time() + 60})}."
    assert denied(check(unsigned.encode()))
    with pytest.raises(ValueError, match="no algorithm for tokens"):
        JwtMethod([Key("", "none", b"")], ["none"])


def test_a_public_key_is_no_secret() -> None:
    """Key confusion: a token signed by HMAC with what everybody knows."""
    known = public_pem("2048")
    by = JwtMethod([Key("", "RS256", known), Key("", "HS256", SECRET)], ["RS256", "HS256"])
    forged = signed({"alg": "HS256"}, {"sub": "ada", "exp": time.time() + 60}, known)
    assert denied(check(forged, by)).detail == "the token's signature is wrong"
    assert denied(check(forged, JwtMethod([Key("", "RS256", known)], ["RS256", "HS256"])))


@pytest.mark.parametrize(
    ("algorithm", "material", "text"),
    [
        ("HS256", lambda: public_pem("2048"), "PEM file"),
        ("HS256", lambda: b"  \n" + public_pem("ES"), "PEM file"),
        (
            "HS256",
            lambda: (
                private("2048")
                .public_key()
                .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            ),
            "cannot be read",
        ),
        ("HS256", lambda: b"canary" * 5, "too short"),
        ("HS384", lambda: SECRET, "too short"),
        ("HS512", lambda: SECRET, "too short"),
        ("HS256", lambda: b"", "cannot be read"),
        ("RS256", lambda: public_pem("1024"), "too short"),
        ("RS256", lambda: private_pem("2048"), "private key"),
        ("ES256", lambda: private_pem("ES"), "private key"),
        ("EdDSA", lambda: private_pem("EdDSA"), "private key"),
        ("RS256", lambda: public_pem("ES"), "cannot be read"),
        ("ES256", lambda: public_pem("2048"), "cannot be read"),
        ("ES384", lambda: public_pem("ES"), "cannot be read"),
        ("EdDSA", lambda: public_pem("ES"), "cannot be read"),
        ("RS256", lambda: public_pem("2048")[:200], "cannot be read"),
        ("RS256", lambda: b"", "cannot be read"),
        ("EdDSA", lambda: b"\xffcanary", "cannot be read"),
        ("ES256", lambda: b"canary", "cannot be read"),
    ],
)
def test_keys_that_are_no_good_are_refused_at_the_start(
    algorithm: str, material: Callable[[], bytes], text: str
) -> None:
    with pytest.raises(ValueError, match=text) as raised:
        JwtMethod([Key("left", algorithm, material())], ALGORITHMS)
    assert "'left'" in str(raised.value)
    assert "canary" not in str(raised.value)
    assert "BEGIN" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"algorithms": []}, "no algorithm is allowed"),
        ({"algorithms": ["HS257"]}, "'HS257' is no algorithm"),
        ({"algorithms": ["RS256"]}, "not among those allowed"),
        ({"keys": []}, "between 1 and"),
        ({"keys": [Key("", "HS256", SECRET)] * (KEYS + 1)}, "between 1 and"),
        ({"leeway": -1.0}, "leeway"),
        ({"leeway": math.nan}, "leeway"),
        ({"user_claim": ""}, "user_claim"),
    ],
)
def test_settings_that_are_no_good_are_refused_at_the_start(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        JwtMethod(**{"keys": [Key("", "HS256", SECRET)], "algorithms": ["HS256"], **settings})


def test_a_key_is_chosen_by_its_name() -> None:
    by = JwtMethod([Key("a", "HS256", SECRET), Key("b", "HS256", LONG), Key("c", "HS384", LONG)], ["HS256", "HS384"])
    claims = {"sub": "ada", "exp": time.time() + 60}
    assert identity(check(signed({"alg": "HS256", "kid": "a"}, claims), by))
    assert identity(check(signed({"alg": "HS256", "kid": "b"}, claims, LONG), by))
    assert identity(check(signed({"alg": "HS256"}, claims, LONG), by))
    assert (
        denied(check(signed({"alg": "HS256", "kid": "a"}, claims, LONG), by)).detail == "the token's signature is wrong"
    )
    for kid in ("c", "canary"):
        answer = denied(check(signed({"alg": "HS256", "kid": kid}, claims), by))
        assert answer.detail == "no key fits the token's kid and algorithm"
    unnamed = JwtMethod([Key("", "HS256", SECRET)], ["HS256"])
    assert identity(check(signed({"alg": "HS256", "kid": "any"}, claims), unnamed))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_end_does_not_belong_to_a_secret_in_a_file(tmp_path: Path, end: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + end)
    key = Key.read("a", "HS256", file)
    assert (key.kid, key.algorithm, key.material) == ("a", "HS256", SECRET)
    file.write_bytes(public_pem("ES"))
    assert identity(
        check(
            jwt.encode({"sub": "ada", "exp": time.time() + 60}, private_pem("ES"), "ES256").encode(),
            JwtMethod([Key.read("", "ES256", file)], ["ES256"]),
        )
    )
    with pytest.raises(FileNotFoundError):
        Key.read("", "ES256", tmp_path / "none")


def test_keys_are_replaced_and_kept_where_the_new_ones_are_no_good() -> None:
    by, good = method(), token()
    with pytest.raises(ValueError, match="too short"):
        by.replace([Key("", "HS256", LONG), Key("", "HS256", b"short")])
    assert identity(check(good, by))
    by.replace([Key("", "HS256", LONG)])
    assert denied(check(good, by)).detail == "the token's signature is wrong"


def test_a_token_is_of_bounded_size() -> None:
    room = TOKEN_BYTES - len(token(pad=""))
    assert identity(check(token(pad="x" * (room * 3 // 4 - 8))))
    assert denied(check(token(pad="x" * room))).detail == f"a token of more than {TOKEN_BYTES} bytes"


@pytest.mark.parametrize(
    "text",
    [
        b'{"sub":' + b"[" * 2500 + b"]" * 2500 + b"}",
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b"{" * 4000,
        b'{"exp":' + b"9" * 5000 + b"}",
        b'{"exp":1e999,"sub":"ada"}',
        b'{"sub":"ada","exp":-1e999}',
        b'["sub"]',
        b"7",
        b"null",
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"sub":"\xff"}',
    ],
    ids=range(13),
)
def test_json_that_is_no_good_is_refused_in_claims_and_head(text: bytes) -> None:
    assert denied(check(signed({"alg": "HS256"}, text)))
    assert not isinstance(check(signed(text, {"sub": "ada"})), Identity)


def test_browsers_bring_a_token_in_a_parameter_or_a_cookie() -> None:
    by = method(parameter="token", cookie="session")
    peer = Peer("192.0.2.1:5", "ws", headers={"host": "b.example", "origin": "https://b.example"})
    peer.target = f"/mqtt?token={token().decode()}"
    assert identity(by.check(Connect("c"), peer)).user_name == "ada"
    peer.target = "/mqtt?token=canary"
    assert denied(by.check(Connect("c"), peer)).detail == "the query parameter holds no single token"
    peer.target = "/mqtt"
    peer.headers["cookie"] = f"session={token().decode()}"
    assert identity(by.check(Connect("c"), peer)).user_name == "ada"
    assert by.check(Connect("c", password=b"typed"), peer) is None
    assert method().check(Connect("c"), peer) is None
    peer.headers["origin"] = "https://evil.example"
    assert by.check(Connect("c"), peer) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)
CLAIMS = st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "jti", "roles"]), JSON)
HEADS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), JSON | st.just("HS256"))
STRICT = method(audience=["mqtt"], issuer=["us"], roles_claim="roles", parameter="token")


@UNHURRIED
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_none_of_its_business(password: bytes) -> None:
    assert not isinstance(check(password, STRICT), Identity)


@UNHURRIED
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_any_parts_are_refused_or_none_of_its_business(parts: list[bytes]) -> None:
    for begin in (b"", b'{"alg":"HS256"', b'{"alg":"HS256"}'):
        value = ".".join([part(begin + parts[0]), *(part(one) for one in parts[1:])]).encode()
        assert not isinstance(check(value, STRICT), Identity)


@UNHURRIED
@given(HEADS, CLAIMS)
def test_whatever_an_issuer_signs_gets_a_verdict(head: dict[str, Any], claims: dict[str, Any]) -> None:
    for one in (method(roles_claim="roles", require_expiry=False), STRICT):
        for signed_head in (head, {"alg": "HS256"}):
            answer = check(signed(signed_head, claims), one)
            if isinstance(answer, Identity):
                assert answer.user_name == claims["sub"]
                assert all(isinstance(role, str) for role in answer.roles)
            else:
                denied(answer)


GOOD = token(exp=NOW + 86_400)


@UNHURRIED
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_token_with_one_byte_changed_or_cut_is_never_good(at: int, other: int) -> None:
    changed = GOOD[:at] + bytes([other]) + GOOD[at + 1 :]
    assert isinstance(check(changed), Identity) is (changed == GOOD)
    assert not isinstance(check(GOOD[:at]), Identity)


def test_what_breaks_in_the_library_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    by, good = method(), token()
    for error in (RuntimeError("canary"), RecursionError("canary"), MemoryError("canary")):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(jwt, "decode", fail)
        assert type(error).__name__ in denied(check(good, by)).detail


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install triomq\[jwt\]"):
        method()
