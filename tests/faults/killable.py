"""Brokers that are killed and started again over the same data folder: ours, and Mosquitto as another opinion.

What a broker writes lies in a folder of its own; the ledger does not. A process is ended by the one that started it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from tests.faults.brokers import BrokerProcess
from tests.interop.brokers import free_port, wait_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

STOP_SECONDS = 20.0
LIMITS: Final = {  # so that nothing is refused for want of room
    "receive_maximum": 200,
    "queue_messages": 1_000_000,
    "queue_bytes": 1 << 30,
}

WRONG_CLOCK: Final = """
import sys, time
right, file = time.time, sys.argv.pop(1)
def wrong():
    with open(file) as stream:
        return right() + float(stream.read())
time.time = wrong
from broker.cli import main
main()
"""


class Killable:
    """A broker's process, while there is one, and where it listens: `tcp` and `ws`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.addresses: dict[str, tuple[str, int]] = {}
        self.starts = 0

    def start(self, failpoint: str = "") -> None:
        """Start it, with this fail-point, and wait until it listens."""
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; what it has sent before is still to be read."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def died(self, within: float) -> int:
        """Wait until it has ended by itself; the exit status."""
        assert self.process is not None
        return self.process.wait(within)

    def stop(self) -> None:
        """SIGTERM: it must end in order."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        assert status == 0, f"status {status}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive:
            self.kill()


class TrioMQ(Killable):
    """`broker serve` on a data folder, at a level of durability; "" runs it without a store."""

    def __init__(self, folder: Path, durability: str, **limits: object) -> None:
        super().__init__(folder)
        self.durability = durability
        self.data = folder / "data"
        self.log = folder / "log"
        self.configuration = folder / "broker.toml"
        lines = ["[limits]", *(f"{name} = {json.dumps(value)}" for name, value in (LIMITS | limits).items())]
        if durability:
            lines += ["[store]", f'path = "{self.data}"', f'durability = "{durability}"']
        for type_ in ("tcp", "ws"):
            lines += ["[[listeners]]", f'type = "{type_}"', "port = 0"]
        self.configuration.write_text("\n".join(lines) + "\n")
        self.faults: list[str] = []
        self.wall: Path | None = None  # a file that says by how many seconds its wall clock is wrong

    def start(self, failpoint: str = "") -> None:
        self.starts += 1
        self._read_log()
        environment = {name: value for name, value in os.environ.items() if name != "BROKER_FAILPOINT"}
        if failpoint:
            environment["BROKER_FAILPOINT"] = failpoint
        program = ["-m", "broker"] if self.wall is None else ["-c", WRONG_CLOCK, str(self.wall)]
        command = [sys.executable, *program, "serve", "-c", str(self.configuration), "--log-format", "json"]
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream
            )
        broker = BrokerProcess(self.process, self.log)
        broker.wait_for_listeners(["tcp", "ws"])
        self.addresses = broker.addresses

    def _read_log(self) -> None:
        if self.log.exists():
            text = self.log.read_text()
            if "Traceback" in text or "a bug" in text:
                self.faults.append(text[-4000:])

    def stop(self) -> None:
        super().stop()
        self._read_log()
        assert not self.faults, self.faults[0]


class Mosquitto(Killable):
    """Mosquitto, which writes its memory into one file from time to time."""

    def __init__(self, folder: Path, program: str, *settings: str) -> None:
        super().__init__(folder)
        self.program = program
        data = folder / "data"
        data.mkdir()
        tcp, ws = free_port(), free_port()
        self.addresses = {"tcp": ("127.0.0.1", tcp), "ws": ("127.0.0.1", ws)}
        self.configuration = folder / "mosquitto.conf"
        lines = [f"listener {tcp} 127.0.0.1", f"listener {ws} 127.0.0.1", "protocol websockets"]
        lines += ["allow_anonymous true", "user root", "log_dest stderr", "max_queued_messages 0", *settings]
        lines += ["persistence true", f"persistence_location {data}/"]
        self.configuration.write_text("\n".join(lines) + "\n")

    def start(self, failpoint: str = "") -> None:
        self.starts += 1
        log = self.folder / "log"
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            with log.open("wb") as stream:
                self.process = subprocess.Popen(
                    [self.program, "-c", str(self.configuration)], stdout=stream, stderr=stream
                )
            try:
                wait_for(log, self.process, ["running"])
            except RuntimeError:
                if "Address already in use" not in log.read_text() or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return
