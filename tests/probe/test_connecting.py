from __future__ import annotations

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, Connack, ControlPacket, Disconnect, Properties
from broker.probe.subject import Subject
from broker.probe.verdict import Outcome
from tests.probe.altering import announcing, answering_connect, dropping
from tests.probe.servers import Tampered, answering, ask, forgiving, only, scripted

CREDENTIALS = b"\x20\x03\x00\x86\x00"


def refusing(reason: ReasonCode) -> Connack:
    return Connack(reason)


async def test_a_good_server_speaks_all_versions() -> None:
    async with Tampered(response_information="answers/here").serving() as endpoint:
        verdicts, result = await ask(endpoint, "connect", "limits")
    assert {name: verdict.text for name, verdict in verdicts.items() if verdict.outcome is not Outcome.OK} == {}
    assert verdicts["mqtt-3.1"].text == "accepted"
    assert verdicts["no-client-id"].text.startswith("named ")
    assert verdicts["response-information"].text == "answers/here"
    assert verdicts["unknown-version"].text.startswith("0x84 unsupported protocol version")
    assert result.barrier is None


@pytest.mark.parametrize(
    ("version", "name", "text"),
    [
        (MQTT_5_0, "mqtt-5.0", "refused: 0x84 unsupported protocol version"),
        (MQTT_3_1_1, "mqtt-3.1.1", "refused: Connect Return Code 1, unsupported protocol version"),
        (MQTT_3_1, "mqtt-3.1", "refused: Connect Return Code 1, unsupported protocol version"),
    ],
)
async def test_a_version_that_is_not_spoken_is_legal(version: int, name: str, text: str) -> None:
    alter = answering_connect(refusing(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION), version)
    async with Tampered(alter).serving() as endpoint:
        verdicts, result = await ask(endpoint, name, "qos-0", "properties", "receive-maximum")
    assert (verdicts[name].outcome, verdicts[name].text) == (Outcome.NO, text)
    assert verdicts["qos-0"].text.count("ms") == 2
    if version == MQTT_5_0:
        assert verdicts["properties"].text == verdicts["receive-maximum"].text == "of MQTT 5.0, which is not spoken"
    assert result.barrier is None


async def test_5_0_answered_in_the_style_of_3_1_1_is_a_refusal() -> None:
    async with Tampered(answering_connect(b"\x20\x02\x00\x01", MQTT_5_0)).serving() as endpoint:
        verdict = await only(endpoint, "mqtt-5.0")
    assert (verdict.outcome, verdict.text) == (Outcome.NO, "refused: 0x84 unsupported protocol version")


@pytest.mark.parametrize(
    ("answer", "text", "statement"),
    [
        (b"\x20\x02\x00\x00", "no packet that a Client takes: Connect Return Code 0", "MQTT5-3.1.4-5"),
        (b"\x20\x03\x02\x00\x00", "reserved Connect Acknowledge Flags", "MQTT5-3.1.4-5"),
        (b"\x20\x03\x01\x87\x00", "Session Present with a refusal", "MQTT5-3.1.4-5"),
        (b"\x20\x03\x01\x00\x00", "Session Present 1 for a Client that wanted a new Session", "MQTT5-3.2.2-2"),
        (b"\x20\x03\x00\x42\x00", "no packet that a Client takes", "MQTT5-3.1.4-5"),
        (b"\xd0\x00", "PINGRESP", "MQTT5-3.2.0-1"),
        (encode(Disconnect(ReasonCode.SERVER_BUSY), MQTT_5_0), "DISCONNECT 0x89 server busy", "MQTT5-3.1.4-5"),
        (b"", "nothing within", "MQTT5-3.1.4-5"),
    ],
)
async def test_a_wrong_answer_to_connect(answer: bytes, text: str, statement: str) -> None:
    async with Tampered(answering_connect(answer, MQTT_5_0)).serving() as endpoint:
        verdict = await only(endpoint, "mqtt-5.0")
    assert verdict.outcome is Outcome.WRONG
    assert text in verdict.text
    assert verdict.statement == statement


