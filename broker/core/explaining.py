"""Why a message does or does not reach a Client: the way it would go, step by step, with where it would stop.

Nothing is decided here and nothing is changed: the same state is read that the data path reads. The steps stand in the
order in which a message meets them, and the last one is the answer; what happened to the Client of late (its flight
record) is told beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.limits import DROP_NEWEST
from broker.packets.topics import check_topic_name, matches

if TYPE_CHECKING:
    from broker.core.broker import Broker
    from broker.core.flight import Event
    from broker.core.grants import Grant
    from broker.core.session import Session
    from broker.core.subscriptions import Subscription

# Verdicts
NO_SESSION: Final = "no_session"
NOT_SUBSCRIBED: Final = "not_subscribed"
NOT_ALLOWED: Final = "not_allowed"
OFFLINE: Final = "offline"  # and nothing is kept for it
QUEUE_FULL: Final = "queue_full"
WAITING: Final = "waiting"  # kept, and sent when the Client has acknowledged or is back
SLOW: Final = "slow"  # the Client reads too slowly, and messages of QoS 0 are dropped
SHARED: Final = "shared"  # one of several members gets it
DELIVERED: Final = "delivered"  # it would be sent at once

NEAR: Final = 3  # Topic Filters that nearly match, which are named


class Step:
    """One look: what was looked at, whether a message gets on from there, and what was found."""

    __slots__ = ("detail", "passed", "what")

    def __init__(self, what: str, passed: bool, detail: str) -> None:
        self.what = what
        self.passed = passed
        self.detail = detail


class Account:
    """The answer: a verdict, its sentence, the steps up to it, and the Client's last event about the topic."""

    def __init__(self, client_identifier: str, topic: str) -> None:
        self.client_identifier = client_identifier
        self.topic = topic
        self.verdict = ""
        self.steps: list[Step] = []
        self.last: Event | None = None

    @property
    def text(self) -> str:
        """The answer in a sentence."""
        return self.steps[-1].detail if self.steps else ""

    def passed(self, what: str, detail: str) -> None:
        self.steps.append(Step(what, True, detail))

    def ends(self, verdict: str, what: str, detail: str, passed: bool = False) -> Account:
        self.verdict = verdict
        self.steps.append(Step(what, passed, detail))
        return self


def explain(broker: Broker, client_identifier: str, topic: str) -> Account:
    """What would become of a message to `topic` for that Client now. Raises ProtocolError for a topic that is none."""
    check_topic_name(topic)
    account = Account(client_identifier, topic)
    flight = broker.flights.find(client_identifier)
    if flight is not None:
        account.last = flight.last_about(topic)
    session = broker.sessions.get(client_identifier)
    if session is None:
        return account.ends(
            NO_SESSION,
            "session",
            f"There is no Session of '{client_identifier}': it has not connected, or its Session has ended.",
        )
    account.passed(
        "session", "It is connected." if session.connection is not None else "It is away; its Session is kept."
    )
    guard = session.guard
    found = [each for each in session.subscriptions.values() if matches(each.topic_filter, topic)]
    if not found:
        text = _not_subscribed(session, topic)
        if guard is not None and not guard.may_deliver(topic):
            text += f" Nor may it receive that topic{_rule(guard, topic)}."
        return account.ends(NOT_SUBSCRIBED, "subscription", text)
    account.passed("subscription", f"Subscribed by {_listed(found)}.")
    rule = _rule(guard, topic)
    if guard is not None and not guard.may_deliver(topic):
        text = f"It may not receive '{topic}', whatever it has subscribed to{rule}."
        return account.ends(NOT_ALLOWED, "permission", text)
    account.passed("permission", f"It may receive this topic{rule}.")
    if all(each.no_local for each in found):
        account.passed("no local", "What the Client publishes itself does not come back: No Local is set.")
    qos = max(each.maximum_qos for each in found)
    if all(each.share_name for each in found):
        return _shared(broker, account, found)
    return _way_out(account, session, qos)


