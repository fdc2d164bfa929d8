"""The API asked by commands, and what each of its answers becomes."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from broker.cli.admin.api import PAGE, Api, Conflict, Missing
from broker.cli.errors import CannotConnect, Failure, Refused
from broker.cli.health import parse
from tests.cli.admin.conftest import Answering, answer, failure

if TYPE_CHECKING:
    import click

    from tests.cli.admin.conftest import Site


def api_at(url: str, token: str = "", timeout: float = 5.0) -> closing[Api]:
    return closing(Api(parse(url), token, None, timeout))


def test_names_are_sent_as_they_are(site: Site) -> None:
    with site.device("a/b c?ü%2F", "x/#"), api_at(site.url) as api:
        assert api.get("clients", "a/b c?ü%2F")["client_identifier"] == "a/b c?ü%2F"
        found = list(api.items("clients", query={"filter": "b c?ü", "connected": True, "transport": None}))
        assert [each["subscriptions"] for each in found] == [1]


def test_all_pages_are_asked_for_and_no_more_than_are_wanted() -> None:
    first = answer(200, {"total": PAGE + 1, "items": [{"n": n} for n in range(PAGE)]})
    second = answer(200, {"total": PAGE + 1, "items": [{"n": PAGE}]})
    with Answering(first, second) as there, api_at(there.url) as api:
        assert [each["n"] for each in api.items("clients")] == list(range(PAGE + 1))
    assert there.asked == [
        "GET /api/v1/clients?offset=0&limit=1000",
        "GET /api/v1/clients?offset=1000&limit=1000",
    ]
    with Answering(answer(200, {"total": 9, "items": [{}, {}]})) as there, api_at(there.url) as api:
        assert len(list(api.items("clients", most=2))) == 2
    assert there.asked == ["GET /api/v1/clients?offset=0&limit=2"]


def test_a_list_that_shrinks_meanwhile_ends() -> None:
    first, second = ({"total": 5, "items": [{}]}, {"total": 5, "items": []})
    with Answering(answer(200, first), answer(200, second)) as there, api_at(there.url) as api:
        assert list(api.items("clients")) == [{}]


def test_a_kept_connection_that_was_closed_is_opened_again_for_what_only_reads() -> None:
    kept = answer(200, {"n": 1}).replace(b"Connection: close\r\n", b"")
    with Answering(kept, answer(200, {"n": 2})) as there, api_at(there.url) as api:
        assert api.get("overview") == {"n": 1}
        assert api.get("overview") == {"n": 2}


def test_what_changes_something_is_sent_once() -> None:
    with Answering(b"", answer(204, {})) as there, api_at(there.url) as api:
        with pytest.raises(CannotConnect, match="does not speak HTTP"):
            api.change("DELETE", "clients", "a")
        assert there.asked == ["DELETE /api/v1/clients/a"]


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (
            failure(401, "Log in, or send a bearer token."),
            Refused,
            "wants to know who asks: .*--token-file.*tokens_file",
        ),
        (failure(403, "This needs the role operator; yours is viewer."), Refused, "role operator.*--token-file"),
        (failure(404, "There is no such Client."), Missing, r"^There is no such Client\.$"),
        (
            failure(404, "There is nothing here."),
            CannotConnect,
            r"no API here \(status 404\).*`api = true` in `\[web\]`",
        ),
        (b"HTTP/1.0 404 Not Found\r\n\r\nno", CannotConnect, "no API here"),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", CannotConnect, r"no API here \(status 200\)"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 5000, CannotConnect, "no API here"),
        (failure(409, "2 of them.", count=2), Conflict, "2 of them"),
        (failure(422, "They are too many."), Failure, r"They are too many\. \(status 422\)"),
        (failure(429, "Too many.", "Retry-After: 60"), Refused, "try again in 60 s"),
        (failure(429, "Too many.", "Retry-After: soon"), Refused, "wait a minute"),
        (failure(500, "a\x1b[2Jb"), Failure, r"a\\x1b\[2Jb"),
        (
            b"HTTP/1.1 301 X\r\nConnection: close\r\nLocation: https://x.example/\r\nContent-Length: 0\r\n\r\n",
            CannotConnect,
            "https://x.ex",
        ),
        (b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{", CannotConnect, "broke off in the middle"),
        (b"\x20\x02\x00\x01", CannotConnect, "does not speak HTTP.*type ws or auto.*https://"),
        (b"", CannotConnect, "does not speak HTTP"),
    ],
)
def test_each_answer_that_is_no_success_says_what_to_do(
    said: bytes, kind: type[click.ClickException], text: str
) -> None:
    with Answering(said) as there, api_at(there.url) as api, pytest.raises(kind, match=text) as raised:
        api.get("clients")
    assert "\n" not in raised.value.message


def test_a_token_that_is_not_known_is_said_to_be_so() -> None:
    with (
        Answering(failure(401, "no")) as there,
        api_at(there.url, "abc") as api,
        pytest.raises(Refused, match="does not know this token"),
    ):
        api.get("clients")


@pytest.mark.parametrize(
    "said", [{}, {"total": 1, "items": {}}, {"total": "1", "items": []}, {"total": 1, "items": [1]}]
)
def test_a_list_of_another_shape_is_no_list(said: object) -> None:
    with (
        Answering(answer(200, said)) as there,
        api_at(there.url) as api,
        pytest.raises(CannotConnect, match="not the API"),
    ):
        list(api.items("clients"))


def test_nobody_there_and_nobody_who_answers() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with api_at(url, timeout=0.05) as api, pytest.raises(CannotConnect, match=r"no answer within 0\.05 s"):
        api.get("clients")
    listening.close()
    with pytest.raises(CannotConnect, match=r"connection refused.*'broker serve'.*--url"), api_at(url) as api:
        api.get("clients")


def test_a_broker_that_dies_between_two_requests() -> None:
    kept = answer(200, {}).replace(b"Connection: close\r\n", b"")
    there = Answering(kept)
    with api_at(there.url) as api:
        with there:
            assert api.get("overview") == {}
        with pytest.raises(CannotConnect, match="connection refused"):
            api.get("overview")
