"""CertificateMethod: the name of a verified certificate is the user name, or there is none."""

from __future__ import annotations

import math
from typing import cast

import pytest

from broker.auth.certificates import CertificateMethod, Source
from broker.auth.methods import Denied, Identity
from broker.core.ports import Certificate, Peer
from broker.packets.reasons import ReasonCode
from broker.packets.types import Connect

ALTERNATIVES = ("urn:uuid:1b4e28ba", "https://device.example/1", "one.example", "one@example.com")


def peer(common_name: str = "device-1", alternatives: tuple[str, ...] = ALTERNATIVES) -> Peer:
    found = Peer("192.0.2.1:1", "tcp")
    name = f"CN={common_name},O=Works" if common_name else ""
    found.certificate = Certificate(common_name, name, alternatives)
    return found


@pytest.mark.parametrize(
    ("source", "user_name"), [("cn", "device-1"), ("san", "one.example"), ("dn", "CN=device-1,O=Works")]
)
@pytest.mark.parametrize("prefix", ["", "cert:"])
def test_the_name_asked_for_is_the_user_name(source: Source, user_name: str, prefix: str) -> None:
    identity = CertificateMethod(source, prefix).check(Connect("c"), peer())
    assert isinstance(identity, Identity)
    assert identity.user_name == prefix + user_name
    assert identity.method == "certificate"
    assert identity.roles == ()
    assert identity.expires_at == math.inf


def test_a_mail_address_is_a_name_and_a_uri_is_none() -> None:
    method = CertificateMethod("san")
    identity = method.check(Connect("c"), peer(alternatives=("urn:x", "", "one@example.com", "one.example")))
    assert isinstance(identity, Identity)
    assert identity.user_name == "one@example.com"


def test_without_a_certificate_it_is_somebody_elses_business() -> None:
    assert CertificateMethod().check(Connect("c", user_name="device-1"), Peer("192.0.2.1:1", "tcp")) is None


@pytest.mark.parametrize("source", ["cn", "san", "dn"])
@pytest.mark.parametrize("prefix", ["", "cert:"])
def test_a_certificate_without_the_name_is_refused(source: Source, prefix: str) -> None:
    verdict = CertificateMethod(source, prefix).check(Connect("c"), peer("", ("urn:x",)))
    assert isinstance(verdict, Denied)
    assert verdict.reason == ReasonCode.NOT_AUTHORIZED


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "\x1b[31m", "a\u202eb", "\u200b"])
def test_a_name_that_cannot_be_printed_is_refused(name: str) -> None:
    verdict = CertificateMethod().check(Connect("c"), peer(name))
    assert isinstance(verdict, Denied)
    assert name not in verdict.detail


@pytest.mark.parametrize("user_name", ["alice", "", "DEVICE-1", "device-1 "])
def test_another_user_name_in_connect_is_refused(user_name: str) -> None:
    verdict = CertificateMethod().check(Connect("c", user_name=user_name, password=b"right"), peer())
    assert isinstance(verdict, Denied)
    assert verdict.reason == ReasonCode.BAD_USER_NAME_OR_PASSWORD


def test_the_same_user_name_in_connect_is_right() -> None:
    assert isinstance(CertificateMethod().check(Connect("c", user_name="device-1"), peer()), Identity)
    prefixed = CertificateMethod(prefix="cert:")
    assert isinstance(prefixed.check(Connect("c", user_name="cert:device-1"), peer()), Identity)
    assert isinstance(prefixed.check(Connect("c", user_name="device-1"), peer()), Denied)


def test_another_source_is_refused() -> None:
    with pytest.raises(ValueError, match="cn, san, dn"):
        CertificateMethod(cast("Source", "email"))