def _not_subscribed(session: Session, topic: str) -> str:
    count = len(session.subscriptions)
    if not count:
        return "It is subscribed to nothing."
    which = "Its only Topic Filter does not match" if count == 1 else f"None of its {count} Topic Filters matches"
    text = f"{which} '{topic}'."
    near = [each for each in session.subscriptions.values() if _nearly(each.topic_filter, topic)]
    if near:
        text += f" Nearly: {_listed(near)}"
        text += " (topics are compared character by character, and + or # at the beginning is not for topics with $)."
    return text


def _rule(guard: Grant | None, topic: str) -> str:
    """What of a configuration decides, to be put behind a sentence."""
    rule = guard.delivery_rule(topic) if guard is not None else ""
    return f": {rule}" if rule else ""


def _nearly(topic_filter: str, topic: str) -> bool:
    """Whether they differ only in what people overlook."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return matches(topic_filter, topic[1:])
    wanted, given = topic_filter.strip("/ ").casefold(), topic.strip("/ ").casefold()
    return bool(wanted) and bool(given) and matches(wanted, given)


def _listed(subscriptions: list[Subscription]) -> str:
    shown = [f"'{_as_subscribed(each)}' at QoS {each.maximum_qos}" for each in subscriptions[:NEAR]]
    more = len(subscriptions) - NEAR
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _as_subscribed(subscription: Subscription) -> str:
    share = f"$share/{subscription.share_name}/" if subscription.share_name else ""
    return share + subscription.topic_filter


def _shared(broker: Broker, account: Account, found: list[Subscription]) -> Account:
    names = {each.share_name for each in found}
    members = 0
    for group in broker.subscriptions.plan(account.topic).groups:
        if group.name in names:
            members = max(members, len(group.members))
    if members == 1:
        session = found[0].session
        return _way_out(account, session, max(each.maximum_qos for each in found))
    return account.ends(
        SHARED,
        "shared subscription",
        f"It is one of {members} members of a shared subscription, and each message goes to one of them.",
        passed=True,
    )


def _way_out(account: Account, session: Session, qos: int) -> Account:
    """From the Session to the socket."""
    limits = session.limits
    connection = session.connection
    waiting = session.queued_messages()
    queue = f"{waiting} messages wait in its queue (queue_messages {limits.queue_messages}, {session.pending_bytes} of "
    queue += f"queue_bytes {limits.queue_bytes})"
    if connection is None:
        if qos == 0:
            return account.ends(OFFLINE, "connection", "It is away, and messages of QoS 0 are not kept.")
        if waiting >= limits.queue_messages or session.pending_bytes >= limits.queue_bytes:
            return account.ends(QUEUE_FULL, "queue", f"It is away and {queue}: {limits.queue_overflow}.")
        text = f"It is away: a message of QoS 1 or 2 waits until it is back; {queue}."
        return account.ends(WAITING, "connection", text, passed=True)
    outbox = connection.outbox
    slow = outbox.size >= outbox.soft
    if qos == 0 and slow:
        policy = limits.overflow
        verdict = SLOW if policy == DROP_NEWEST else WAITING
        text = f"It reads too slowly: {outbox.size} bytes wait for it, and of QoS 0 the policy is {policy}."
        return account.ends(verdict, "connection", text)
    outgoing = session.outgoing
    if qos and (slow or outgoing.quota <= 0 or waiting):
        unacknowledged = len(outgoing.unacknowledged) + len(outgoing.released)
        if session.pending_bytes >= limits.queue_bytes:
            return account.ends(QUEUE_FULL, "queue", f"{unacknowledged} are unacknowledged and {queue}.")
        text = f"{unacknowledged} messages are sent and not acknowledged by the Client, and {queue}."
        return account.ends(WAITING, "in flight", text, passed=True)
    text = f"It would be sent at once, at QoS {qos} or what it was published with if that is less."
    if connection.dropped:
        text += f" {connection.dropped} messages of QoS 0 were dropped for this connection before."
    return account.ends(DELIVERED, "connection", text, passed=True)
