"""What a comparison says, in sentences: the answer, and what must be known before it is believed.

Every report begins with these. A difference is called one only where the interval of its ratio leaves 1 out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.bench.metrics import CHECKS, METRICS
from broker.bench.statistics import CONFIDENCE
from broker.bench.theory import predictions
from broker.bench.units import digits, shown
from broker.packets.types import MQTT_3_1, MQTT_5_0

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.bench.comparison import Comparison
    from broker.bench.statistics import Ratio
    from broker.bench.workload import Workload

BUSY: Final = 0.9  # of a core
_IDLE: Final = 0.8
_APART: Final = 0.3  # of the median: rounds that lie farther apart tell little
_KEPT: Final = 0.98  # of the rate that was asked for
_SPOKEN: Final = {"tcp": "TCP", "tls": "TLS", "ws": "WebSocket", "wss": "WebSocket in TLS", "unix": "Unix socket"}
_VERSIONS: Final = {MQTT_5_0: "5.0", MQTT_3_1: "3.1"}
_HARM: Final = {
    "lost": "lost",
    "repeated": "repeated",
    "disordered": "out of order",
    "corrupted": "corrupted",
    "refused": "refused",
    "disconnected": "connections ended unasked",
}


def describe(workload: Workload, points: Sequence[Mapping[str, float]] = ()) -> str:
    """The load in one line; with the points of a sweep also what is varied, for which `workload` is the first."""
    parts = [_clients(workload)]
    if workload.publishers:
        parts.append(f"QoS {workload.qos}")
        parts.append(f"{workload.payload:,} bytes of payload")
    parts.append(f"MQTT {_VERSIONS.get(workload.version, '3.1.1')}")
    if workload.rate:
        parts.append(f"{digits(workload.rate)} messages a second, each at its time (open loop)")
    elif workload.publishers:
        parts.append(f"as fast as it goes with {workload.inflight} of a publisher under way (closed loop)")
    parts.append(f"{workload.count:,} messages" if workload.count else f"{digits(workload.seconds)} s measured")
    varied = [
        f"{axis} from {digits(min(point[axis] for point in points))} to {digits(max(point[axis] for point in points))}"
        for axis in (points[0] if points else ())
    ]
    return ", ".join(parts) + (f"; then {' and '.join(varied)}" if varied else "")


def _clients(workload: Workload) -> str:
    def many(count: int, noun: str) -> str:
        return f"{count:,} {noun}{'' if count == 1 else 's'}"

    if workload.echo:
        return f"{many(workload.publishers, 'Client')} that publish{'es' if workload.publishers == 1 else ''} to itself"
    if workload.publishers and workload.subscribers:
        return f"{many(workload.publishers, 'publisher')} to {many(workload.subscribers, 'subscriber')}"
    if workload.publishers:
        return f"{many(workload.publishers, 'publisher')} to nobody"
    if workload.subscribers:
        return many(workload.subscribers, "subscriber")
    return many(workload.idle, "idle connection")


def interval(ratio: Ratio) -> str:
    """`95 % CI 1.25 to 1.36`; empty for one round."""
    if ratio.rounds < 2:
        return ""
    return f"{100 * ratio.confidence:.0f}\N{NO-BREAK SPACE}% CI {digits(ratio.low)} to {digits(ratio.high)}"


def answers(comparison: Comparison) -> list[str]:
    """The most important first: sentences for the second subject, what decides for each of several others; for a
    single subject its figures.
    """
    if len(comparison.subjects) == 1:
        return _alone(comparison)
    said = (_cost, _speed, _latency, _wire, _connections) if len(comparison.subjects) == 2 else (_cost, _speed)
    sentences = [say(comparison, subject.label) for subject in comparison.subjects[1:] for say in said]
    return [sentence for sentence in sentences if sentence]


def spoken(label: str) -> str:
    """The label as it is said: `WebSocket` for `ws`."""
    first, blank, rest = label.partition(" ")
    return f"{_SPOKEN.get(first, first)}{blank}{rest}"


def over(label: str) -> str:
    """The same with a word before it: `over WebSocket`, `with mosquitto`."""
    return f"{'over' if label.partition(' ')[0] in _SPOKEN else 'with'} {spoken(label)}"


def _both(comparison: Comparison, label: str, name: str) -> tuple[str, str, Ratio] | None:
    """The figures of a subject and of the first one as text, and their ratio."""
    mine = comparison.figure(label, name)
    base = comparison.figure(comparison.baseline.label, name)
    ratio = comparison.ratio(label, name)
    if mine is None or base is None or ratio is None:
        return None
    unit = METRICS[name].unit
    return shown(mine.value, unit), shown(base.value, unit), ratio


def _cost(comparison: Comparison, label: str) -> str:
    found = _both(comparison, label, "cpu")
    if found is None:
        return ""
    mine, base, ratio = found
    first = comparison.baseline.label
    if not ratio.clear and ratio.rounds > 1:
        return (
            f"A message costs the broker as much CPU {over(label)} as {over(first)}, as far as these rounds can show: "
            f"{mine} against {base}, {_times(ratio)}."
        )
    where = over(label)
    return (
        f"{where[0].upper()}{where[1:]} a message costs the broker {digits(ratio.value)} times the CPU that it costs "
        f"{over(first)}{_in_brackets(ratio)}: {mine} against {base}."
    )


def _times(ratio: Ratio) -> str:
    return f"{digits(ratio.value)} times{_in_brackets(ratio)}"


def _in_brackets(ratio: Ratio) -> str:
    text = interval(ratio)
    return f" ({text})" if text else ""


def _speed(comparison: Comparison, label: str) -> str:
    workload = comparison.workload
    found = _both(comparison, label, "throughput")
    if found is None:
        return ""
    mine, base, ratio = found
    mine, base = mine.removesuffix("/s"), base.removesuffix("/s")
    if workload.rate:
        return f"The load was {digits(workload.rate)} messages a second for all; {mine} arrived {over(label)}."
    if not ratio.clear and ratio.rounds > 1:
        return f"No difference in messages a second was shown: {mine} against {base}, {_times(ratio)}."
    many = f"{digits(ratio.value)} times as many messages a second"
    where = over(label)
    return f"{where[0].upper()}{where[1:]} it carried {many}{_in_brackets(ratio)}: {mine} against {base}."


def _latency(comparison: Comparison, label: str) -> str:
    parts = []
    for name, word in (("p50", "Median latency"), ("p99", "the 99th percentile")):
        found = _both(comparison, label, name)
        if found is not None:
            mine, base, ratio = found
            shown_or_not = "" if ratio.clear or ratio.rounds < 2 else ", which is no difference that was shown"
            parts.append(f"{word} is {mine} against {base}, {_times(ratio)}{shown_or_not}")
    return "; ".join(parts) + "." if parts else ""


def _wire(comparison: Comparison, label: str) -> str:
    found = _both(comparison, label, "sent_bytes")
    framing = comparison.figure(label, "framing")
    if found is None or framing is None:
        return ""
    mine, base, _ = found
    text = (
        f"A message sent is {mine} on the wire against {base}; framing is {shown(framing.value, 'share')} of all bytes"
    )
    held = predictions(comparison, label)
    if any(each.theory for each in held):
        agreed = all(each.agrees for each in held)
        text += ", as RFC 6455 has it" if agreed else ", which is not what RFC 6455 lets expect"
    return text + "."


def _connections(comparison: Comparison, label: str) -> str:
    parts = []
    for name, said in (
        ("memory", "A connection weighs {} against {}, {}"),
        ("connect_cpu", "opening one costs the broker {} of CPU against {}, {}"),
    ):
        found = _both(comparison, label, name)
        if found is not None:
            mine, base, ratio = found
            parts.append(said.format(mine, base, _times(ratio)))
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _alone(comparison: Comparison) -> list[str]:
    label = comparison.baseline.label
    texts: dict[str, str] = {}
    for name in ("throughput", "p50", "p99", "max", "cpu", "connects", "connect_p50", "memory"):
        figure = comparison.figure(label, name)
        if figure is not None:
            texts[name] = shown(figure.value, METRICS[name].unit)
    found = []
    if "throughput" in texts:
        found.append(f"{texts['throughput'].removesuffix('/s')} messages a second {over(label)}.")
    if "p50" in texts:
        found.append(f"Latency: median {texts['p50']}, 99th percentile {texts['p99']}, longest {texts['max']}.")
    if "cpu" in texts:
        found.append(f"A message costs the broker {texts['cpu']} of CPU.")
    if "connects" in texts and "throughput" not in texts:
        found.append(f"{texts['connects'].removesuffix('/s')} connections a second, median {texts['connect_p50']}.")
    if "memory" in texts:
        found.append(f"A connection weighs {texts['memory']}.")
    return found


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason to believe less; `kind` is the same at all points of a sweep where it is for the same reason."""

    kind: str
    text: str


