"""Who looks after a `broker serve`: the service manager, the file with its process id, and `broker reload`."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from broker import __version__
from broker.cli.beacon import Beacon
from broker.cli.errors import ConfigurationMistake
from broker.cli.notify import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from broker.config.changes import Change
    from broker.server import Server


class Overseer:
    """As `broker.server.Overseer` has it. `file` is the configuration's; `close` it when the broker has ended."""

    def __init__(self, environ: Mapping[str, str], file: Path | None, pid_file: Path | None) -> None:
        self._manager = ServiceManager(environ)
        self.beat_every = self._manager.beat_every
        self._pid_file = PidFile(pid_file) if pid_file is not None else None
        self._beacon = Beacon()
        self._beacon.told.version = __version__
        self._beacon.told.config = str(file.absolute()) if file is not None else ""
        self._status = ""

    def started(self, server: Server) -> None:
        told = self._beacon.told
        path = server.config.store.path
        told.data = str(path.absolute()) if path is not None else ""
        told.listeners = [
            {"type": listener.type, "url": listener.url} for listener in server.listeners if not listener.proxy_protocol
        ]
        self._beacon.show()
        if self._pid_file is not None:
            self._pid_file.write()
        self._status = f"Listening on {', '.join(listener.url for listener in server.listeners) or 'nothing'}"
        self._manager.ready(self._status)

    def beat(self) -> None:
        self._manager.beat()

    def reloading(self) -> None:
        self._manager.reloading()
        self._beacon.told.begun += 1
        self._beacon.show()

    def reloaded(self, found: Sequence[Change], mistakes: str) -> None:
        told = self._beacon.told
        told.done = told.begun
        told.changes = [str(change) for change in found if not change.restart]
        told.restart = [str(change) for change in found if change.restart]
        told.mistakes = mistakes
        self._beacon.show()
        self._manager.ready(f"{self._status}; a reload was refused: {mistakes}"[:200] if mistakes else self._status)

    def stopping(self) -> None:
        self._manager.stopping()

    def close(self) -> None:
        self._beacon.close()
        if self._pid_file is not None:
            self._pid_file.remove()
        self._manager.close()


class PidFile:
    """A file with the process id of the broker, there while it serves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = f"{os.getpid()}\n"

    def write(self) -> None:
        """ConfigurationMistake where it cannot be."""
        try:
            self.path.write_text(self._text, "ascii")
        except OSError as error:
            raise ConfigurationMistake(f"--pid-file {self.path}: {error.strerror}.") from None

    def remove(self) -> None:
        """Not if another broker has written it since."""
        with suppress(OSError, ValueError):
            if self.path.read_text("ascii") == self._text:
                self.path.unlink()
