"""What the options of `broker bench` mean together: a Workload for each command, or one line that says why not.

A message nobody is subscribed to would measure something else than was asked for, so that topics and filters are held
against each other before anything is connected. So are the sockets that the Clients need.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click

from broker.bench.engine.plan import Plan
from broker.bench.limits import SPARE_DESCRIPTORS
from broker.bench.trust import trust_of
from broker.bench.workload import Workload
from broker.cli.connecting import TLS_PARAMETERS, check_tls, target, tls_of
from broker.client import parse
from broker.packets.topics import valid_topic_filter, valid_topic_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_TOPIC: Final = "bench/%i"
DURATION: Final = 10.0
HOLD: Final = 2.0
SHARE_OF_WARM_UP: Final = 0.2  # of the measured seconds, and at most
WARM_UP: Final = 1.0
INFLIGHT: Final = (100, 20, 20)  # of a publisher, by QoS, where nobody said
_PLACEHOLDERS: Final = ("%i", "%m", "%c", "%u")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One broker's door, and whom the Clients say they are. `url` is empty where a broker of our own is to be started.

    `label` is empty where nobody gave a name.
    """

    url: str = ""
    label: str = ""
    topic: str = ""  # that the URL named
    username: str | None = None
    password: str | None = None


def places(options: Mapping[str, Any], *, several: bool = False) -> list[Place]:
    """Where the options say that the load goes; none at all means a broker of our own.

    `BROKER_URL`, which `pub` and `sub` read, is not read here: load goes to whom it is meant for and to nobody else.
    Raises click.UsageError.
    """
    urls: Sequence[str | None] = options["urls"]
    if not several and len(urls) > 1:
        raise click.UsageError(
            f"One URL at a time; there are {len(urls)}. 'broker bench compare' runs the same load over several."
        )
    host, port, unix = (options.get(name) for name in ("host", "port", "unix"))
    said = tls_of(**{name: options[name] for name in TLS_PARAMETERS}, key_password_file=None)
    if not urls and not (host or port or unix):
        check_tls(said)
        return []
    found: list[Place] = []
    for given in urls or [None]:
        label, url = _labelled(given) if several and given else ("", given)
        where = target(
            url=url,
            host=host,
            port=port,
            unix=unix,
            username=options["username"],
            pw=options["pw"],
            password_file=options["password_file"],
            client_identifier=None,
            id_prefix=None,
            keepalive=options["keepalive"],
            version=options["version"],
            keep_session=False,
            session_expiry_interval=None,
            will_topic=None,
            will_payload=None,
            will_qos=0,
            will_retain=False,
            **({} if given else {name: options[name] for name in TLS_PARAMETERS}),
        )
        try:
            parse(where.url)
        except ValueError as error:
            raise click.UsageError(f"{error}.") from error
        found.append(
            Place(url=where.url, label=label, topic=where.topic, username=where.user_name, password=where.password)
        )
    check_tls(said, *(place.url for place in found))
    for place in found:
        try:
            trust_of(place.url, Workload(url=place.url, **_files(options)))
        except ValueError as error:
            raise click.UsageError(f"{error}.") from error
    return found


def pids_of(places: Sequence[Place], pids: Sequence[int]) -> Sequence[int | None]:
    """The process of each of `places`, None where nobody named it: one for all, or one for each in their order.

    Raises click.UsageError.
    """
    if not pids:
        return [None] * len(places)
    if not places:
        raise click.UsageError("--pid is of a broker that is there: say where with -L.")
    if len(pids) not in (1, len(places)):
        raise click.UsageError(f"{len(pids)} times --pid for {len(places)} URLs: give one for all, or one for each.")
    return list(pids) * (len(places) if len(pids) == 1 else 1)


