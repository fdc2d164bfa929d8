"""Which sockets are ready: epoll on Linux, kqueue on macOS and the BSDs, behind one small class.

The `selectors` module would make a key object for each event; this gives (file descriptor, mask) pairs. In a mask,
WRITE says that there is room for more; any other bit says READ. The poller's own descriptor becomes readable when a
socket is ready, so that one Trio task can wait for all of them.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

READ: Final = 1  # EPOLLIN
WRITE: Final = 4  # EPOLLOUT

if sys.platform == "linux":

    class Poller:
        """Level-triggered. A hung-up or broken socket is reported as readable: reading it says what is wrong.

        `poll(seconds, most)` gives (fd, mask) of at most so many that are ready, and waits at most so long. It is
        epoll's own.
        """

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.poll: Callable[[float, int], list[tuple[int, int]]] = self._epoll.poll

        def fileno(self) -> int:
            return self._epoll.fileno()

        def add(self, fd: int, interest: int) -> None:
            self._epoll.register(fd, interest)

        def change(self, fd: int, before: int, interest: int) -> None:
            """`before` is the interest so far."""
            self._epoll.modify(fd, interest)

        def remove(self, fd: int, interest: int) -> None:
            self._epoll.unregister(fd)

        def close(self) -> None:
            self._epoll.close()

else:

    class Poller:
        """The same on kqueue, which keeps one filter for each direction."""

        def __init__(self) -> None:
            self._kqueue = select.kqueue()

        def fileno(self) -> int:
            return self._kqueue.fileno()

        def add(self, fd: int, interest: int) -> None:
            self.change(fd, 0, interest)

        def change(self, fd: int, before: int, interest: int) -> None:
            """`before` is the interest so far."""
            changes = []
            for bit, kind in ((READ, select.KQ_FILTER_READ), (WRITE, select.KQ_FILTER_WRITE)):
                if (before ^ interest) & bit:
                    changes.append(select.kevent(fd, kind, select.KQ_EV_ADD if interest & bit else select.KQ_EV_DELETE))
            if changes:
                self._kqueue.control(changes, 0)

        def remove(self, fd: int, interest: int) -> None:
            self.change(fd, interest, 0)

        def poll(self, seconds: float, most: int) -> list[tuple[int, int]]:
            """(fd, READ | WRITE) of at most so many that are ready; waits at most `seconds`."""
            return [
                (event.ident, WRITE if event.filter == select.KQ_FILTER_WRITE else READ)
                for event in self._kqueue.control(None, most, seconds)
            ]

        def close(self) -> None:
            self._kqueue.close()
