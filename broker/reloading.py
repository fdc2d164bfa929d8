"""Reading the configuration anew while the broker serves, the same way whoever asks: SIGHUP, or somebody over HTTP.

One is done after the other. The log and the Overseer are told of each, what came of it is counted, and whatever goes
wrong leaves everything as it was.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from broker.auth.methods import AccessError
from broker.config import ConfigError
from broker.transport.complaints import log
from broker.transport.tls import TlsError
from broker.web.system import ReloadRefused, Reloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.config import Config
    from broker.config.changes import Change
    from broker.server import Overseer, Server


class Reloading:
    """See the module. `reread` gives the configuration as it stands now, or raises ConfigError."""

    def __init__(self, server: Server, reread: Callable[[], Config], overseer: Overseer | None = None) -> None:
        self.counts = Reloads()
        self._server = server
        self._reread = reread
        self._overseer = overseer
        self._turn = trio.Lock()

    async def at_sighup(self) -> None:
        """Nobody waits for what comes of it: the log has it."""
        with suppress(ReloadRefused):
            await self._reload("SIGHUP")

    async def over_http(self) -> list[str]:
        """What has changed. Raises ReloadRefused."""
        return [str(change) for change in await self._reload("HTTP")]

    async def _reload(self, asker: str) -> list[Change]:
        async with self._turn:
            if self._overseer is not None:
                self._overseer.reloading()
            found: list[Change] = []
            mistakes = "it was broken off"
            try:
                found = await self._server.reload(await trio.to_thread.run_sync(self._reread))
            except (ConfigError, AccessError, TlsError) as error:
                mistakes = str(error) or type(error).__name__
                log.error("%s: the configuration is as it was, for the new one has mistakes:\n%s", asker, error)
            except Exception as error:
                mistakes = f"a bug, met while reloading ({type(error).__name__}); the log says more"
                log.error("a bug, met while reloading", exc_info=error)
            else:
                mistakes = ""
                self._tell(asker, found)
            finally:
                self.counts.add(succeeded=not mistakes)
                if self._overseer is not None:
                    self._overseer.reloaded(found, mistakes)
            if mistakes:
                raise ReloadRefused(mistakes.splitlines())
            return found

    def _tell(self, asker: str, found: list[Change]) -> None:
        if any(change.path == "log.level" for change in found):
            logging.getLogger("broker").setLevel(self._server.config.log.level.upper())
        for change in found:
            log.log(logging.WARNING if change.restart else logging.INFO, "%s: %s", asker, change)
        log.info("%s: the configuration is read again, certificates and users with it (%d changes)", asker, len(found))