def _files(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options say of TLS, as fields of a Workload."""
    names = {"ca_file": "cafile", "certificate": "cert", "key": "key"}
    paths = {field: options[name] for field, name in names.items()}
    files = {field: None if path is None else str(path.absolute()) for field, path in paths.items()}
    return {**files, "insecure": options["insecure"]}


def cpu_of(places: Sequence[Place], given: int | None) -> int | None:
    """Where a broker of our own is to run; None for wherever the system puts it. Raises click.UsageError."""
    if places and given is not None:
        raise click.UsageError("--broker-cpu is of a broker of its own, and with -L there is none.")
    return given


def _labelled(given: str) -> tuple[str, str]:
    """NAME=URL in its two parts; an = behind the scheme belongs to the URL."""
    name, equals, url = given.partition("=")
    if not equals or "://" in name or name.startswith("unix:"):
        return "", given
    if not name.strip():
        raise click.UsageError(f"'{given}' has no name before its '='.")
    return name.strip(), url


def workload_of(kind: str, options: Mapping[str, Any], place: Place) -> Workload:
    """The Workload of `broker bench KIND` at `place`. Raises click.UsageError where options contradict each other."""
    makers: dict[str, Callable[[Mapping[str, Any], Workload, str], Workload]] = {
        "conn": _conn,
        "pub": _pub,
        "sub": _sub,
        "fanout": _fanout,
        "rtt": _rtt,
    }
    common = Workload(
        url=place.url,
        version=options["version"],
        connect_rate=options["connect_rate"] or 0.0,
        connecting=options["connecting"],
        timeout=options["timeout"],
        keep_alive=options["keepalive"],
        client_prefix=options["id_prefix"],
        username=place.username,
        password=place.password,
        **_files(options),
        seconds=HOLD if kind == "conn" else DURATION,
    )
    if kind != "sub" and options.get("count") and options["duration"]:
        raise click.UsageError("-n ends a run after so many messages, -d after so long; give one.")
    return makers[kind](options, _timed(options, common), options.get("topic") or place.topic)


def _timed(options: Mapping[str, Any], workload: Workload) -> Workload:
    count = options.get("count")
    seconds = options["duration"] or workload.seconds
    warm_up = options.get("warm_up")
    if warm_up is None:
        warm_up = 0.0 if count else min(WARM_UP, SHARE_OF_WARM_UP * seconds)
    return replace(workload, seconds=seconds, count=count or 0, warm_up=warm_up)


def _paced(options: Mapping[str, Any], workload: Workload) -> Workload:
    rate, inflight = options["rate"], options["inflight"]
    if rate and inflight:
        raise click.UsageError(
            "--rate sends each message at its time, whatever the broker does (an open loop); --inflight sends the next "
            "when the broker is done with one (a closed loop). Give one."
        )
    qos = options["qos"]
    return replace(workload, rate=rate or 0.0, inflight=inflight or INFLIGHT[qos], qos=qos, payload=options["payload"])


def _conn(options: Mapping[str, Any], workload: Workload, topic: str) -> Workload:
    return replace(workload, idle=options["clients"], warm_up=0.0)


def _pub(options: Mapping[str, Any], workload: Workload, topic: str) -> Workload:
    publishers = options["clients"]
    subscribers = options["subscribers"]
    if subscribers is None:
        subscribers = publishers
    topic_filter = options["topic_filter"]
    if not topic and not topic_filter:
        # One subscriber to a topic, whichever of the two kinds is more
        topic = "bench/%i" if publishers <= subscribers or not subscribers else "bench/%m"
        topic_filter = "bench/%m" if publishers < subscribers else "bench/%i"
    topic = topic or DEFAULT_TOPIC
    if topic_filter is None:
        alike = publishers == subscribers and "%c" not in topic and "%m" not in topic
        topic_filter = topic if alike else _filter_for(topic)
    return replace(
        _paced(options, workload),
        publishers=publishers,
        subscribers=subscribers,
        topic=topic,
        topic_filter=topic_filter,
    )


def _sub(options: Mapping[str, Any], workload: Workload, topic: str) -> Workload:
    return replace(workload, subscribers=options["clients"], qos=options["qos"], topic_filter=topic or "bench/#")


def _fanout(options: Mapping[str, Any], workload: Workload, topic: str) -> Workload:
    topic = topic or DEFAULT_TOPIC
    return replace(
        _paced(options, workload),
        publishers=options["publishers"],
        subscribers=options["subscribers"],
        topic=topic,
        topic_filter=options["topic_filter"] or _filter_for(topic),
    )


def _rtt(options: Mapping[str, Any], workload: Workload, topic: str) -> Workload:
    topic = topic or DEFAULT_TOPIC
    return replace(
        workload,
        publishers=options["clients"],
        echo=True,
        inflight=1,
        qos=options["qos"],
        payload=options["payload"],
        topic=topic,
        topic_filter=topic,
    )


def _filter_for(topic: str) -> str:
    """A Topic Filter that all topics of the template match: + for each level that a placeholder stands in."""
    levels = topic.split("/")
    return "/".join("+" if any(each in level for each in _PLACEHOLDERS) else level for level in levels)


def check(workload: Workload, workers: int) -> None:
    """Refuse, before anything is connected, what could not run. Raises click.UsageError."""
    try:
        workload.check()
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    _check_sockets(workload, workers)
    _check_topics(workload)


def _check_sockets(workload: Workload, workers: int) -> None:
    """As many descriptors as the system lets this process have, each of its workers may have, and our own broker."""
    clients = workload.idle + workload.publishers + workload.subscribers
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    workers = workers if workload.url else 1
    if most != resource.RLIM_INFINITY and clients > workers * (most - SPARE_DESCRIPTORS):
        raise click.UsageError(
            f"{clients:,} Clients need as many sockets, and a process may open {most:,} files (ulimit -Hn): "
            f"{workers * (most - SPARE_DESCRIPTORS):,} Clients is the most."
        )


def _check_topics(workload: Workload) -> None:
    plan = Plan(workload, workload.username or "", "0", 1)
    for topic in plan.topics:
        if not valid_topic_name(topic):
            raise click.UsageError(
                f"'{topic}' is no Topic Name: it may hold neither + nor #, and no control characters (-t)."
            )
    for topic_filter in plan.filters:
        if not valid_topic_filter(topic_filter):
            raise click.UsageError(
                f"'{topic_filter}' is no Topic Filter: + and # stand for whole levels, and # is the last one."
            )
    if not plan.filters:
        return
    unheard = [topic for topic, receivers in zip(plan.topics, plan.receivers, strict=True) if not receivers]
    if unheard:
        raise click.UsageError(
            f"Nobody is subscribed to '{unheard[0]}' ({len(unheard):,} of {len(plan.topics):,} publishers): the filter "
            f"'{workload.topic_filter}' does not cover it. --filter '{_filter_for(workload.topic)}' would."
        )
