"""The API under /api/v1: its table of operations, and who asks. What they do is in `looking` and `steering`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.transport.complaints import log
from broker.web.accounts import cookie
from broker.web.benches import CONNECTIONS, LONGEST, MOST_ROUNDS, ROUNDS, SHORTEST, WORKLOADS, Benches
from broker.web.benching import Benching
from broker.web.bridge import BODY_BYTES
from broker.web.exchange import CALLER
from broker.web.looking import SORTS, Looking
from broker.web.messages import PROPERTY_SCHEMAS
from broker.web.routes import (
    ANYBODY,
    BASE64,
    PREFIX,
    TOPIC_FILTER,
    TOPIC_NAME,
    Asked,
    Field,
    Operation,
    by_path,
    document,
    read_content,
)
from broker.web.settings import ADMIN, OPERATOR, VIEWER
from broker.web.steering import MOST_DELETED, Steering

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from broker.web.accounts import Accounts, Who
    from broker.web.bans import Bans
    from broker.web.exchange import Caller
    from broker.web.history import History
    from broker.web.system import System

YEAR: Final = 366 * 86400
LOG_IN_BYTES: Final = 16 * 1024  # of a body, which anybody may send

_PAGE: Final = (
    Field("offset", "integer", "How many to leave out.", default=0, minimum=0, maximum=10**9),
    Field("limit", "integer", "How many to give.", default=100, minimum=1, maximum=1000),
)
_SORT_CHOICES: Final = tuple(sign + name for name in SORTS for sign in ("", "-"))
_SECONDS: Final = Field("seconds", "number", "For how long.", required=True, minimum=1, maximum=YEAR)


class Api:
    """See the module. `bans`, `history` and `benches` belong to whoever runs them."""

    def __init__(
        self, system: System, accounts: Accounts, bans: Bans, history: History, benches: Benches | None = None
    ) -> None:
        self.system = system
        self.broker = system.broker
        self.accounts = accounts
        self._looking = Looking(system, bans, history)
        self._steering = Steering(system, bans)
        self._benching = Benching(benches or Benches(system, None))
        self.operations = self._operations()
        self._document = document(self.operations, system.broker.version)

    def routes(self) -> list[Route]:
        """For Starlette: one for each path, in the order of the table."""
        found: list[Route] = []
        for path, methods in by_path(self.operations).items():
            pattern = f"{PREFIX}{path.replace('}', ':path}')}"
            found.append(Route(pattern, self._endpoint(methods), methods=list(methods)))
        return found

    def _endpoint(self, methods: dict[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            operation = methods["GET" if request.method == "HEAD" else request.method]
            caller: Caller = request.scope[CALLER]
            if (operation.method, operation.path) == ("POST", "/session"):
                who = self.accounts.newcomer(caller, request.method, request.headers)
            else:
                who = self.accounts.who(caller, request.method, request.headers)
            if operation.role:
                who.need(operation.role)
            query = operation.read_query(request.query_params)
            media = request.headers.get("content-type", "")
            most = BODY_BYTES if operation.role else LOG_IN_BYTES
            body = operation.read_body(media, await read_content(request, most)) if operation.body else {}
            path = next(iter(request.path_params.values()), "")
            return await operation.handler(Asked(request, who, query, body, path))

        return endpoint

    def _operations(self) -> tuple[Operation, ...]:
        looking, steering, benching = self._looking, self._steering, self._benching
        text = "Part of a Client Identifier, a user name or an address."
        list_clients = (
            *_PAGE,
            Field("filter", "string", text, maximum=1024),
            Field("connected", "boolean", "Only those that are connected, or are not."),
            Field("transport", "string", "Only those over tcp, tls, ws, wss, unix.", maximum=20),
            Field("sort", "string", "By what; with - the largest first.", choices=_SORT_CHOICES),
        )
        list_subscriptions = (
            *_PAGE,
            Field("client", "string", "Only those of this Client Identifier.", maximum=65535),
            Field("filter", "string", "Part of a Topic Filter.", maximum=65535),
            Field(
                "topic", "string", "Only those that match this Topic Name.", minimum=1, maximum=65535, format=TOPIC_NAME
            ),
        )
        a_filter = Field(
            "filter", "string", "A Topic Filter.", default="#", minimum=1, maximum=65535, format=TOPIC_FILTER
        )
        delete_retained = (
            Field("filter", "string", "A Topic Filter.", required=True, minimum=1, maximum=65535, format=TOPIC_FILTER),
            Field("expected", "integer", "How many they are.", minimum=0, maximum=MOST_DELETED),
        )
        log_in = (
            Field("user", "string", "A user of [auth].", required=True, maximum=1024),
            Field("password", "string", "The password.", required=True, maximum=1024),
        )
        ban = (
            Field("client_identifier", "string", "Whom.", required=True, minimum=1, maximum=65535),
            _SECONDS,
            Field("reason", "string", "Why, for those who read the list.", default="", maximum=200),
        )
        watch = (Field("client_identifier", "string", "Whose.", required=True, minimum=1, maximum=65535),)
        topic_name = Field(
            "topic", "string", "The Topic Name.", required=True, minimum=1, maximum=65535, format=TOPIC_NAME
        )
        explain = (
            Field("client", "string", "The Client Identifier.", required=True, minimum=1, maximum=65535),
            topic_name,
        )
        ban_s = Field("ban_s", "number", "For how many seconds it may not come back.", minimum=1, maximum=YEAR)
        publish = (
            topic_name,
            Field("payload", "string", "The payload as text, or else:"),
            Field("payload_base64", "string", "the payload in base64.", format=BASE64),
            Field("qos", "integer", "Its QoS.", default=0, choices=(0, 1, 2)),
            Field("retain", "boolean", "Whether it is kept for those who subscribe later.", default=False),
            Field("properties", "object", "Properties of MQTT 5.0.", members=PROPERTY_SCHEMAS),
        )
        compare = (
            Field("workload", "string", "What is sent to whom.", required=True, choices=tuple(WORKLOADS)),
            Field("seconds", "number", "That each run measures.", default=5, minimum=SHORTEST, maximum=LONGEST),
            Field("rounds", "integer", "Runs over each transport.", default=ROUNDS, minimum=1, maximum=MOST_ROUNDS),
            Field(
                "connections",
                "integer",
                "Opened for what a connect costs and a connection weighs; 0 leaves that out.",
                default=CONNECTIONS,
                minimum=0,
                maximum=CONNECTIONS,
            ),
        )
        prefix = Field(
            "prefix",
            "string",
            "A Topic Name; one level below it is given.",
            default="",
            maximum=65535,
            format=TOPIC_NAME,
        )
        return (
            Operation("GET", "/session", ANYBODY, "Who you are, and what you may do.", self.session, answer="Session"),
            Operation(
                "POST",
                "/session",
                ANYBODY,
                "Log in.",
                self.log_in,
                body=log_in,
                answer="Session",
                failures=(401, 429, 503),
            ),
            Operation("DELETE", "/session", ANYBODY, "Log out.", self.log_out),
            Operation("GET", "/openapi.json", ANYBODY, "This document.", self.openapi, answer="Document"),
            Operation("GET", "/overview", VIEWER, "The broker in figures.", looking.overview, answer="Overview"),
            Operation("GET", "/history", VIEWER, "The last 15 minutes.", looking.give_history, answer="History"),
            Operation("GET", "/clients", VIEWER, "Clients.", looking.clients, query=list_clients, answer="Clients"),
            Operation(
                "GET", "/clients/{id}", VIEWER, "One Client.", looking.client, answer="OneClient", failures=(404,)
            ),
            Operation(
                "DELETE",
                "/clients/{id}",
                OPERATOR,
                "End the connection of a Client.",
                steering.kick,
                query=(ban_s,),
                failures=(404, 409),
            ),
            Operation(
                "POST",
                "/watches",
                OPERATOR,
                "Have the packets of a Client noted in its flight record, too.",
                steering.watch,
                body=watch,
                failures=(409,),
            ),
            Operation(
                "DELETE",
                "/watches/{id}",
                OPERATOR,
                "Note no more packets of a Client.",
                steering.unwatch,
                failures=(404,),
            ),
            Operation(
                "GET",
                "/explain",
                VIEWER,
                "Why a message to a topic does or does not reach a Client.",
                looking.explain,
                query=explain,
                answer="Account",
            ),
            Operation("GET", "/bans", OPERATOR, "Who is banned.", looking.list_bans, query=_PAGE, answer="Bans"),
            Operation(
                "POST", "/bans", OPERATOR, "Ban a Client.", steering.ban, body=ban, answer="Ban", failures=(409,)
            ),
            Operation("DELETE", "/bans/{id}", OPERATOR, "Take a ban back.", steering.unban, failures=(404,)),
            Operation(
                "GET",
                "/subscriptions",
                VIEWER,
                "Subscriptions.",
                looking.subscriptions,
                query=list_subscriptions,
                answer="Subscriptions",
            ),
            Operation(
                "GET",
                "/retained",
                VIEWER,
                "Retained messages.",
                looking.retained,
                query=(*_PAGE, a_filter),
                answer="RetainedMessages",
            ),
            Operation(
                "DELETE",
                "/retained",
                OPERATOR,
                "Delete retained messages; without `expected`, 409 says how many they are.",
                steering.delete_retained,
                query=delete_retained,
                answer="Deleted",
                failures=(409, 422),
            ),
            Operation(
                "GET",
                "/retained/{topic}",
                VIEWER,
                "One retained message.",
                looking.one_retained,
                answer="RetainedMessage",
                failures=(404,),
            ),
            Operation(
                "DELETE",
                "/retained/{topic}",
                OPERATOR,
                "Delete a retained message.",
                steering.delete_one_retained,
                failures=(404, 422),
            ),
            Operation(
                "GET",
                "/topics",
                VIEWER,
                "One level of topics.",
                looking.topics,
                query=(*_PAGE, prefix),
                answer="Topics",
            ),
            Operation(
                "POST",
                "/publish",
                OPERATOR,
                "Publish.",
                steering.publish,
                body=publish,
                one_of=("payload", "payload_base64"),
                answer="Published",
                failures=(503,),
            ),
            Operation(
                "GET", "/bench", VIEWER, "Comparisons of TCP and WebSocket.", benching.list_all, answer="Benches"
            ),
            Operation(
                "POST",
                "/bench",
                OPERATOR,
                "Compare TCP and WebSocket under load, with a broker of its own.",
                benching.start,
                body=compare,
                answer="Started",
                status=202,
                failures=(409, 503),
            ),
            Operation(
                "GET",
                "/bench/{id}",
                VIEWER,
                "One comparison with its report.",
                benching.one,
                answer="OneBench",
                failures=(404,),
            ),
            Operation(
                "DELETE",
                "/bench/{id}",
                OPERATOR,
                "Stop a comparison that runs; remove one that is over.",
                benching.remove,
                failures=(404,),
            ),
            Operation(
                "GET", "/config", OPERATOR, "The settings in force.", looking.config, answer="Settings", failures=(503,)
            ),
            Operation(
                "POST",
                "/reload",
                ADMIN,
                "Read the configuration anew.",
                steering.reload,
                answer="Reloaded",
                failures=(422, 503),
            ),
        )

    # -- Who asks

    async def session(self, asked: Asked) -> Response:
        return JSONResponse(self._session(asked.request, asked.who))

    async def log_in(self, asked: Asked) -> Response:
        caller: Caller = asked.request.scope[CALLER]
        secret, who = await self.accounts.log_in(caller, asked.body["user"], asked.body["password"])
        log.info("%a (%s) has logged in from %s", who.name, who.role, caller.address)
        self.accounts.log_out(asked.request.headers)
        return JSONResponse(self._session(asked.request, who), headers={"Set-Cookie": cookie(secret, caller.secure)})

    async def log_out(self, asked: Asked) -> Response:
        self.accounts.log_out(asked.request.headers)
        caller: Caller = asked.request.scope[CALLER]
        return Response(status_code=204, headers={"Set-Cookie": cookie("", caller.secure)})

    async def openapi(self, asked: Asked) -> Response:
        return JSONResponse(self._document)

    def _session(self, request: Request, who: Who) -> dict[str, Any]:
        caller: Caller = request.scope[CALLER]
        paths = self.system.paths(caller.listener)
        return {
            "user": who.log_in.user if who.log_in is not None else None,
            "role": who.role,
            "csrf": who.log_in.csrf if who.log_in is not None else None,
            "login": self.accounts.open,
            "version": self.broker.version,
            "features": {
                "api": True,
                "publish": self.accounts.settings.publish,
                "events": self.accounts.settings.events,
                "bench": self._benching.benches.possible,
                "mqtt_path": paths[0] if paths else None,
            },
        }
