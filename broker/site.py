"""The HTTP side of a Server: what the configuration says of it, handed to `broker.web`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from broker.auth.methods import AccessError
from broker.config.effective import effective
from broker.packets import decode
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.web.service import Web
from broker.web.settings import Settings, read_tokens
from broker.web.system import System

if TYPE_CHECKING:
    from broker.access import Access
    from broker.config import Config
    from broker.server import Server

COMPILED: Final = not (decode.__file__ or "").endswith(".py")


def settings_of(config: Config, own_authenticator: bool) -> Settings:
    """What is answered over HTTP, and to whom. `own_authenticator`: the program says who is let in, and not the
    configuration. Raises AccessError where the file of tokens is not to be used."""
    web = config.web
    tokens = {}
    if web.tokens_file is not None:
        try:
            tokens = read_tokens(web.tokens_file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise AccessError(f"{web.tokens_file}: {error}") from None
    return Settings(
        health=web.health,
        metrics=web.metrics,
        metrics_anonymous=web.metrics_anonymous,
        api=web.api,
        dashboard=web.dashboard,
        publish=web.publish,
        events=web.events,
        bench=web.bench,
        users=web.roles,
        tokens=tokens,
        anonymous=web.anonymous,
        open_here=not (config.auth_methods or own_authenticator),
        session_idle=web.session_idle,
    )


def compare_command() -> tuple[str, ...] | None:
    """`broker bench compare` by the interpreter that runs us; None where that is none that could be started."""
    if getattr(sys, "frozen", False) or not os.access(sys.executable or "", os.X_OK):
        return None
    return (sys.executable, "-P", "-m", "broker", "bench", "compare")


def open_site(server: Server, settings: Settings, nursery: trio.Nursery, access: Access | None) -> Web:
    """The service of plain HTTP on the listeners of a Server; its tasks run in `nursery`. Who has logged in there is
    known to `access`."""
    reloading = server.reloading
    system = System(
        server.broker,
        server.listeners,
        server.settle,
        names=server.listener_names(),
        build="compiled" if COMPILED else "plain",
        store=server.store_state if server.store is not None else None,
        effective=lambda: effective(server.config),
        reload=reloading.over_http if reloading is not None else None,
        reloads=reloading.counts if reloading is not None else None,
        compare=compare_command(),
        folder=server.store.folder.path if server.store is not None else None,
        logged_out=partial(_log_out, server),
    )
    web = Web(system, settings, nursery)
    if access is not None:
        access.hear_of(web.accounts)
    return web


def _log_out(server: Server, user_name: str) -> None:
    """End what a user has connected by the cookie of a log-in; by that of another one it comes back."""
    from broker.auth.chain import PRINCIPAL  # what they need is not imported where nobody is asked
    from broker.auth.log_ins import NAME

    wanted = (NAME, f"{PRINCIPAL}{user_name}")
    now = trio.current_time()
    for session in list(server.broker.sessions.values()):
        holder = session.holder()
        if holder is not None and (holder.grant.method, holder.grant.principal) == wanted:
            holder.fail(ProtocolError(ReasonCode.NOT_AUTHORIZED, "the user has logged out"), now)
    server.settle(now)
