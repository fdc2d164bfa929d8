"""Enhanced authentication (MQTT 5.0 section 4.12): between the core's AUTH packets and a Conversation of SCRAM.

It has a CONNECT, or the Grant of a Client that is connected and authenticates again (section 4.12.1). What comes of it
is the Chain's to give. The limits of failures are asked after each step: only then is it known who the Client says it
is, and what is under way elsewhere counts too. A reload in the middle refuses, as the roles may be others now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.auth.methods import Denied
from broker.auth.scram import NAME, Said
from broker.core.grants import Grant
from broker.core.ports import Challenge, Refusal
from broker.packets.codes import REASONS_FROM_SERVER
from broker.packets.reasons import ReasonCode
from broker.packets.types import DISCONNECT

if TYPE_CHECKING:
    from broker.auth.chain import Chain, Policy
    from broker.auth.scram import Scram
    from broker.core.ports import Answer, Peer
    from broker.packets.types import Connect

# Reason Codes of a CONNACK that no DISCONNECT may have (table 3-13), and what says nearly the same there.
FOR_DISCONNECT: Final[dict[ReasonCode, ReasonCode]] = {
    reason: ReasonCode.SERVER_BUSY if reason == ReasonCode.SERVER_UNAVAILABLE else ReasonCode.NOT_AUTHORIZED
    for reason in ReasonCode
    if reason >= 0x80 and reason not in REASONS_FROM_SERVER[DISCONNECT]
}


class EnhancedAuthentication:
    """An AuthenticationExchange of the core. It never raises."""

    def __init__(self, chain: Chain, policy: Policy, scram: Scram, peer: Peer, subject: Connect | Grant) -> None:
        self._chain = chain
        self._policy = policy
        self._conversation = scram.begin()
        self._peer = peer
        self._subject = subject

    def go_on(self, data: bytes) -> Answer:
        """The answer to Authentication Data; b"" for none. After a Grant or a Refusal all is refused."""
        answer = self._hear(data)
        if isinstance(answer, Refusal) and isinstance(self._subject, Grant):
            return Refusal(FOR_DISCONNECT.get(answer.reason, answer.reason), answer.detail)
        return answer

    def _hear(self, data: bytes) -> Answer:
        chain, policy, peer, subject = self._chain, self._policy, self._peer, self._subject
        if policy is not chain.policy:
            return chain.refuse(NAME, ReasonCode.SERVER_BUSY)
        try:
            step = self._conversation.step(data)
        except Exception as error:
            return chain.failure(NAME, error)
        user_name = self._conversation.user_name
        now = chain.monotonic()
        if policy.failures.limited(peer.address, user_name, now):
            return chain.too_many()
        if isinstance(step, Denied):
            return chain.denied(policy, NAME, step, peer, user_name, now)
        if isinstance(step, Said):
            return Challenge(step.data, self)
        if isinstance(subject, Grant):
            return chain.admit_again(policy, NAME, step.identity, subject, peer, step.data)
        if subject.user_name not in (None, user_name):
            other = Denied("the User Name is not the one that was proved")
            return chain.denied(policy, NAME, other, peer, user_name, now)
        return chain.admit(policy, NAME, step.identity, subject.client_identifier, peer, user_name, step.data)
