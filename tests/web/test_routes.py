"""The table of operations: what it lets through, what it refuses, and the document that is written from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.datastructures import QueryParams

from broker.web.accounts import Denied
from broker.web.routes import TOPIC_FILTER, TOPIC_NAME, Asked, Field, Operation, by_path, document

if TYPE_CHECKING:
    from starlette.responses import Response


async def nothing(asked: Asked) -> Response:
    raise AssertionError("is not called here")


QUERY = (
    Field("limit", "integer", "How many.", default=100, minimum=1, maximum=1000),
    Field("connected", "boolean", "Which."),
    Field("sort", "string", "How.", choices=("a", "-a")),
    Field("seconds", "number", "For how long.", minimum=1),
    Field("must", "string", "It must.", required=True, maximum=5, format=TOPIC_NAME),
)
BODY = (
    Field("topic", "string", "Where.", required=True, minimum=1, maximum=10),
    Field("qos", "integer", "How.", default=0, choices=(0, 1, 2)),
    Field("retain", "boolean", "Whether.", default=False),
    Field("properties", "object", "What else.", members={"x": {"type": "integer"}}),
    Field("filter", "string", "Whence.", format=TOPIC_FILTER),
)
GET = Operation("GET", "/things/{id}", "viewer", "Things.", nothing, query=QUERY, answer="Deleted", failures=(404,))
POST = Operation("POST", "/things", "operator", "Make one.", nothing, body=BODY, one_of=("topic", "filter"))


def test_a_query() -> None:
    found = GET.read_query(QueryParams("must=x&limit=7&connected=false&seconds=1.5"))
    assert found == {"limit": 7, "connected": False, "sort": None, "seconds": 1.5, "must": "x"}
    assert GET.read_query(QueryParams("must="))["limit"] == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "must=x&limit=0",
        "must=x&limit=1001",
        "must=x&limit=1.0",
        "must=x&limit=%2B1",
        "must=x&limit=1_0",
        "must=x&limit=٣",
        "must=x&limit=" + "9" * 5000,
        "must=x&connected=1",
        "must=x&connected=",
        "must=x&sort=b",
        "must=x&seconds=nan",
        "must=x&seconds=0.5",
        "must=x&seconds=1e",
        "must=toolong",
        "must=a/%2B",
        "must=%01",
        "must=x&other=1",
        "must=x&" + "y" * 5000 + "=1",
    ],
)
def test_a_query_that_is_none(text: str) -> None:
    with pytest.raises(Denied) as caught:
        GET.read_query(QueryParams(text))
    assert (caught.value.status, caught.value.code) == (400, "bad_request")
    assert len(caught.value.message) < 250


def body(given: object, media: str = "application/json") -> dict[str, Any]:
    return POST.read_body(media, given if isinstance(given, bytes) else json.dumps(given).encode())


def test_a_body() -> None:
    whole = {"topic": "a", "qos": 2, "retain": True, "properties": {"x": 1}, "filter": "a/+"}
    assert body(whole) == whole
    assert body({"topic": "a", "qos": None}, "Application/JSON; charset=utf-8") == {
        "topic": "a",
        "qos": 0,
        "retain": False,
        "properties": None,
        "filter": None,
    }
    assert type(body({"topic": "a", "qos": 1.0})["qos"]) is int  # JSON has one kind of number


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        ([], 422),
        ("x", 422),
        ({}, 422),
        ({"topic": ""}, 422),
        ({"topic": None}, 422),
        ({"topic": "x" * 11}, 422),
        ({"topic": 5}, 422),
        ({"topic": "\ud800"}, 422),
        ({"topic": "a", "filter": "a#"}, 422),
        ({"topic": "a", "filter": "$share/a/b"}, 422),
        ({"topic": "a", "qos": 3}, 422),
        ({"topic": "a", "qos": 1.5}, 422),
        ({"topic": "a", "qos": True}, 422),
        ({"topic": "a", "qos": "1"}, 422),
        ({"topic": "a", "retain": 1}, 422),
        ({"topic": "a", "properties": []}, 422),
        ({"topic": "a", "x" * 5000: 1}, 422),
    ],
)
def test_a_body_that_is_none(given: object, status: int) -> None:
    with pytest.raises(Denied) as caught:
        body(given)
    assert caught.value.status == status
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("media", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_can_send_is_no_body(media: str) -> None:
    with pytest.raises(Denied) as caught:
        body({"topic": "a"}, media)
    assert caught.value.status == 400


def test_the_document() -> None:
    found = document((GET, POST), "1.2.3")
    json.dumps(found)
    assert found["openapi"] == "3.1.0"
    assert found["info"]["version"] == "1.2.3"
    get = found["paths"]["/things/{id}"]["get"]
    assert [(each["name"], each["in"], each["required"]) for each in get["parameters"]] == [
        ("id", "path", True),
        ("limit", "query", False),
        ("connected", "query", False),
        ("sort", "query", False),
        ("seconds", "query", False),
        ("must", "query", True),
    ]
    assert get["parameters"][1]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    assert get["parameters"][5]["schema"] == {"type": "string", "maxLength": 5, "format": TOPIC_NAME}
    assert set(get["responses"]) == {"200", "400", "401", "403", "404"}
    assert get["operationId"] == "get_things_id"
    post = found["paths"]["/things"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["topic"]
    assert schema["properties"]["qos"]["enum"] == [0, 1, 2, None]
    assert schema["properties"]["properties"]["properties"] == {"x": {"type": "integer"}}
    assert [each["required"] for each in schema["oneOf"]] == [["topic"], ["filter"]]
    assert set(post["responses"]) == {"204", "400", "401", "403", "413", "422"}


def test_methods_of_one_path() -> None:
    other = Operation("DELETE", "/things", "operator", "Delete them.", nothing)
    assert by_path((GET, POST, other)) == {"/things/{id}": {"GET": GET}, "/things": {"POST": POST, "DELETE": other}}
