"""Microseconds to hand so many packets to the kernel: joined and sent, or gathered by `sendmsg`.

`python -m tests.perf.bench_flush`. It is why an outbox is joined (docs/decisions/0012-the-cost-of-a-message.md).
"""

from __future__ import annotations

import socket
import time

ROUNDS = 600


def best(ours: socket.socket, theirs: socket.socket, parts: list[bytes], gather: bool) -> float:
    fastest = 1 << 62
    for _ in range(ROUNDS):
        begun = time.perf_counter_ns()
        left = ours.sendmsg(parts) if gather else ours.send(b"".join(parts))
        fastest = min(fastest, time.perf_counter_ns() - begun)
        while left > 0:
            left -= len(theirs.recv(1 << 20))
    return fastest / 1000


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    print(f"{'packets':>8} {'bytes each':>11} {'join, send':>11} {'sendmsg':>9}")
    with ours, theirs:
        for count in (1, 2, 9, 50, 200):
            for size in (70, 500, 4160):
                parts = [bytes(size)] * count
                if count * size <= 128 * 1024:
                    joined, gathered = best(ours, theirs, parts, False), best(ours, theirs, parts, True)
                    print(f"{count:>8} {size:>11} {joined:>11.2f} {gathered:>9.2f}")


if __name__ == "__main__":
    main()