def warnings(comparison: Comparison) -> list[str]:
    """What makes figures less than they seem, the worst first."""
    return [doubt.text for doubt in doubts(comparison)]


def all_warnings(points: Sequence[tuple[str, Comparison]]) -> list[str]:
    """Those of a sweep, each reason once with the points that it is for; `points` are in words, and empty for one."""
    found: dict[str, list[tuple[str, str]]] = {}
    for at, comparison in points:
        for doubt in doubts(comparison):
            found.setdefault(doubt.kind, []).append((at, doubt.text))
    said = []
    for each in found.values():
        at, text = each[0]
        if at and len(each) < len(points):
            more = f" and {len(each) - 1} more" if len(each) > 1 else ""
            text = f"At {at}{more}: {text}"
        elif at and len({text for _, text in each}) > 1:
            text = f"At all points, as at {at}: {text}"
        said.append(text)
    return said


def doubts(comparison: Comparison) -> list[Doubt]:
    """What makes figures less than they seem, the worst first."""
    return [
        *_harm(comparison),
        *(doubt for subject in comparison.subjects for doubt in _limits(comparison, subject.label)),
        *_rounds(comparison),
        *(Doubt(note, note) for note in comparison.notes),
    ]


def _harm(comparison: Comparison) -> list[Doubt]:
    found: list[Doubt] = []
    for subject in comparison.subjects:
        counted = {name: comparison.figure(subject.label, name) for name in CHECKS}
        wrong = [f"{figure.value:,.0f} {_HARM[name]}" for name, figure in counted.items() if figure and figure.value]
        if wrong:
            found.append(Doubt(f"checks {subject.label}", f"{subject.label}: {', '.join(wrong)}."))
        troubles: dict[str, int] = {}
        for run in comparison.rounds_of(subject.label):
            for sentence, times in run.measured.trouble.items():
                troubles[sentence] = troubles.get(sentence, 0) + times
        for sentence, times in troubles.items():
            text = f"{subject.label}: {sentence}"
            found.append(Doubt(text, f"{text} ({times:,} times)."))
    return found