async def test_credentials_that_are_missing_are_asked_for() -> None:
    async with scripted(answering(CREDENTIALS)) as endpoint:
        verdicts, result = await ask(endpoint, "mqtt-5.0", "qos-0")
    assert verdicts["mqtt-5.0"].outcome is Outcome.NO
    assert verdicts["mqtt-5.0"].text == "refused: 0x86 bad user name or password"
    assert "give -u" in verdicts["mqtt-5.0"].advice
    assert verdicts["qos-0"].text == "no version is accepted"
    assert result.refused
    assert result.barrier == verdicts["mqtt-5.0"]


async def test_another_server_that_is_named() -> None:
    elsewhere = Properties()
    elsewhere.server_reference = "broker-2.example"
    moved = Connack(ReasonCode.USE_ANOTHER_SERVER, False, elsewhere)
    async with Tampered(answering_connect(moved, MQTT_5_0)).serving() as endpoint:
        verdict = await only(endpoint, "mqtt-5.0")
    assert verdict.advice == "The Server names another: broker-2.example"


async def test_whether_others_are_let_in() -> None:
    async with Tampered().serving() as endpoint:
        subject = Subject(endpoint, user_name="u", password=b"p")
        verdicts, _ = await ask(endpoint, "anonymous", subject=subject)
        assert verdicts["anonymous"].text == "let in too: the credentials given here are not needed"
        assert (await only(endpoint, "anonymous")).text == "let in"

    def asking(data: bytes, first: bool) -> bytes:
        """A CONNECT without a User Name becomes one that our broker refuses."""
        return data if not first or data[9] & 0x80 else data.replace(b"MQTT\x05", b"MQTT\x09")

    async with Tampered(answering_connect(b"\x20\x03\x00\x87\x00")).serving() as endpoint:
        subject = Subject(endpoint, user_name="u", password=b"p")
        verdicts, result = await ask(endpoint, "anonymous", subject=subject)
        assert verdicts["anonymous"].outcome is Outcome.SKIPPED
        assert result.refused
    async with Tampered(admit=asking).serving() as endpoint:
        subject = Subject(endpoint, user_name="u", password=b"p")
        verdicts, _ = await ask(endpoint, "anonymous", subject=subject)
        assert verdicts["anonymous"].outcome is Outcome.NO
        assert verdicts["anonymous"].text.startswith("refused: 0x84")


async def test_a_client_without_a_name() -> None:
    async with Tampered(announcing()).serving() as endpoint:
        verdict = await only(endpoint, "no-client-id")
    assert (verdict.outcome, verdict.statement) == (Outcome.WRONG, "MQTT5-3.2.2-16")
    async with Tampered(zero_length_client_identifiers=False).serving() as endpoint:
        verdicts, _ = await ask(endpoint, "no-client-id", "mqtt-5.0")
    assert verdicts["mqtt-5.0"].outcome is Outcome.OK
    assert verdicts["no-client-id"].outcome is Outcome.NO
    assert verdicts["no-client-id"].text.startswith("CONNECT is refused: 0x85 client identifier not valid")


async def test_a_version_of_the_future_that_is_let_in() -> None:
    def levelled(data: bytes, first: bool) -> bytes:
        return (
            data.replace(b"MQTT\x09\x02\x00<", b"MQTT\x05\x02\x00<\x00").replace(b"\x10\x1c", b"\x10\x1d")
            if first
            else data
        )

    async with Tampered(admit=levelled).serving() as endpoint:
        verdict = await only(endpoint, "unknown-version")
    assert (verdict.outcome, verdict.text, verdict.statement) == (Outcome.WRONG, "accepted", "MQTT5-3.1.2-2")


