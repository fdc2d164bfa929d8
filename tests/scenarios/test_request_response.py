"""Request and response (section 4.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scripted import forwarded, properties
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


async def test_a_question_and_its_answer(door: Door) -> None:
    requester, responder = await door.connect("requester"), await door.connect("responder")
    await requester.subscribe("answers/requester", qos=1)
    await responder.subscribe("questions", qos=1)
    asked = forwarded(response_topic="answers/requester", correlation_data=b"\x00\x01 42")
    await requester.publish("questions", b"6 x 7?", qos=1, forwarded=asked)
    question = await responder.message()
    assert question.forwarded == asked
    answered = forwarded(correlation_data=b"\x00\x01 42")
    await responder.publish("answers/requester", b"42", qos=1, forwarded=answered)
    answer = await requester.message()
    assert (answer.payload, answer.forwarded) == (b"42", answered)


@statement("MQTT5-3.1.2-28")
async def test_response_information_is_told_to_who_asks(door: Door) -> None:
    door.settings["response_information"] = "answers/"
    for asked, told in ((None, None), (0, None), (1, "answers/")):
        peer = await door.peer()
        connack = await peer.connect("c", properties=properties(request_response_information=asked))
        assert connack.properties.response_information == told
        await peer.leave()


async def test_without_the_setting_there_is_none(door: Door) -> None:
    peer = await door.peer()
    connack = await peer.connect("c", properties=properties(request_response_information=1))
    assert connack.properties.response_information is None