def _limits(comparison: Comparison, label: str) -> list[Doubt]:
    """Whether it was the broker that was measured."""
    workload = comparison.workload
    generator = comparison.figure(label, "generator")
    broker = comparison.figure(label, "broker_load")
    if generator is None or not workload.publishers:
        return []
    of_broker = f"; the broker used {broker.value:.2f} of one" if broker is not None else ""
    if generator.spread.median > BUSY and (broker is None or broker.value < BUSY):
        text = (
            f"{label}: the generator was the bottleneck (its busiest worker used {generator.spread.median:.2f} of a "
            f"core{of_broker}): these figures are a lower bound of what the broker can do. More --workers help where "
            "there are more cores."
        )
        return [Doubt(f"generator {label}", text)]
    if workload.rate:
        return _open_loop(comparison, label)
    if broker is not None and generator.spread.median < _IDLE and broker.value < _IDLE:
        text = (
            f"{label}: neither the broker ({broker.value:.2f} of a core) nor the generator "
            f"({generator.spread.median:.2f}) was busy: they waited for each other, which more --inflight ends, or "
            "something else used the machine. So this is not the most messages a second that there can be."
        )
        return [Doubt(f"idle {label}", text)]
    return []


def _open_loop(comparison: Comparison, label: str) -> list[Doubt]:
    found: list[Doubt] = []
    rate = comparison.workload.rate
    published = comparison.figure(label, "published")
    if published is not None and published.value < _KEPT * rate:
        text = (
            f"{label}: {digits(published.value)} messages a second were sent of the {digits(rate)} that were due: "
            "the rate could not be kept."
        )
        found.append(Doubt(f"rate {label}", text))
    late, tail = comparison.figure(label, "late"), comparison.figure(label, "p99")
    if late is not None and tail is not None and late.spread.median > 0.5 * tail.value:
        text = (
            f"{label}: the generator sent messages up to {shown(late.spread.median, 's')} after they were due; that is "
            "in the latencies, which are counted from when they were due."
        )
        found.append(Doubt(f"late {label}", text))
    return found


def _rounds(comparison: Comparison) -> list[Doubt]:
    found: list[Doubt] = []
    rounds = len(comparison.rounds_of(comparison.baseline.label))
    ratios = [comparison.ratio(each.label, comparison.headline) for each in comparison.subjects[1:]]
    confidence = min((ratio.confidence for ratio in ratios if ratio is not None), default=CONFIDENCE)
    if ratios and rounds == 1:
        text = "One round says nothing about chance: six or more give an interval of 95 %."
        found.append(Doubt("rounds", text))
    elif confidence < CONFIDENCE:
        text = (
            f"{rounds} rounds can promise no more than {100 * confidence:.0f} %: the intervals are the range of all of "
            "them. Six or more give 95 %."
        )
        found.append(Doubt("rounds", text))
    for subject in comparison.subjects:
        figure = comparison.figure(subject.label, comparison.headline)
        if figure is not None and rounds > 1 and figure.spread.relative > _APART:
            text = (
                f"{subject.label}: rounds lie {100 * figure.spread.relative:.0f} % apart in "
                f"{figure.metric.title[0].lower()}{figure.metric.title[1:]}; ratios are taken inside each round and "
                "suffer less."
            )
            found.append(Doubt(f"apart {subject.label}", text))
    return found
