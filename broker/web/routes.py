"""Operations of the API as a table: method, path, role, parameters, body, answer.

What a request may say is checked by this table and written into the OpenAPI document from it, so that neither can say
anything else than the other.
"""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from broker.packets.reasons import ProtocolError
from broker.packets.topics import check_topic_filter, check_topic_name
from broker.web.accounts import Denied
from broker.web.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from broker.web.accounts import Who

PREFIX: Final = "/api/v1"
ANYBODY: Final = ""
TOPIC_NAME: Final = "mqtt-topic-name"  # formats of a string
TOPIC_FILTER: Final = "mqtt-topic-filter"  # no shared one
BASE64: Final = "byte"  # as OpenAPI calls it; not checked by the table

_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
}
_FAILURES: Final = {
    400: "What was sent cannot be understood.",
    401: "Nobody has logged in, or the token is none.",
    403: "The role is not enough, or another page asks.",
    404: "There is none.",
    409: "It was not confirmed, there is no room, or another runs.",
    413: "The body is too large.",
    422: "What was sent is understood and not allowed.",
    429: "Too many failed attempts.",
    503: "This cannot be told or done now.",
}


class Field:
    """A parameter of the query, or a member of the body. `members` are the schemas of what an object may hold, which
    is for its handler to check."""

    __slots__ = (
        "choices",
        "default",
        "format",
        "kind",
        "maximum",
        "members",
        "minimum",
        "name",
        "required",
        "text",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        text: str,
        *,
        default: object = None,
        required: bool = False,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: tuple[object, ...] = (),
        format: str = "",
        members: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.text = text
        self.default = default
        self.required = required
        self.minimum = minimum
        self.maximum = maximum
        self.choices = choices
        self.format = format
        self.members = members

    def schema(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.kind, "description": self.text}
        text = self.kind == "string"
        if self.minimum is not None:
            found["minLength" if text else "minimum"] = self.minimum
        if self.maximum is not None:
            found["maxLength" if text else "maximum"] = self.maximum
        if self.choices:
            found["enum"] = list(self.choices)
        if self.format:
            found["format"] = self.format
        if self.members is not None:
            found |= {"properties": dict(self.members), "additionalProperties": False}
        if self.default is not None:
            found["default"] = self.default
        return found

    def member(self) -> dict[str, Any]:
        """The schema of a member of a body, which may be null where it may be left out."""
        found = self.schema()
        if not self.required:
            found["type"] = [self.kind, "null"]
            if self.choices:
                found["enum"] = [*self.choices, None]
        return found

    def fault(self, value: object) -> str:
        """What is wrong with a value; "" for nothing."""
        wrong = not isinstance(value, _KINDS[self.kind]) or (isinstance(value, bool) and self.kind != "boolean")
        if wrong:
            return f"{self.name} has to be of the type {self.kind}"
        if self.choices and value not in self.choices:
            return f"{self.name} has to be one of: {', '.join(map(str, self.choices))}"
        size = len(value) if isinstance(value, str) else value
        if isinstance(size, (int, float)) and not isinstance(size, bool):
            if size != size or (self.minimum is not None and size < self.minimum):
                return f"{self.name} is too small; at least {self.minimum}"
            if self.maximum is not None and size > self.maximum:
                return f"{self.name} is too large; at most {self.maximum}"
        return self._fault_of_text(value) if isinstance(value, str) else ""

    def _fault_of_text(self, text: str) -> str:
        if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
            return f"{self.name} has half a surrogate pair, which is no character"
        if not text:
            return ""  # where it may be
        try:
            if self.format == TOPIC_NAME:
                check_topic_name(text)
            elif self.format == TOPIC_FILTER:
                check_topic_filter(text)
                if text.startswith("$share/"):
                    return f"{self.name} has to be a Topic Filter, and no shared one"
        except ProtocolError as error:
            kind = "Topic Name, without + and #" if self.format == TOPIC_NAME else "Topic Filter"
            return f"{self.name} has to be a {kind}: {error.detail}"
        return ""

    def read(self, text: str) -> object:
        """The value that a parameter of the query says. Raises ValueError."""
        if self.kind == "boolean":
            return {"true": True, "false": False}[text]
        if self.kind == "integer":
            if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 18:
                raise ValueError(text)
            return int(text)
        return float(text) if self.kind == "number" else text


class Asked:
    """One request, checked: `query`, `body` and `path` have what the table says, `who` may ask."""

    __slots__ = ("body", "path", "query", "request", "who")

    def __init__(self, request: Request, who: Who, query: dict[str, Any], body: dict[str, Any], path: str) -> None:
        self.request = request
        self.who = who
        self.query = query
        self.body = body
        self.path = path


class Operation:
    """One line of the table. `path` may end with `{name}`, which takes all that is left of it; `answer` names a schema,
    "" for an answer without a body, and has the `status`; `failures` are statuses beside those that any operation may
    have. Of the members `one_of` of the body there has to be just one, which is for the handler to check."""

    __slots__ = (
        "answer",
        "body",
        "failures",
        "handler",
        "method",
        "one_of",
        "path",
        "query",
        "role",
        "status",
        "summary",
    )

    def __init__(
        self,
        method: str,
        path: str,
        role: str,
        summary: str,
        handler: Callable[[Asked], Awaitable[Response]],
        *,
        query: Sequence[Field] = (),
        body: Sequence[Field] = (),
        one_of: Sequence[str] = (),
        answer: str = "",
        status: int = 200,
        failures: Sequence[int] = (),
    ) -> None:
        self.method = method
        self.path = path
        self.role = role
        self.summary = summary
        self.handler = handler
        self.query = query
        self.body = body
        self.one_of = one_of
        self.answer = answer
        self.status = status
        self.failures = failures

    def read_query(self, given: QueryParams) -> dict[str, Any]:
        """The parameters, with defaults. Raises Denied with 400."""
        return read_query(self.query, given)

    def read_body(self, media: str, content: bytes) -> dict[str, Any]:
        """The members of a JSON body, with defaults. Raises Denied with 400 or 422."""
        if not self.body:
            return {}
        if media.partition(";")[0].strip().lower() != "application/json":  # a form of another page cannot send that
            raise _bad(400, "The body has to be JSON, with Content-Type: application/json.")
        try:
            given = json.loads(content, parse_float=_number)
        except (ValueError, RecursionError):
            raise _bad(400, "The body is not JSON.") from None
        if not isinstance(given, dict):
            raise _bad(422, "The body has to be a JSON object.")
        known = {field.name: field for field in self.body}
        for name, value in given.items():
            if name not in known:
                raise _bad(422, f"There is no member {_shown(name)} here; there is: {', '.join(known)}.")
            fault = known[name].fault(value) if value is not None or known[name].required else ""
            if fault:
                raise _bad(422, f"{fault}.")
        for field in self.body:
            if field.required and field.name not in given:
                raise _bad(422, f"{field.name} is missing.")
        return {name: field.default if given.get(name) is None else given[name] for name, field in known.items()}


def read_query(fields: Sequence[Field], given: QueryParams) -> dict[str, Any]:
    """The parameters of a query that may have these `fields`, with defaults. Raises Denied with 400."""
    known = {field.name: field for field in fields}
    found: dict[str, Any] = {field.name: field.default for field in fields}
    for name, text in given.multi_items():
        field = known.get(name)
        if field is None:
            expected = ", ".join(known) or "none at all"
            raise _bad(400, f"There is no parameter {_shown(name)} here; there is: {expected}.")
        try:
            value = field.read(text)
        except (ValueError, KeyError):
            raise _bad(400, f"{field.name}={_shown(text)} is not of the type {field.kind}.") from None
        fault = field.fault(value)
        if fault:
            raise _bad(400, f"{fault}.")
        found[name] = value
    for field in fields:
        if field.required and found[field.name] is None:
            raise _bad(400, f"The parameter {field.name} is missing.")
    return found


async def read_content(request: Request, most: int) -> bytes:
    """The body of a request. Raises Denied where it has more bytes."""
    found = bytearray()
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            found += piece
            if len(found) > most:
                raise Denied(413, "too_large", f"A body may have {most} bytes here.")
    return bytes(found)


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The OpenAPI document of the table."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        name = operation.path.partition("{")[2].rstrip("}")
        parameters: list[dict[str, Any]] = []
        if name:
            said = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            parameters.append({**said, "description": "Percent-encoded; a slash is %2F."})
        for field in operation.query:
            schema = field.schema()
            said = {"name": field.name, "in": "query", "required": field.required}
            parameters.append({**said, "description": schema.pop("description"), "schema": schema})
        entry: dict[str, Any] = {
            "summary": operation.summary,
            "operationId": re.sub(r"[^a-z]+", "_", f"{operation.method} {operation.path}".lower()).strip("_"),
            "x-role": operation.role or "anybody",
            "security": [{"token": []}, {"session": []}] if operation.role else [],
            "parameters": parameters,
            "responses": _responses(operation),
        }
        if operation.body:
            schema = {
                "type": "object",
                "properties": {field.name: field.member() for field in operation.body},
                "required": [field.name for field in operation.body if field.required],
                "additionalProperties": False,
            }
            if operation.one_of:
                said_once = {"not": {"type": "null"}}
                schema["oneOf"] = [{"required": [each], "properties": {each: said_once}} for each in operation.one_of]
            entry["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TrioMQ",
            "version": version,
            "description": "Roles: viewer, operator, admin; x-role names the least one. With the cookie, all but GET "
            "needs the header field X-CSRF-Token: `csrf` of GET /session.",
        },
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "triomq_session"},
            },
        },
    }


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if operation.answer:
        schema = {"$ref": f"#/components/schemas/{operation.answer}"}
        done = "Done." if operation.status == 200 else "Begun."
        found[str(operation.status)] = {"description": done, "content": {"application/json": {"schema": schema}}}
    else:
        found["204"] = {"description": "Done."}
    statuses = {400, *operation.failures}
    if operation.role:
        statuses |= {401, 403}
    if operation.method != "GET":
        statuses.add(403)
    if operation.body:
        statuses |= {413, 422}
    for status in sorted(statuses):
        schema = {"$ref": "#/components/schemas/Failure"}
        content = {"application/json": {"schema": schema}}
        found[str(status)] = {"description": _FAILURES[status], "content": content}
    return found


def by_path(operations: Iterable[Operation]) -> Mapping[str, dict[str, Operation]]:
    """Path -> method -> Operation."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        found.setdefault(operation.path, {})[operation.method] = operation
    return found


def _number(text: str) -> float:
    """JSON knows no integers: 1.0 is 1."""
    found = float(text)
    return int(found) if found.is_integer() else found


def _bad(status: int, message: str) -> Denied:
    return Denied(status, "bad_request" if status == 400 else "not_allowed", message)


def _shown(text: str) -> str:
    """A stranger's words in an answer: short, and in one line."""
    return ascii(text[:80])
