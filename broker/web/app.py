"""All that is answered over HTTP, put together from parts that can be switched off.

    /healthz, /readyz     whether the broker lives, and whether it can be used; anybody may ask
    /metrics              figures for Prometheus
    /api/v1/…             the API (`broker.web.api`)
    /publish/{topic}      publishes a message (`broker.web.publishing`)
    /events               messages as server-sent events (`broker.web.events`)
    /                     the dashboard, or the plain page where it was not built or is switched off

Errors of the API, /publish and /events have one shape, `{"error": {"code", "message"}}`; others are one line of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from broker.web.accounts import Accounts, Denied, may_scrape
from broker.web.api import Api
from broker.web.bans import Bans
from broker.web.events import PATH as EVENTS
from broker.web.events import Events
from broker.web.exchange import CALLER
from broker.web.history import History
from broker.web.metrics import Metrics
from broker.web.publishing import PATH, Publishing
from broker.web.settings import VIEWER
from broker.web.static import read_files
from broker.websocket.pages import HEALTH, HttpRequest, content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from broker.web.benches import Benches
    from broker.web.exchange import AsgiApp, Caller
    from broker.web.settings import Settings
    from broker.web.static import File
    from broker.web.system import System

READY: Final = "/readyz"
METRICS: Final = "/metrics"
API: Final = "/api/"
ABSENT: Final = (
    "The dashboard is not in this installation. Wheels of TrioMQ have it; in a source tree, `npm ci && npm run build` "
    "in broker/dashboard/ui makes it."
)


class Site:
    """The parts, and what they share. `files` are those of the dashboard; without any there is the plain page."""

    def __init__(self, system: System, settings: Settings, files: Mapping[str, File], accounts: Accounts) -> None:
        self.system = system
        self.settings = settings
        self.accounts = accounts
        self.files = files if settings.dashboard else {}
        self._note = ABSENT if settings.dashboard and not files else ""
        self._metrics = Metrics(system)

    def routes(self) -> list[Route]:
        settings = self.settings
        found: list[Route] = []
        if settings.health:
            found += [Route(HEALTH, _health, methods=["GET"]), Route(READY, self._ready, methods=["GET"])]
        if settings.metrics:
            found.append(Route(METRICS, self._scrape, methods=["GET"]))
        if settings.publish:
            path = f"{PATH}{{topic:path}}"
            found.append(Route(path, Publishing(self.system, self.accounts).answer, methods=["POST"]))
        if settings.events:
            found.append(Route(EVENTS, Events(self.system, self.accounts).answer, methods=["GET"]))
        found += [Route(path, self._file, methods=["GET"]) for path in self.files]
        return found

    async def _ready(self, request: Request) -> Response:
        state = self.system.store() if self.system.store is not None else None
        failed = state is not None and state.get("state") == "failed"
        said: dict[str, object] = {"status": "failed" if failed else "ready"}
        if state is not None:
            said["store"] = state.get("state")
        return JSONResponse(said, 503 if failed else 200)

    async def _scrape(self, request: Request) -> Response:
        if not self.settings.metrics_anonymous:
            who = self.accounts.who(caller_of(request), request.method, request.headers)
            if not may_scrape(self.settings, who):
                who.need(VIEWER)
        text, media = self._metrics.page(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": media})

    async def _file(self, request: Request) -> Response:
        found, headers = self.files[request.url.path].answer(request.headers.get("accept-encoding", ""))
        return Response(found, headers=headers)

    def plain(self, request: Request) -> Response:
        """What answers where none of the parts does: the plain page, the WebSocket endpoint's hint, or that there is
        nothing."""
        caller = caller_of(request)
        asked = HttpRequest(request.method, request.url.path, request.url.query, {"host": caller.host})
        if asked.path == HEALTH:  # switched off
            return PlainTextResponse("There is nothing here.\n", 404)
        paths = self.system.paths(caller.listener)
        status, text, media, headers = content(asked, paths, caller.secure, self._note)
        return Response(text, status, headers={"Content-Type": media, **dict(headers)})


def build(
    system: System,
    settings: Settings,
    bans: Bans | None = None,
    history: History | None = None,
    files: Mapping[str, File] | None = None,
    benches: Benches | None = None,
    accounts: Accounts | None = None,
) -> AsgiApp:
    """The ASGI application; without `benches` no comparison is run. `files` are those of the installation, unless
    given; without `bans` none are in force, and without a `history` that somebody runs it is empty. Without `accounts`
    it has its own."""
    found = read_files() if files is None and settings.dashboard else files or {}
    if accounts is None:
        accounts = Accounts(settings, lambda: system.broker.authenticator)
    site = Site(system, settings, found, accounts)
    routes = site.routes()
    if settings.api:
        bans, history = bans or Bans(system.broker), history or History(system)
        routes += Api(system, site.accounts, bans, history, benches).routes()

    async def missing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith((API, PATH, EVENTS)):
            code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
            return failure(error.status_code, code, _line(error), error.headers)
        if error.status_code == 404:
            return site.plain(request)
        return PlainTextResponse(f"{_line(error)}\n", error.status_code, error.headers)

    async def denied(request: Request, error: Exception) -> Response:
        assert isinstance(error, Denied)
        if request.url.path.startswith((API, PATH, EVENTS)):
            return failure(error.status, error.code, error.message, error.headers)
        return PlainTextResponse(f"{error.message}\n", error.status, error.headers)

    handlers: dict[Any, Any] = {HTTPException: missing, Denied: denied}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return cast("AsgiApp", app)


def failure(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error of the API."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def caller_of(request: Request) -> Caller:
    found: Caller = request.scope[CALLER]
    return found


async def _health(request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _line(error: HTTPException) -> str:
    return {404: "There is nothing here.", 405: "This method is not answered here."}.get(
        error.status_code, error.detail
    )
