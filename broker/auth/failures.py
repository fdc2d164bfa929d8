"""How often somebody may fail to say who he is before nobody is asked any more.

Failures are counted for the address (for IPv6 its /64) and for the user name of the CONNECT, each in a bucket that lets
ten a minute through unless told otherwise. Whoever is over a limit is refused without a look at what he brings, and
such a refusal is no failure: a flood cannot keep a bucket full, it leaves as fast as it filled.

No user is locked out by what others do. A user who has proved himself from an address within a day has, from that
address, a bucket of his own and is judged by that alone: neither guesses at his password from elsewhere nor a
neighbour behind the same router count against him. A success never empties a bucket.

All tables are bounded: the entry that was touched least recently goes when a new one needs its place. Time comes in
as monotonic seconds.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from broker.websocket.forwarded import network_of

MINUTE: Final = 60.0
_LONGEST: Final = 64  # characters of a user name that stand in a table as they are


class Buckets:
    """Who has failed too often: `limit` times a minute for each key, and at once as many. 0 = without end.

    A key needs one number, the time at which its bucket will be empty (the generic cell rate algorithm).
    """

    def __init__(self, limit: int, entries: int) -> None:
        self.limit = limit
        self.entries = entries
        self._interval = MINUTE / limit if limit else 0.0
        self._empty_at: OrderedDict[object, float] = OrderedDict()  # a dict finds its oldest key more and more slowly

    def __len__(self) -> int:
        return len(self._empty_at)

    def full(self, key: object, now: float) -> bool:
        empty_at = self._empty_at.get(key)
        return empty_at is not None and empty_at - now > (self.limit - 1) * self._interval + 1e-6

    def add(self, key: object, now: float) -> None:
        if not self.limit:
            return
        empty_at = max(self._empty_at.pop(key, now), now)
        if len(self._empty_at) >= self.entries:
            self._empty_at.popitem(last=False)
        self._empty_at[key] = empty_at + self._interval


class Failures:
    """See the module. A limit of 0 is none. `entries` bounds each of its four tables."""

    def __init__(
        self, per_address: int = 10, per_user: int = 10, remember: float = 86400.0, entries: int = 65536
    ) -> None:
        self.counted = 0  # failures
        self.limited_by_address = 0  # what `limited` has answered with yes, by the bucket that was full
        self.limited_by_user = 0
        self.remember = remember  # seconds after which a success is forgotten
        self.entries = entries
        self._addresses = Buckets(per_address, entries)
        self._users = Buckets(per_user, entries)
        self._pairs = Buckets(per_user, entries)
        # (address, user name) that has succeeded -> until when it counts
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def limited(self, address: str, user_name: str, now: float) -> bool:
        """Whether `address` (as `Peer.address`) has failed too often, or `user_name` has; "" for none."""
        network, user = network_of(address), _short(user_name)
        if self._is_known(network, user, now):
            over = self._pairs.full((network, user), now)
            self.limited_by_user += over
            return over
        if network and self._addresses.full(network, now):
            self.limited_by_address += 1
            return True
        over = bool(user) and self._users.full(user, now)
        self.limited_by_user += over
        return over

    def failed(self, address: str, user_name: str, now: float) -> None:
        """Somebody at `address` is not who he says."""
        self.counted += 1
        network, user = network_of(address), _short(user_name)
        if self._is_known(network, user, now):
            self._pairs.add((network, user), now)
            return
        if network:
            self._addresses.add(network, now)
        if user:
            self._users.add(user, now)

    def succeeded(self, address: str, user_name: str, now: float) -> None:
        """`user_name` has proved at `address` that it is him."""
        user = _short(user_name)
        if not user:
            return
        pair = (network_of(address), user)
        self._known.pop(pair, None)
        if len(self._known) >= self.entries:
            self._known.popitem(last=False)
        self._known[pair] = now + self.remember

    def __len__(self) -> int:
        """Entries in all tables."""
        return len(self._addresses) + len(self._users) + len(self._pairs) + len(self._known)

    def _is_known(self, network: str, user: str, now: float) -> bool:
        return bool(user) and self._known.get((network, user), now) > now


def _short(user_name: str) -> str:
    """A name that is safe to keep 65,536 times. No short one is taken for a long one: no name has a U+0000."""
    if len(user_name) <= _LONGEST:
        return user_name
    return "\0" + hashlib.blake2b(user_name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
