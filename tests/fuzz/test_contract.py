"""The API holds to its OpenAPI document: each operation, asked by Schemathesis with what the document allows and with
what it does not, answers with a status, a media type and a body that the document names."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broker.packets.types import Properties, Will
from broker.web.bans import Bans
from broker.web.routes import TOPIC_FILTER, TOPIC_NAME, document
from tests.web.asking import site
from tests.web.systems import Bench, subscribe
from tests.web.test_accounts import USERS, Passwords
from tests.web.test_api import TOKENS, name_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests
    from schemathesis.core.transport import Response
    from schemathesis.schemas import BaseSchema

    from broker.web.routes import Operation

pytestmark = pytest.mark.build("plain")  # what reads, checks and answers here is not compiled

KNOWN: Final = "meter/1"  # a Client that is connected, watched and banned, and a topic that has a retained message

_LEVEL: Final = st.sampled_from(["meter", "1", "a", "é", " ", ""])
NAMES: Final = st.lists(_LEVEL, min_size=1, max_size=3).map("/".join).filter(bool)
FILTERS: Final = st.lists(_LEVEL | st.just("+"), min_size=1, max_size=3).map("/".join).filter(bool) | st.just("meter/#")


@cache
def read() -> BaseSchema:
    """What Schemathesis makes of the document. It is imported here, for it takes long to."""
    import schemathesis

    schemathesis.openapi.format("mqtt-string", NAMES)
    schemathesis.openapi.format(TOPIC_NAME, NAMES)
    schemathesis.openapi.format(TOPIC_FILTER, FILTERS)
    return schemathesis.openapi.from_dict(without_security(document(table(), "9.8.7")))


def without_security(given: dict[str, Any]) -> dict[str, Any]:
    """The document for somebody who may do everything; who may do what is tested in tests/web/test_api.py."""
    del given["components"]["securitySchemes"]
    for methods in given["paths"].values():
        for operation in methods.values():
            operation["security"] = []
    return given


def is_allowed(operation: Operation, body: bytes | None) -> bool:
    """Whether the document allows that body. Schemathesis spoils what then is not sent: a member of null, say."""
    import jsonschema_rs

    try:
        given = json.loads(body or b"")
    except ValueError:
        return False
    content = document([operation], "")["paths"][operation.path][operation.method.lower()]["requestBody"]["content"]
    return jsonschema_rs.is_valid(content["application/json"]["schema"], given)


def filled(bans: Bans, bench: Bench) -> None:
    """Something of everything that can be asked for."""
    properties = Properties()
    properties.session_expiry_interval = 1000
    bench.now = trio.current_time()
    wanted = subscribe("a/#", "$share/g/a/+", qos=1)
    bench.client(KNOWN, wanted, properties=properties, will=Will("w", b"x"))
    bench.client("away", subscribe("#", qos=1), properties=properties).lost(bench.now)
    bench.retain(KNOWN, b"\xff")
    bench.broker.flights.watch(KNOWN, None)
    bans.add(KNOWN, 60, "for a reason", bench.now)
    bench.broker.authenticator = Passwords()


def body_of(request: requests.PreparedRequest) -> bytes | None:
    assert request.body is None or isinstance(request.body, (str, bytes))
    return request.body.encode() if isinstance(request.body, str) else request.body


async def ask(request: requests.PreparedRequest) -> Response:
    """The answer of a broker that was not asked before."""
    from schemathesis.core.transport import Response

    async def reload() -> Sequence[str]:
        return ["limits.maximum_qos: 2 -> 1"]

    bench = Bench(reload=reload, effective=lambda: {"limits.maximum_qos": (2, "default")})
    bans = Bans(bench.broker)
    filled(bans, bench)
    asker = site(bench, local=False, bans=bans, tokens=TOKENS, users=USERS)
    asker.headers = {name: str(value) for name, value in request.headers.items()} | {"Authorization": "Bearer admin"}
    answer = await asker.ask(str(request.method), request.path_url, body_of(request))
    fields: dict[str, list[str]] = {}
    for field, value in answer.fields:
        fields.setdefault(field, []).append(value)
    return Response(answer.status, fields, answer.body, request, 0.0, False)


@pytest.mark.parametrize("operation", table(), ids=name_of)
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_answers_are_those_of_the_document(operation: Operation, data: st.DataObject) -> None:
    import requests
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi import checks

    spoilt: bool = data.draw(st.booleans(), "not allowed by the document")
    mode = GenerationMode.NEGATIVE if spoilt and (operation.query or operation.body) else GenerationMode.POSITIVE
    case = data.draw(read()[operation.path][operation.method].as_strategy(generation_mode=mode))
    there: bool = data.draw(st.booleans(), "of something that is there")
    if there and case.path_parameters:
        case.path_parameters = dict.fromkeys(case.path_parameters, KNOWN)
    request = requests.Request(**case.as_transport_kwargs(base_url="http://broker.example/api/v1")).prepare()
    response = trio.run(ask, request)
    case.validate_response(
        response,
        checks=[
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
            checks.positive_data_acceptance,
            *([] if operation.body and is_allowed(operation, body_of(request)) else [checks.negative_data_rejection]),
        ],
    )
