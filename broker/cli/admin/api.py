"""The API of a running broker, asked one request after the other on the calling thread.

It is the standard library's http.client and not httpx2, which an extra installs: these commands work in every
installation. A request that changes something is sent once, over a connection of its own; one that reads may be
repeated where the connection that was kept for it turns out to be closed.
"""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from broker import __version__
from broker.cli.errors import CannotConnect, Failure, Refused
from broker.cli.payloads import legible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broker.cli.health import Place

PREFIX: Final = "/api/v1"
PAGE: Final = 1000  # items in an answer, the most that the API gives
NOTHING: Final = "There is nothing here."  # says the broker where it has no such path
TOKEN: Final = (
    "ask with a token, --token-file or BROKER_TOKEN, whose SHA-256 stands with the role {role} in `[web] tokens_file` "
    "(docs/guides/http.md)"
)

Item = dict[str, Any]


class Conflict(Failure):
    """The API wants something confirmed; `said` is its answer."""

    def __init__(self, message: str, said: Item) -> None:
        super().__init__(message)
        self.said = said


class Missing(Failure):
    """What was asked for is not there."""


class Api:
    """See the module. `timeout` is seconds without a sign of the broker; `context` is there where the URL is https."""

    def __init__(self, place: Place, token: str, context: ssl.SSLContext | None, timeout: float) -> None:
        self.url = place.url
        self._token = token
        self._timeout = timeout
        self._used = False
        if context is None:
            self._connection = http.client.HTTPConnection(place.host, place.port, timeout=timeout)
        else:
            self._connection = http.client.HTTPSConnection(place.host, place.port, timeout=timeout, context=context)

    def close(self) -> None:
        self._connection.close()
        self._used = False

    def get(self, *path: str, query: Mapping[str, Any] | None = None) -> Item:
        """What stands at this path; each part of it is a name as it is. Raises ClickException, as `change` does."""
        return self._answer("GET", _target(path, query))

    def change(
        self, method: str, *path: str, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> Item:
        """Do it, once; `body` goes as JSON. An answer without content is an empty one."""
        self.close()
        return self._answer(method, _target(path, query), json.dumps(body).encode() if body is not None else None)

    def items(self, *path: str, query: Mapping[str, Any] | None = None, most: int | None = None) -> Iterator[Item]:
        """All items of a list, page after page; at most so many. The list may change in between."""
        offset = 0
        while most is None or offset < most:
            limit = PAGE if most is None else min(PAGE, most - offset)
            total, page = listed(self.get(*path, query={**(query or {}), "offset": offset, "limit": limit}), self.url)
            yield from page
            offset += len(page)
            if not page or offset >= total:
                return

    # -- Parts

    def _answer(self, method: str, target: str, body: bytes | None = None) -> Item:
        status, headers, data = self._exchange(method, target, body)
        said = _parsed(data)
        if status == 204:
            return {}
        if status == 200 and said is not None:
            return said
        raise self._refusal(status, headers, said)

    def _exchange(self, method: str, target: str, body: bytes | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {"Accept": "application/json", "User-Agent": f"triomq/{__version__}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        again = self._used
        try:
            self._used = True
            try:
                self._connection.request(method, target, body, headers)
                response = self._connection.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._connection.close()
                if not again or method != "GET":
                    raise
                self._connection.request(method, target, body, headers)
                response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise CannotConnect(f"{self.url}: {self._trouble(error)}") from None
        except BaseException:
            self.close()
            raise

    def _trouble(self, error: OSError | http.client.HTTPException) -> str:
        if isinstance(error, http.client.IncompleteRead):
            return "the connection broke off in the middle of the answer."
        if isinstance(error, http.client.HTTPException):
            tls = " With TLS it is https://." if self.url.startswith("http:") else ""
            return f"what is there does not speak HTTP; --url takes that of a listener of type ws or auto.{tls}"
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s."
        if isinstance(error, ConnectionRefusedError):
            return "connection refused. Is the broker running there? 'broker serve' starts one, --url names another."
        if isinstance(error, ssl.SSLError):
            from broker.client.tls import handshake_failed

            return f"{handshake_failed(error)}."
        return f"{error.strerror or error}."

    def _refusal(
        self, status: int, headers: http.client.HTTPMessage, said: Item | None
    ) -> Failure | Refused | CannotConnect:
        """What to raise for an answer that is no success."""
        told = (said or {}).get("error")
        message = legible(str(told.get("message", ""))) if isinstance(told, dict) else ""
        if status == 401:
            wrong = "the broker does not know this token" if self._token else "the broker wants to know who asks"
            return Refused(f"{self.url}: {wrong}: {TOKEN.format(role='viewer or operator')}.")
        if status == 403:
            role = "that it needs"
            return Refused(f"{self.url}: {message or 'not allowed.'} To do it, {TOKEN.format(role=role)}.")
        if status == 404 and message and message != NOTHING:
            return Missing(message)
        if status == 409 and said is not None and message:
            return Conflict(message, said)
        if status == 429:
            seconds = headers.get("Retry-After", "")
            when = f"try again in {seconds} s" if seconds.isdecimal() else "wait a minute"
            return Refused(f"{self.url}: {message or 'too many requests.'} Until then nobody is asked; {when}.")
        if 300 <= status < 400:
            there = legible(headers.get("Location", "elsewhere"))
            return CannotConnect(f"{self.url}: it sends us to {there}; give the broker's own URL with --url.")
        if status == 404 or not message:
            return CannotConnect(
                f"{self.url}: no API here (status {status}). Is it a broker of TrioMQ, with `api = true` in `[web]`?"
            )
        return Failure(f"{self.url}: {message} (status {status})")


def listed(said: Item, url: str) -> tuple[int, list[Item]]:
    """How many there are in all, and those that were given. Raises CannotConnect where this is no list of the API."""
    total, items = said.get("total"), said.get("items")
    if not isinstance(total, int) or not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise CannotConnect(f"{url}: what answers there is not the API of TrioMQ.")
    return total, items


def _target(path: tuple[str, ...], query: Mapping[str, Any] | None) -> str:
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
    parts = "/".join(quote(part, safe="", errors="surrogatepass") for part in path)
    return f"{PREFIX}/{parts}" + (f"?{urlencode(given, quote_via=quote, errors='surrogatepass')}" if given else "")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _parsed(data: bytes) -> Item | None:
    """An object of JSON, or nothing."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
