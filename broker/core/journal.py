"""What has changed in the state that must survive a restart, since a Store last took it: the core's side of durability.

Whatever survives is a `Row` of one table and is encoded when it is taken, not when it changes, so that a row that was
added and deleted in between (a message whose receiver was quick) costs no I/O at all. A Store takes everything that has
been recorded in one `Batch`, at the end of a round and never within one, so that what one packet has brought stands in
one transaction: a message, its places in queues and the Packet Identifier under which it came.

`position` is the number of the batch that will hold what is recorded now, `committed` that of the last one that is
safe: an acknowledgement remembers the position of what it promises and leaves when `committed` has reached it.
`changes` counts what was ever recorded: who compares it before and after knows whether something is to be waited for.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.core.message import ApplicationMessage
    from broker.core.retained import Author
    from broker.core.session import Session
    from broker.core.subscriptions import Delivery

SESSIONS: Final = 0
SUBSCRIPTIONS: Final = 1
MESSAGES: Final = 2
QUEUED: Final = 3
EXCHANGES: Final = 4
RETAINED: Final = 5
TABLES: Final = 6

RECORDED: Final = -1

GARBAGE_AT_ONCE: Final = 1000  # rows of ended Sessions deleted in one batch, lest others wait for their commit


class Row:
    """Something that a Store may keep. `row` is its number in its table, 0 where it is not kept, RECORDED until a
    batch has taken it. Numbers only grow, so that their order is the order of what happened."""

    __slots__ = ("row",)

    def __init__(self) -> None:
        self.row = 0


class Numbered(Row):
    """A Row that others name. It has a new row with each change, but its first one for its `number` for ever."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.row = 0
        self.number = 0


class Queued(Row):
    """One message on its way to one Session: waiting, or sent and not acknowledged.

    `identifier` is the Packet Identifier with which it was sent, as the Store keeps it; 0 while it waits. `maybe_sent`
    says that it may have been sent before a crash: DUP is 1 then, which says just that (section 3.3.1.1).
    """

    __slots__ = ("delivery", "identifier", "maybe_sent", "message")

    def __init__(self, message: ApplicationMessage, delivery: Delivery) -> None:
        self.row = 0
        self.message = message
        self.delivery = delivery
        self.identifier = 0
        self.maybe_sent = False


class Exchange(Row):
    """A Packet Identifier in the second half of a QoS 2 exchange: `incoming`, PUBLISH received and PUBREL not; else
    PUBREL sent and PUBCOMP not received."""

    __slots__ = ("identifier", "incoming", "session")

    def __init__(self, session: Session, identifier: int, incoming: bool) -> None:
        self.row = 0
        self.session = session
        self.identifier = identifier
        self.incoming = incoming


class RetainedRow(Row):
    """The retained message of one topic, and who has published it, where that is known."""

    __slots__ = ("author", "message")

    def __init__(self, message: ApplicationMessage, author: Author | None = None) -> None:
        self.row = 0
        self.message = message
        self.author = author


