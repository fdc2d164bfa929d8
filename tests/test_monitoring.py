"""What Prometheus and Grafana are given here asks for nothing that the broker does not tell.

A broker with all that adds metrics runs once. Every expression in rules, dashboard and guide is parsed, and must ask
for metrics, labels and values of labels which that broker tells. The guide's table has all metrics.
"""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import promql_parser as promql
import pytest
import trio
from argon2 import PasswordHasher
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as parse
from ruamel.yaml import YAML

from broker.client import connect
from tests.interop import brokers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.client import Messages

pytestmark = pytest.mark.build("plain")  # it is about names

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "config" / "grafana"
GUIDE: Final = (ROOT / "docs" / "guides" / "monitoring.md").read_text("utf-8")
PROMETHEUS: Final = (ROOT / "config" / "prometheus" / "prometheus.yml").read_text("utf-8")
DASHBOARD: Final[dict[str, Any]] = json.loads((FOLDER / "dashboards" / "triomq.json").read_text("utf-8"))

PROMETHEUS_OWN: Final = {"up"}  # of each scrape
OF_THE_SCRAPE: Final = {"job", "instance"}
DURATIONS: Final = {"$__rate_interval": "1m", "$__range": "1h"}

CONFIGURATION: Final = """
[auth]
password_file = "{folder}/passwd"

[web]
metrics_anonymous = true

[server]
memory = "8GiB"

[store]
path = "{folder}/data"
"""


class Asked(NamedTuple):
    """An expression, and where it stands."""

    where: str
    expression: str