@pytest.mark.parametrize(
    ("name", "announced", "outcome", "text"),
    [
        ("receive-maximum", {"receive_maximum": 7}, Outcome.OK, "7"),
        ("receive-maximum", {}, Outcome.OK, "65,535 (not announced)"),
        ("maximum-qos", {"maximum_qos": 1}, Outcome.NO, "QoS 1 at most"),
        ("maximum-qos", {}, Outcome.OK, "2"),
        ("retain-available", {"retain_available": 0}, Outcome.NO, "announced as not available"),
        ("retain-available", {"retain_available": 1}, Outcome.OK, "available"),
        ("maximum-packet-size", {"maximum_packet_size": 4096}, Outcome.OK, "4,096 bytes"),
        ("maximum-packet-size", {}, Outcome.OK, "no limit announced"),
        ("topic-alias-maximum", {}, Outcome.NO, "the Server takes no Topic Aliases"),
        ("topic-alias-maximum", {"topic_alias_maximum": 9}, Outcome.OK, "9"),
        ("wildcards-available", {"wildcard_subscription_available": 0}, Outcome.NO, "announced as not available"),
        ("identifiers-available", {"subscription_identifier_available": 0}, Outcome.NO, "announced as not available"),
        ("shared-available", {"shared_subscription_available": 0}, Outcome.NO, "announced as not available"),
        ("session-expiry", {}, Outcome.OK, "as asked for (120 s)"),
        ("session-expiry", {"session_expiry_interval": 10}, Outcome.NO, "10 s, where 120 s were asked for"),
        ("session-expiry", {"session_expiry_interval": 3600}, Outcome.OK, "3,600 s, where 120 s were asked for"),
        ("server-keep-alive", {}, Outcome.OK, "as asked for (60 s)"),
        ("server-keep-alive", {"server_keep_alive": 30}, Outcome.OK, "30 s, which Clients must use"),
        ("assigned-client-id", {}, Outcome.OK, "none was asked for"),
        ("response-information", {}, Outcome.NO, "none, though asked for"),
        ("server-properties", {}, Outcome.OK, "none"),
        (
            "server-properties",
            {"user_properties": [("region", "eu"), ("node", "2")]},
            Outcome.OK,
            "region: eu, node: 2",
        ),
    ],
)
async def test_each_limit(name: str, announced: dict[str, object], outcome: Outcome, text: str) -> None:
    async with Tampered(announcing(**announced)).serving() as endpoint:
        verdict = await only(endpoint, name)
    assert (verdict.outcome, verdict.text) == (outcome, text)


async def test_without_5_0_the_best_is_3_1_1_and_then_3_1() -> None:
    def old(packet: ControlPacket, version: int) -> list[ControlPacket | bytes] | None:
        return None if isinstance(packet, Connack) and version != MQTT_3_1 else [packet]

    async with Tampered(old).serving() as endpoint:
        verdicts, _ = await ask(endpoint, "connect", "qos-1", "crossing", "session")
    assert verdicts["mqtt-5.0"].text == "no CONNACK: the Server closed the Network Connection"
    assert verdicts["mqtt-5.0"].outcome is verdicts["mqtt-3.1.1"].outcome is Outcome.NO
    assert verdicts["mqtt-3.1"].outcome is verdicts["qos-1"].outcome is verdicts["session"].outcome is Outcome.OK
    assert verdicts["crossing"].text == "3.1 is all that this Server speaks"
    assert verdicts["no-client-id"].text == "of MQTT 3.1.1, which this Server does not speak"


async def test_a_server_that_answers_no_connect_at_all() -> None:
    async with Tampered(dropping(Connack)).serving() as endpoint:
        verdicts, result = await ask(endpoint, patience=0.2)
    assert verdicts["mqtt-5.0"].expected == "CONNACK"
    assert verdicts["mqtt-3.1.1"].statement == "MQTT311-3.1.4-4"
    assert verdicts["mqtt-3.1"].outcome is Outcome.NO  # no standard asks for 3.1
    assert verdicts["will"].because == "mqtt-5.0"
    assert result.barrier is not None
    assert not result.refused


async def test_forgiving_is_no_fault_of_the_versions() -> None:
    """The proxy that the tests of faults rely on lets every good CONNECT through."""
    async with Tampered(admit=forgiving).serving() as endpoint:
        verdicts, _ = await ask(endpoint, "mqtt-5.0", "mqtt-3.1.1", "mqtt-3.1", "will")
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.OK}
