"""The HTTP side as a whole, for whoever puts a broker together: made once, called with each HttpLine.

What it stands on takes a while to import. That happens on a thread when the first request comes: a broker that nobody
asks over HTTP never does it, and where it is done MQTT goes on meanwhile.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import trio

from broker.transport.complaints import log
from broker.web.bans import Bans
from broker.web.benches import Benches
from broker.web.bridge import Bridge
from broker.web.history import History
from broker.web.lag import LoopLag

if TYPE_CHECKING:
    from broker.transport.http import HttpLine
    from broker.web.accounts import Accounts
    from broker.web.bridge import HttpConnection
    from broker.web.exchange import AsgiApp, Receive, Scope, Send
    from broker.web.settings import Settings
    from broker.web.system import System


class Web:
    """See the module: an HttpService. Its tasks run in `nursery` until that is cancelled. `settings` may change, by
    `settings.adopt`."""

    def __init__(self, system: System, settings: Settings, nursery: trio.Nursery) -> None:
        self.system = system
        self.settings = settings
        self.bans = Bans(system.broker)
        self.history = History(system)
        self.benches = Benches(system, nursery if settings.bench else None)
        self._nursery = nursery
        self._accounts: Accounts | None = None
        self._making = Lock()  # of the accounts, which a thread and the broker may ask for
        self.bridge = system.bridge = Bridge(self._answer, nursery)
        self._app: AsgiApp | None = None
        self._loaded = trio.Event()
        self._loading = False
        self.lag = system.lag = LoopLag(system.broker.stats.loop_lag)
        nursery.start_soon(self.lag.run)
        if settings.api:
            nursery.start_soon(self.history.run)

    def __call__(self, line: HttpLine) -> HttpConnection:
        return self.bridge(line)

    @property
    def accounts(self) -> Accounts:
        """Who has logged in."""
        with self._making:
            if self._accounts is None:
                from broker.web.accounts import Accounts  # what it needs is not imported where nobody asks

                broker, ended = self.system.broker, self.system.logged_out
                self._accounts = Accounts(self.settings, lambda: broker.authenticator, ended=ended)
        return self._accounts

    def stop(self) -> None:
        """The broker ends: connections between two requests end now, the others when they are answered."""
        self.benches.close()
        self.bridge.stop()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._loading:
            self._loading = True
            self._nursery.start_soon(self._load)
        await self._loaded.wait()
        if self._app is None:
            raise RuntimeError("the HTTP side could not be loaded, as the log says")
        await self._app(scope, receive, send)

    async def _load(self) -> None:
        try:
            self._app = await trio.to_thread.run_sync(self._build, abandon_on_cancel=True)
        except Exception as error:  # MQTT goes on without it
            log.error("the HTTP side cannot be loaded", exc_info=error)
        self._loaded.set()

    def _build(self) -> AsgiApp:
        from broker.web.app import build  # Starlette and all that; on a thread

        return build(self.system, self.settings, self.bans, self.history, benches=self.benches, accounts=self.accounts)