def yaml(path: str) -> Any:
    return YAML(typ="safe").load((ROOT / path).read_text("utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml("config/prometheus/alerts.yml")["groups"] for rule in group["rules"]]


def plain(expression: str) -> str:
    """PromQL without Grafana's own variables."""
    for name, duration in DURATIONS.items():
        expression = expression.replace(name, duration)
    return expression


def asked() -> list[Asked]:
    """Every expression here."""
    found = [Asked(rule["alert"], rule["expr"]) for rule in rules()]
    for panel in DASHBOARD["panels"]:
        found += [Asked(panel["title"], target["expr"]) for target in panel["targets"]]
    found += [Asked(each["name"], each["target"]["expr"]) for each in DASHBOARD["annotations"]["list"]]
    for block in re.findall(r"^```promql\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL):
        lines = (line.partition("#")[0].strip() for line in block.splitlines())
        found += [Asked("guide", line) for line in lines if line]
    return found


def walked(expression: str) -> list[promql.Expr]:
    """Every node of an expression."""
    nodes: list[promql.Expr] = []
    promql.walk(promql.parse(plain(expression)), lambda node: nodes.append(node))
    return nodes


def kept(node: promql.Expr) -> list[str]:
    """The labels by which an aggregation goes."""
    return list(node.modifier.labels) if isinstance(node, promql.AggregateExpr) and node.modifier is not None else []


def selectors(expression: str) -> dict[str, list[promql.Matcher]]:
    """Metric -> what is asked of its labels."""
    found: dict[str, list[promql.Matcher]] = {}
    for node in walked(expression):
        vector = node.vector_selector if isinstance(node, promql.MatrixSelector) else node
        if isinstance(vector, promql.VectorSelector):
            assert vector.name, expression
            found.setdefault(vector.name, []).extend(vector.matchers.matchers)
    return found


async def one_message(url: str) -> None:
    """What nothing was counted of has no labels."""
    with trio.fail_after(30):
        async with connect(url) as client:
            await client.publish("a", b"x", qos=1, retain=True)
            async for _ in client.subscribe("a", qos=1):
                break
            messages = client.subscribe("b", qos=1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first, messages)
                await trio.sleep(0.1)
                await client.publish("b", b"x", qos=1)


async def first(messages: Messages) -> None:
    async for _ in messages:
        return


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Metric]:
    """What a broker that has all of it tells; by the names that Prometheus stores."""
    folder = tmp_path_factory.mktemp("monitoring")
    (folder / "passwd").touch(0o600)
    (folder / "passwd").write_text(f"somebody:{PasswordHasher(1, 8, 1).hash('something')}\n", encoding="utf-8")
    (folder / "broker.toml").write_text(CONFIGURATION.format(folder=folder), encoding="utf-8")
    with brokers.served(folder, "--config", str(folder / "broker.toml")) as running:
        trio.run(one_message, f"mqtt://somebody:something@127.0.0.1:{running.tcp.port}")
        url = f"http://127.0.0.1:{running.ws.port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
    return {f"{each.name}_total" if each.type == "counter" else each.name: each for each in parse(text)}


def stored(families: dict[str, Metric]) -> dict[str, Metric]:
    """The same by the names that are asked for: of a histogram Prometheus stores three series, which only grow."""
    found = dict(families)
    for name, family in families.items():
        if family.type == "histogram":
            del found[name]
            for part in ("bucket", "count", "sum"):
                series = found[f"{name}_{part}"] = Metric(f"{name}_{part}", family.documentation, "counter")
                series.samples = [each for each in family.samples if each.name == f"{name}_{part}"]
    return found


def labels(family: Metric) -> dict[str, set[str]]:
    """The labels of a metric, and the values that they have."""
    found: dict[str, set[str]] = {}
    for sample in family.samples:
        for name, value in sample.labels.items():
            found.setdefault(name, set()).add(value)
    return found


def wrong(expression: str, families: dict[str, Metric]) -> Iterator[str]:
    """What an expression asks for and a broker does not have."""
    families = stored(families)
    known: set[str] = set(OF_THE_SCRAPE)
    for name, matchers in selectors(expression).items():
        if name in PROMETHEUS_OWN:
            continue
        if name not in families:
            yield f"no metric {name}"
            continue
        there = labels(families[name])
        known |= set(there)
        for matcher in matchers:
            if matcher.name in OF_THE_SCRAPE:
                continue
            if not any(re.fullmatch(matcher.value, value) for value in there.get(matcher.name, ())):
                yield f"no {name} with {matcher}"
    for node in walked(expression):
        yield from (f"no label {label}" for label in kept(node) if label not in known)


def test_what_is_asked_for_exists(families: dict[str, Metric]) -> None:
    found = asked()
    assert {"TrioMQDown", "Clients connected", "guide"} <= {each.where for each in found}
    assert [(each.where, text) for each in found for text in wrong(each.expression, families)] == []


@pytest.mark.parametrize(
    "expression",
    [
        "triomq_nothing",
        'triomq_loop_lag_seconds{quantile="0.1"}',
        'triomq_bans_total{user="a"}',
        "sum by (a) (triomq_sessions)",
        "rate(triomq_publish_written_seconds[5m])",
        'triomq_publish_written_seconds_bucket{transport="pigeon"}',
    ],
)
def test_what_does_not_exist_is_found(expression: str, families: dict[str, Metric]) -> None:
    assert len(list(wrong(expression, families))) == 1


def test_a_counter_is_asked_how_fast_it_grows(families: dict[str, Metric]) -> None:
    families = stored(families)
    for each in asked():
        bare = [node for node in walked(each.expression) if isinstance(node, promql.Call)]
        for node in bare:
            if node.func.name in ("rate", "increase"):
                for name in selectors(node.prettify()):
                    assert families[name].type == "counter", f"{each.where}: {name} may fall"
        if not any(node.func.name in ("rate", "increase") for node in bare):
            for name in set(selectors(each.expression)) - PROMETHEUS_OWN:
                assert families[name].type == "gauge", f"{each.where}: {name} only grows"


def test_the_guide_has_every_metric_and_no_other(families: dict[str, Metric]) -> None:
    rows = re.findall(r"^\| `((?:triomq|process)_\w+)` \| ([^|]*) \| (\w+) \|", GUIDE, re.MULTILINE)
    told = {name: (sorted(re.findall(r"`(\w+)`", text)), kind) for name, text, kind in rows}
    assert len(told) == len(rows), "one is there twice"
    assert told == {name: (sorted(labels(each)), each.type) for name, each in families.items()}


# -- Prometheus


def test_prometheus_asks_the_broker_of_the_compose_file() -> None:
    found = yaml("config/prometheus/prometheus.yml")
    (job,) = found["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    service = yaml("docker-compose.yml")["services"][host]
    assert f"ws://0.0.0.0:{port}" in service["command"]
    assert service["environment"]["BROKER_WEB__METRICS_ANONYMOUS"] == "true"
    assert found["rule_files"] == ["alerts.yml"]
    assert job["job_name"].startswith("triomq"), "so the rules ask for it"


def test_the_example_that_is_commented_out_is_one() -> None:
    text = re.sub(r"^  # (?=- job_name|  )", "  ", PROMETHEUS, flags=re.MULTILINE)
    (_, far) = YAML(typ="safe").load(text)["scrape_configs"]
    assert far["authorization"]["credentials_file"].startswith("/etc/prometheus/")
    assert far["scheme"] == "https"


def test_each_alert_says_what_it_is() -> None:
    found = rules()
    names = [rule["alert"] for rule in found]
    assert len(set(names)) == len(names)
    for rule in found:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"], rule["alert"]
        if "for" in rule:
            assert promql.parse_duration(rule["for"]).total_seconds() >= 60
        assert f"`{rule['alert']}`" in GUIDE


# -- Grafana


def variables() -> Iterator[str]:
    for each in re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)):
        if not each.startswith("__"):
            yield each


def test_the_dashboard_is_provisioned() -> None:
    (source,) = yaml("config/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    (provider,) = yaml("config/grafana/provisioning/dashboards/triomq.yml")["providers"]
    grafana = yaml("docker-compose.yml")["services"]["grafana"]
    mounts = dict(mount.split(":")[:2] for mount in grafana["volumes"] if mount.startswith("./"))
    for kind in ("datasources", "dashboards"):
        assert mounts[f"./config/grafana/provisioning/{kind}"] == f"/etc/grafana/provisioning/{kind}"
    assert mounts["./config/grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    assert DASHBOARD["templating"]["list"][0]["current"]["value"] == source["uid"]
    assert source["jsonData"]["timeInterval"] == yaml("config/prometheus/prometheus.yml")["global"]["scrape_interval"]


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert set(variables()) == {each["name"] for each in DASHBOARD["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert references == list("ABCDEFG"[: len(references)])
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another"
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    assert len(taken) == 24 * max(y + 1 for _, y in taken), "there is a hole"


def test_legends_name_labels_that_their_expressions_leave() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            left = {label for node in walked(target["expr"])[:3] for label in kept(node)}
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label in left | ({"instance"} if not left else set()), panel["title"]
