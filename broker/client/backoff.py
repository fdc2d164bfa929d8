"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Backoff:
    """Exponential backoff with jitter: each delay is drawn evenly from the upper half of a bound that doubles.

    `first` is the first bound and `maximum` the last, in seconds; `factor` is what the bound grows by. Jitter keeps
    ten thousand devices from coming back in the same millisecond after their broker restarted. `random_number` gives
    numbers in [0, 1).
    """

    def __init__(
        self,
        first: float = 1.0,
        maximum: float = 60.0,
        factor: float = 2.0,
        random_number: Callable[[], float] = random.random,
    ) -> None:
        if not 0 < first <= maximum or factor < 1:
            raise ValueError("a Backoff wants 0 < first <= maximum and factor >= 1")
        self.first = first
        self.maximum = maximum
        self.factor = factor
        self.random_number = random_number

    def delays(self) -> Iterator[float]:
        """The delays of one series of failed attempts, in seconds, without end."""
        bound = self.first
        while True:
            yield bound * (0.5 + self.random_number() / 2)
            bound = min(bound * self.factor, self.maximum)
