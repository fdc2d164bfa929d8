"""SCRAM-SHA-256: the example of RFC 7677, a Client by hand, the one of `scramp`, and all that must not get in."""

from __future__ import annotations

import hashlib
import hmac
import math
import random
import statistics
import time
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

import pytest
from scramp import ScramClient

from broker.auth.methods import Denied
from broker.auth.scram import Proved, Said, Scram
from broker.packets.reasons import ReasonCode

ITERATIONS: Final = 4096
SALT: Final = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


class Kept(NamedTuple):
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def keep(password: str, salt: bytes = SALT, iterations: int = ITERATIONS) -> Kept:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return Kept(salt, iterations, hashlib.sha256(client_key).digest(), server_key)


USERS: Final = {"user": keep("pencil"), "a,b=c": keep("comma"), "jürgen": keep("Straße"), "IX": keep("nine")}


def scram(**other: int) -> Scram:
    return Scram(USERS.get, **{"iterations": ITERATIONS, **other}, secret=b"secret")


def final(first_bare: str, server_first: str, password: str, binding: str = "biws", nonce: str = "") -> tuple[str, str]:
    """A client-final-message, and the server-final-message that proves the Server, written after RFC 5802 section 3."""
    told = dict(part.split("=", 1) for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(told["s"]), int(told["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    without_proof = f"c={binding},r={nonce or told['r']}"
    message = f"{first_bare},{server_first},{without_proof}".encode()
    signature = hmac.digest(stored_key, message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    return f"{without_proof},p={b64encode(proof).decode()}", f"v={b64encode(server).decode()}"


def denied(step: Said | Proved | Denied) -> Denied:
    assert isinstance(step, Denied)
    return step


def said(step: Said | Proved | Denied) -> str:
    assert isinstance(step, Said)
    return step.data.decode()


def test_the_example_of_rfc_7677() -> None:
    conversation = scram().begin("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert said(conversation.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")) == (
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    proved = conversation.step(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert isinstance(proved, Proved)
    assert proved.data == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert proved.identity.user_name == "user"
    assert proved.identity.method == "scram"
    assert proved.identity.roles == ()
    assert proved.identity.expires_at == math.inf


@pytest.mark.parametrize("flag", ["n", "y"])
def test_a_client_by_hand(flag: str) -> None:
    conversation = scram().begin()
    server_first = said(conversation.step(f"{flag},,n=user,r=abc".encode()))
    assert server_first.startswith("r=abc")
    assert len(server_first.split(",")[0]) > len("r=abc") + 20
    binding = b64encode(f"{flag},,".encode()).decode()
    last, signature = final("n=user,r=abc", server_first, "pencil", binding)
    proved = conversation.step(last.encode())
    assert isinstance(proved, Proved)
    assert proved.data.decode() == signature


@pytest.mark.parametrize(("name", "password"), [("user", "pencil"), ("a,b=c", "comma"), ("jürgen", "Straße")])
def test_the_client_of_scramp(name: str, password: str) -> None:
    client = ScramClient(["SCRAM-SHA-256"], name, password)
    conversation = scram().begin()
    client.set_server_first(said(conversation.step(client.get_client_first().encode())))
    proved = conversation.step(client.get_client_final().encode())
    assert isinstance(proved, Proved)
    assert proved.identity.user_name == name
    client.set_server_final(proved.data.decode())


def test_a_name_is_prepared() -> None:
    conversation = scram().begin()
    said(conversation.step("n,,n=\u2168,r=abc".encode()))  # the one sign for nine (RFC 4013 section 3)
    assert conversation.user_name == "IX"


def test_a_connect_without_data_is_asked_to_begin() -> None:
    conversation = scram().begin()
    assert said(conversation.step(b"")) == ""
    assert conversation.user_name == ""
    assert said(conversation.step(b"n,,n=user,r=abc")).startswith("r=abc")


def test_it_is_asked_once() -> None:
    conversation = scram().begin()
    assert said(conversation.step(b"")) == ""
    denied(conversation.step(b""))
    denied(conversation.step(b"n,,n=user,r=abc"))


def test_a_wrong_password() -> None:
    conversation = scram().begin()
    last, _ = final("n=user,r=abc", said(conversation.step(b"n,,n=user,r=abc")), "pencils")
    verdict = denied(conversation.step(last.encode()))
    assert verdict.reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
    assert "pencil" not in verdict.detail


def test_after_a_wrong_proof_the_right_one_is_too_late() -> None:
    conversation = scram().begin()
    server_first = said(conversation.step(b"n,,n=user,r=abc"))
    denied(conversation.step(final("n=user,r=abc", server_first, "pencils")[0].encode()))
    denied(conversation.step(final("n=user,r=abc", server_first, "pencil")[0].encode()))


def test_a_proof_is_good_for_one_conversation() -> None:
    one, another = scram().begin(), scram().begin()
    last = final("n=user,r=abc", said(one.step(b"n,,n=user,r=abc")), "pencil")[0].encode()
    said(another.step(b"n,,n=user,r=abc"))
    denied(another.step(last))
    assert isinstance(one.step(last), Proved)
    denied(one.step(last))


@pytest.mark.parametrize(
    "first",
    [
        "p=tls-server-end-point,,n=user,r=abc",
        "p=tls-exporter,,n=user,r=abc",
        "n,a=admin,n=user,r=abc",
        "x,,n=user,r=abc",
        ",,n=user,r=abc",
        "n,,",
        "n,,n=user",
        "n,,r=abc",
        "n,,r=abc,n=user",
        "n,,n=,r=abc",
        "n,,n=user,r=",
        "n,,n=user,r=a\x01c",
        "n,,n=user,r=aüc",
        "n,,n=us=er,r=abc",
        "n,,n=us\ner,r=abc",
        "n,,n=us\u202eer,r=abc",
        "n,,n=\u00ad,r=abc",
        "n,,m=must,n=user,r=abc",
        "n,,n=user,n=user,r=abc",
        "n,,n=user,r=abc,",
        "n=user,r=abc",
        "nonsense",
        " ",
        "\0",
        "n,,n=user,r=" + "a" * 600,
        "n,,n=" + "\ufdfa" * 400 + ",r=abc",
    ],
)
def test_a_first_message_that_is_wrong(first: str) -> None:
    conversation = scram().begin()
    verdict = denied(conversation.step(first.encode()))
    assert verdict.reason == ReasonCode.NOT_AUTHORIZED
    denied(conversation.step(b"n,,n=user,r=abc"))


@pytest.mark.parametrize("data", [b"\xff\xfe", b"n,,n=\xed\xa0\x80,r=abc", b"n,,n=user\xc0\x80,r=abc"])
def test_what_is_not_utf_8(data: bytes) -> None:
    denied(scram().begin().step(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda last: last.replace("c=biws", "c=eSws"),  # "y,,": another header than before
        lambda last: last.replace("c=biws", "c="),
        lambda last: last.replace("c=biws", "c=!!!!"),
        lambda last: last.replace("r=abc", "r=abd"),
        lambda last: last.replace("r=abc", "r=abcx"),
        lambda last: "c=biws,r=abc" + last[last.index(",p=") :],  # without our nonce
        lambda last: last[: last.index(",p=")],
        lambda last: last[: last.index(",p=")] + ",p=",
        lambda last: last[: last.index(",p=")] + ",p=AAAA",
        lambda last: last[: last.index(",p=")] + ",p=" + "A" * 43 + "=",
        lambda last: last[: last.index(",p=")] + ",p=???",
        lambda last: last.replace(",p=", ",m=x,p="),
        lambda last: last + ",x=1",
        lambda last: last + " ",
        lambda last: last + "A" * 600,
        lambda last: "",
        lambda last: "n,,n=user,r=abc",
    ],
)
def test_a_last_message_that_is_wrong(change: object) -> None:
    conversation = scram().begin()
    last, _ = final("n=user,r=abc", said(conversation.step(b"n,,n=user,r=abc")), "pencil")
    assert callable(change)
    assert change(last) != last
    denied(conversation.step(change(last).encode()))
    denied(conversation.step(last.encode()))


def test_no_byte_of_a_proof_may_be_another() -> None:
    chance = random.Random(7677)
    for _ in range(60):
        conversation = scram().begin()
        last, _ = final("n=user,r=abc", said(conversation.step(b"n,,n=user,r=abc")), "pencil")
        changed = bytearray(last.encode())
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(7)
        if b64decode(changed.partition(b",p=")[2] + b"==") == b64decode(last.partition(",p=")[2]):
            continue  # bits of base64 that mean nothing
        denied(conversation.step(bytes(changed)))


def test_any_bytes_get_an_answer() -> None:
    chance = random.Random(5802)
    pieces = [b"n", b"y", b"p", b",", b"=", b"r", b"a", b"c", b"biws", b"user", b"\0", b"\xc3\xbc", b"\xff", b"m", b"i"]
    for _ in range(2000):
        conversation = scram().begin()
        if chance.random() < 0.5:
            said(conversation.step(b"n,,n=user,r=abc"))
        data = b"".join(chance.choices(pieces, k=chance.randrange(1, 12)))
        assert not isinstance(conversation.step(data), Proved)


def test_an_unknown_user_is_asked_alike_each_time() -> None:
    ours = scram()
    asked = [said(ours.begin("x").step(f"n,,n={name},r=abc".encode())) for name in ("nobody", "nobody", "noone")]
    assert asked[0] == asked[1] != asked[2]
    known = said(ours.begin("x").step(b"n,,n=user,r=abc"))
    for one in asked:
        assert len(one) == len(known)
        assert one.rpartition(",")[2] == known.rpartition(",")[2] == "i=4096"
    assert said(Scram(USERS.get).begin("x").step(b"n,,n=nobody,r=abc")) != asked[0], "the secret is another one"


def test_an_unknown_user_never_fits() -> None:
    for password in ("", "pencil", "stored key:nobody"):
        conversation = scram().begin()
        last, _ = final("n=nobody,r=abc", said(conversation.step(b"n,,n=nobody,r=abc")), password)
        verdict = denied(conversation.step(last.encode()))
        assert verdict.reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD
        assert verdict.detail == "the proof does not fit the password", "as of a known user"


def test_an_unknown_user_takes_as_long() -> None:
    ours = scram()
    times: dict[str, list[float]] = {"user": [], "none": []}
    for name in list(times) * 200:
        conversation = ours.begin()
        started = time.perf_counter()
        conversation.step(f"n,,n={name},r=abc".encode())
        times[name].append(time.perf_counter() - started)
    known, unknown = (statistics.median(sorted(of)[:100]) for of in times.values())
    assert 0.5 < unknown / known < 2


def test_salt_and_iterations_of_the_unknown_are_as_told() -> None:
    ours = Scram(USERS.get, iterations=5000, salt_bytes=24)
    told = said(ours.begin("x").step(b"n,,n=nobody,r=abc"))
    assert told.endswith(",i=5000")
    assert len(b64decode(told.partition(",s=")[2].partition(",")[0])) == 24
    for iterations, salt_bytes in ((4095, 16), (4096, 11), (4096, 33)):
        with pytest.raises(ValueError, match=r"must be|may have"):
            Scram(USERS.get, iterations, salt_bytes)


def test_what_looking_for_a_verifier_raises_comes_out() -> None:
    def broken(name: str) -> Kept | None:
        raise OSError("gone")

    conversation = Scram(broken).begin()
    with pytest.raises(OSError, match="gone"):
        conversation.step(b"n,,n=user,r=abc")
    denied(conversation.step(b"c=biws,r=abc,p=AAAA"))


@pytest.mark.parametrize(
    "verifier",
    [
        USERS["user"]._replace(salt=b"short"),
        USERS["user"]._replace(stored_key=b""),
        USERS["user"]._replace(server_key=b"x" * 31),
        USERS["user"]._replace(iterations=1),
        USERS["user"]._replace(stored_key="x" * 32),  # type: ignore[arg-type]  # text for bytes is the fault
    ],
)
def test_a_verifier_that_cannot_be_used_is_an_error_of_ours(verifier: Kept) -> None:
    conversation = Scram({"user": verifier}.get).begin()
    with pytest.raises(ValueError, match="can't be used"):
        conversation.step(b"n,,n=user,r=abc")
    denied(conversation.step(b"n,,n=user,r=abc"))
