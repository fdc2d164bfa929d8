"""What the machine must grant for many Clients: file descriptors, and ports to connect from."""

from __future__ import annotations

import resource
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from broker.bench.errors import BenchError

SPARE_DESCRIPTORS: Final = 64
PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL_PORTS: Final = 16_384  # where the range is not to be read: 49,152 to 65,535
SHARE_OF_PORTS: Final = 0.8  # of the range: others need some, and closed connections hold theirs for a minute


def check_descriptors(clients: int) -> None:
    """See that a process may have so many sockets, raising the soft limit; BenchError where it may not."""
    needed = clients + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    wanted_hard = hard if hard == resource.RLIM_INFINITY else max(hard, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, wanted_hard))
    except (ValueError, OSError):
        raise BenchError(
            f"{clients} connections in one process need {needed} open files, and the limit is {hard} "
            f"(ulimit -Hn): raise it, use more workers, or fewer clients"
        ) from None


def ports() -> int:
    """How many ports of one address connections may begin at."""
    try:
        first, last = PORT_RANGE.read_text().split()
    except OSError:
        return USUAL_PORTS
    return int(last) - int(first) + 1


def sources_for(clients: int, family: int, address: Any) -> list[str]:
    """Addresses to connect `clients` from, none where the system may choose; BenchError where it has too few ports.

    On Linux all of 127.0.0.0/8 is this machine, so that there is no lack of addresses towards it.
    """
    usable = int(ports() * SHARE_OF_PORTS)
    if family == socket.AF_UNIX or clients <= usable:
        return []
    if family == socket.AF_INET and ip_address(address[0]).is_loopback and PORT_RANGE.exists():
        return [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(-(-clients // usable))]
    raise BenchError(
        f"{clients} connections to one address need more than the {ports()} ports that this machine has for it "
        f"({PORT_RANGE}): widen the range, use fewer clients, or several machines"
    )
