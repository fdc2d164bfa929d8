"""`POST /publish/{topic}`: the body is the payload, and whoever sends it is a Client for as long as that takes.

He is whom Basic authentication names, or whom a bearer token does (as the Password of a CONNECT), or nobody: then the
listener decides, as for MQTT. What he may publish is said by the roles. A page of another origin may not, for a browser
would send it from within the network that it stands in.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

import trio
from starlette.responses import JSONResponse, Response

from broker.packets.reasons import ReasonCode
from broker.packets.topics import valid_topic_name
from broker.packets.types import Connack, Connect, Puback, Pubcomp, Publish, Pubrec, Pubrel
from broker.web.accounts import RETRY, Denied
from broker.web.bridge import BODY_BYTES
from broker.web.exchange import CALLER
from broker.web.inner import Ended, Inner
from broker.web.routes import Field, read_content, read_query

if TYPE_CHECKING:
    from starlette.requests import Request

    from broker.web.accounts import Accounts
    from broker.web.exchange import Caller
    from broker.web.system import System

PATH: Final = "/publish/"
PATIENCE: Final = 10.0  # seconds for all of it

_QUERY: Final = (
    Field("qos", "integer", "Its QoS.", default=0, choices=(0, 1, 2)),
    Field("retain", "boolean", "Whether it is kept.", default=False),
)
_LATER: Final = (
    ReasonCode.SERVER_UNAVAILABLE,
    ReasonCode.SERVER_BUSY,
    ReasonCode.SERVER_SHUTTING_DOWN,
    ReasonCode.QUOTA_EXCEEDED,
)
_NOT_SUPPORTED: Final = (
    ReasonCode.QOS_NOT_SUPPORTED,
    ReasonCode.RETAIN_NOT_SUPPORTED,
    ReasonCode.TOPIC_NAME_INVALID,
    ReasonCode.TOPIC_FILTER_INVALID,
    ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)


class Publishing:
    """See the module."""

    def __init__(self, system: System, accounts: Accounts) -> None:
        self._system = system
        self._accounts = accounts

    async def answer(self, request: Request) -> Response:
        """For Starlette; its path parameter is the topic."""
        caller: Caller = request.scope[CALLER]
        user, password = credentials(request.headers.get("authorization", ""))
        accounts = self._accounts
        accounts.check_client(caller, request.headers, user or "", known=password is not None)
        topic: str = request.path_params["topic"]
        if not valid_topic_name(topic):
            raise Denied(422, "not_allowed", "There has to be a Topic Name behind /publish/, without + and #.")
        query = read_query(_QUERY, request.query_params)
        payload = await read_content(request, BODY_BYTES)
        with trio.move_on_after(PATIENCE):
            async with Inner(self._system, caller, dict(request.headers)) as client:
                try:
                    connect = Connect("", keep_alive=0, user_name=user, password=password)
                    await admitted(client, connect, accounts, caller)
                    reason = await _publish(client, topic, payload, query["qos"], query["retain"])
                except Ended as ended:
                    raise refusal(ended.reason) from None
                if reason >= 0x80:
                    raise refusal(reason)
                return JSONResponse({"reason": int(reason), "name": ReasonCode(reason).name.lower()})
        raise Denied(503, "unavailable", "The broker did not answer in time.")


async def admitted(client: Inner, connect: Connect, accounts: Accounts, caller: Caller) -> Connack:
    """The CONNACK with which the broker lets somebody in. Raises Denied, or Ended."""
    await client.say(connect)
    answer = await client.hear(Connack)
    reason = answer.reason
    if reason == ReasonCode.CONNECTION_RATE_EXCEEDED:
        raise Denied(429, "too_many_attempts", "There were too many failed attempts.", {"Retry-After": str(RETRY)})
    if reason in _LATER:
        raise refusal(reason)
    if reason >= 0x80:
        if connect.password is not None:
            accounts.failures.failed(caller.address, connect.user_name or "", trio.current_time())
        message = "This needs a user of [auth]: by Basic authentication, or a bearer token."
        raise Denied(401, "not_authenticated", message, {"WWW-Authenticate": "Bearer"})
    return answer


async def _publish(client: Inner, topic: str, payload: bytes, qos: int, retain: bool) -> int:
    """Send the message; the Reason Code that acknowledges it. One of QoS 0 is not acknowledged: the roles are asked."""
    if qos == 0:
        own = topic.startswith("$SYS/")
        refused = int(ReasonCode.NOT_AUTHORIZED) if own else int(client.connection.grant.publish(topic, qos, retain))
        if refused >= 0x80:
            return refused
        await client.say(Publish(topic, payload, qos=0, retain=retain))
        if client.connection.ended:
            await client.hear(Puback)
        return ReasonCode.SUCCESS
    await client.say(Publish(topic, payload, qos=qos, retain=retain, packet_identifier=1))
    if qos == 1:
        return (await client.hear(Puback)).reason
    reason = (await client.hear(Pubrec)).reason
    if reason < 0x80:
        await client.say(Pubrel(1))
        await client.hear(Pubcomp)
    return reason


def credentials(authorization: str) -> tuple[str | None, bytes | None]:
    """User Name and Password of the CONNECT. Raises Denied."""
    scheme, _, given = authorization.partition(" ")
    given = given.strip()
    if not authorization:
        return None, None
    if scheme.lower() == "bearer" and given:
        return None, given.encode("utf-8", "surrogatepass")
    try:
        if scheme.lower() != "basic":
            raise ValueError
        user, colon, password = base64.b64decode(given, validate=True).decode("utf-8").partition(":")
        if not colon or not user or "\0" in user or len(user) > 1024 or len(password) > 4096:
            raise ValueError
    except (binascii.Error, ValueError):
        raise Denied(400, "bad_request", "Authorization has to be Basic or Bearer.") from None
    return user, password.encode()


def refusal(reason: int) -> Denied:
    name = ReasonCode(reason).name.lower()
    if reason == ReasonCode.NOT_AUTHORIZED:
        return Denied(403, "not_allowed", "You may not do this.")
    if reason == ReasonCode.PACKET_TOO_LARGE:
        return Denied(413, "too_large", "The message is larger than this listener takes.")
    if reason in _NOT_SUPPORTED:
        return Denied(422, "not_allowed", f"This listener does not take that: {name}.")
    return Denied(503, "unavailable", f"The broker refused that: {name}.")
