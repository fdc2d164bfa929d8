"""What a broker calls itself: the retained message of `$SYS/broker/version`, as Mosquitto began it and others do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from broker.bench.trust import trust_of
from broker.client import ClientError, connect

if TYPE_CHECKING:
    from broker.bench.comparison import Subject
    from broker.bench.workload import Workload
    from broker.client.client import Connecting

TOPIC: Final = "$SYS/broker/version"
_VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}
_PATIENCE: Final = 1.0  # seconds
_LONGEST: Final = 80  # characters


def asking(subject: Subject, workload: Workload) -> Connecting:
    """A Client that asks the broker of `subject` something, with the name and version of those that are measured."""
    own = subject.username is not None
    return connect(
        subject.url,
        version=_VERSIONS[workload.version],
        user_name=subject.username if own else workload.username,
        password=subject.password if own else workload.password,
        reconnect=False,
        tls=trust_of(subject.url, workload),
    )


async def software(subject: Subject, workload: Workload) -> str:
    """Name and version; empty where the broker does not say within a second, or cannot be asked.

    Why it cannot be asked is for the run itself to find out.
    """
    with trio.move_on_after(_PATIENCE):
        try:
            async with asking(subject, workload) as client, client.subscribe(TOPIC) as messages:
                message = await messages.receive()
                return "".join(filter(str.isprintable, message.payload.decode(errors="replace")))[:_LONGEST].strip()
        except (ClientError, OSError, ValueError):
            return ""
    return ""