class Batch:
    """What a Store writes in one transaction: rows to add and numbers of rows to delete, by table.

    The rows have their numbers already: those that the table gives them when they are inserted in this order.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self.added: list[list[Row]] = []
        self.deleted: list[list[int]] = []
        self.last_queued = 0
        self.last_message = 0
        self.since = 0.0

    def empty(self) -> bool:
        return not any(self.added) and not any(self.deleted)


class Journal:
    """See the module."""

    def __init__(self) -> None:
        self.position = 1
        self.committed = 0
        self.changes = 0
        self.taken = 0  # `changes` at the last take
        self.bytes = 0  # of messages that are recorded and not yet safe
        self.taken_bytes = 0
        self.since = 0.0  # when the batch that is recorded now was given its first message to hold back; 0 for none
        self.committed_since = 0.0  # the same of the last one that is safe and had one
        self.full = False  # there is no room on the disk: QoS 1 and 2 are refused
        self.last = [0] * TABLES  # the newest number given, by table
        self.added: list[dict[Row, None]] = [{} for _ in range(TABLES)]
        self.deleted: list[list[int]] = [[] for _ in range(TABLES)]
        self.garbage: deque[tuple[int, int]] = deque()  # of ended Sessions: numbers of Queued, and of a message or 0
        # Messages that are in no hand alone: how many queues hold them, by number. See `hold`.
        self.shared: dict[int, int] = {}
        # Who is to be asked when more is committed, and QoS 2 messages that leave at QoS 0 then.
        self.waiting: dict[Session, None] = {}
        self.long_queues: dict[Session, None] = {}
        self.held: deque[tuple[int, Session, ApplicationMessage, Delivery]] = deque()
        self.deferred: dict[RetainedRow, None] = {}  # of QoS 0, not kept while the disk is full
        self.safe_queued = 0  # up to these numbers rows can be read back
        self.safe_message = 0

    # -- Recording

    def add(self, table: int, row: Row) -> None:
        """Keep `row` from now on; not twice."""
        row.row = RECORDED
        self.added[table][row] = None
        self.changes += 1

    def change(self, table: int, row: Row) -> None:
        """Keep `row` as it is now, with a new number; it may be one that was not kept before."""
        self.delete(table, row)
        self.add(table, row)

    def delete(self, table: int, row: Row) -> None:
        """Keep `row` no longer; its not being kept is no error."""
        number = row.row
        if number == 0:
            return
        row.row = 0
        self.changes += 1
        if number == RECORDED:
            del self.added[table][row]
        else:
            self.deleted[table].append(number)

    def keep(self, queued: Queued) -> None:
        """Keep an entry of a queue, and its message with the first of them."""
        message = queued.message
        if message.holders < 0 and message.row in self.shared:
            self.shared[message.row] += 1
        else:
            if message.holders <= 0:
                message.holders = 0
                self.add(MESSAGES, message)
                self.bytes += message.size
            message.holders += 1
        self.add(QUEUED, queued)

    def release(self, queued: Queued) -> None:
        """The entry is done with; so is the message with the last of them."""
        if queued.row == 0:
            return
        self.delete(QUEUED, queued)
        message = queued.message
        if self._let_go(message):
            if message.row == RECORDED:
                self.bytes -= message.size
            self.delete(MESSAGES, message)

    def discard(self, queued: Queued) -> None:
        """As `release`, for a whole Session that has ended: some at a time, with later batches."""
        if queued.row == RECORDED:
            self.release(queued)
        elif queued.row:
            message = queued.message
            number = 0
            if self._let_go(message):
                if message.row == RECORDED:
                    self.bytes -= message.size
                    self.delete(MESSAGES, message)
                else:
                    number = message.row
                    message.row = 0
            self.garbage.append((queued.row, number))
            queued.row = 0
            self.changes += 1

    def discard_paged(self, queued: int, message: int) -> None:
        """As `discard`, for an entry that is known by its numbers only, and of a message that no other hand holds."""
        holders = self.shared.get(message)
        number = message
        if holders is not None:
            number = 0
            if holders > 1:
                self.shared[message] = holders - 1
            else:
                del self.shared[message]
                number = message
        self.garbage.append((queued, number))
        self.changes += 1

    def share(self, message: ApplicationMessage) -> None:
        """An entry of this message is about to be known by its numbers only: where there are others, count there.

        Where there are none, the row is that entry's alone: a retained message that is sent again has a new one.
        """
        if message.holders > 1:
            self.shared[message.row] = message.holders
            message.holders = -1
        elif message.holders == 1:
            message.holders = 0

    def _let_go(self, message: ApplicationMessage) -> bool:
        """One holder less; whether it was the last."""
        if message.holders < 0:
            left = self.shared[message.row] - 1
            if left:
                self.shared[message.row] = left
                return False
            del self.shared[message.row]
            message.holders = 0
            return True
        message.holders -= 1
        return message.holders == 0

    def retain(self, retained: RetainedRow) -> None:
        """Keep the message that is now the retained one of its topic. One of QoS 0 waits while the disk is full."""
        if self.full and retained.message.qos == 0:
            self.delete(RETAINED, retained)
            self.deferred[retained] = None
        else:
            self.change(RETAINED, retained)

    def unretain(self, retained: RetainedRow) -> None:
        """The topic has no retained message any more."""
        self.delete(RETAINED, retained)
        if self.deferred:
            self.deferred.pop(retained, None)

    def forget(self, table: int, number: int) -> None:
        """Delete a row of which nothing but its number is known."""
        self.deleted[table].append(number)
        self.changes += 1

    def latest(self) -> int:
        """The position that makes everything safe which was ever recorded."""
        return self.position if self.changes != self.taken else self.position - 1

    # -- The Store

    def room_again(self) -> None:
        """The disk is not full any more."""
        self.full = False
        for retained in self.deferred:
            self.change(RETAINED, retained)
        self.deferred.clear()

    def pending(self) -> bool:
        """Whether there is something to take, or somebody who waits for a batch, be it empty."""
        return self.changes != self.taken or bool(self.waiting) or bool(self.held) or bool(self.garbage)

    def take(self) -> Batch:
        """Everything recorded since the last time, with its numbers given; `written` must follow."""
        batch = Batch(self.position)
        self.position += 1
        batch.since = self.since
        self.since = 0.0
        self.taken = self.changes
        self.taken_bytes += self.bytes
        self.bytes = 0
        last = self.last
        for table in range(TABLES):
            rows = self.added[table]
            taken = list(rows)
            if taken:
                rows.clear()
                number = last[table]
                for row in taken:
                    number += 1
                    row.row = number
                    if isinstance(row, Numbered) and row.number == 0:
                        row.number = number
                last[table] = number
            batch.added.append(taken)
            batch.deleted.append(self.deleted[table])
            self.deleted[table] = []
        garbage = self.garbage
        for _ in range(min(len(garbage), GARBAGE_AT_ONCE)):
            queued, message = garbage.popleft()
            batch.deleted[QUEUED].append(queued)
            if message:
                batch.deleted[MESSAGES].append(message)
        batch.last_queued = last[QUEUED]
        batch.last_message = last[MESSAGES]
        return batch

    def written(self, batch: Batch) -> None:
        """`batch` is safe."""
        self.committed = batch.position
        if batch.since:
            self.committed_since = batch.since
        self.safe_queued = batch.last_queued
        self.safe_message = batch.last_message
        self.taken_bytes = 0
