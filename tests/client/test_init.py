"""What `broker.client` offers."""

from __future__ import annotations

import broker.client


def test_all_is_there() -> None:
    assert sorted(broker.client.__all__) == broker.client.__all__
    for name in broker.client.__all__:
        assert hasattr(broker.client, name)
