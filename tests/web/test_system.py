"""The broker as it is handed to its HTTP side."""

from __future__ import annotations

from tests.web.systems import NOW, WS, Bench


def test_listeners_have_names_and_paths() -> None:
    system = Bench(names={WS: "web"}).system
    assert [system.listener_name(each) for each in system.listeners] == ["web", "mqtt://127.0.0.1:1883"]
    assert system.paths(WS)[0] == "/mqtt"
    assert system.paths("ws://elsewhere") == ()


def test_usage_is_the_brokers_own_if_it_knows() -> None:
    bench = Bench()
    assert bench.system.usage()[0] > 0
    assert bench.system.usage()[1] == 0
    bench.broker.process = lambda: (1.5, 4096)
    assert bench.system.usage() == (1.5, 4096)
    assert bench.system.started == NOW
