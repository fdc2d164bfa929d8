"""`[[roles]]`: who may publish, subscribe and retain what.

Patterns are Topic Filters with places for `%c`, the Client Identifier, and `%u`, the user name. What the roles of a
Client come to is said by `broker.auth.roles`; `broker explain` asks it.
"""

from pydantic import Field

from broker.config import kinds
from broker.config.table import Table


class RoleConfig(Table):
    """`[[roles]]`: what those may do who have it. While there is none, everything is allowed."""

    name: kinds.Word = Field(
        description="What the role is called, here, in tokens and in the log.", examples=["sensors"]
    )
    users: kinds.Words = Field(
        default=(),
        description='User names that have this role; "*" is everybody who has proved one, "anonymous" whoever has not.',
        examples=[["sensor-1", "sensor-2"]],
    )
    allow_publish: kinds.Patterns = Field(
        default=(), description="Topics that may be published to.", examples=[["site/%u/#"]]
    )
    deny_publish: kinds.Patterns = Field(
        default=(), description="Topics that may not, whatever another role allows.", examples=[["site/%u/config"]]
    )
    allow_subscribe: kinds.Patterns = Field(
        default=(), description="Topics that may be received.", examples=[["site/%u/config", "news/%c"]]
    )
    deny_subscribe: kinds.Patterns = Field(
        default=(), description="Topics that may not be received, whatever another role allows.", examples=[["$SYS/#"]]
    )
    allow_retain: kinds.Patterns = Field(
        default=(),
        description="Topics whose messages may be retained; when not set, all that may be published to.",
        examples=[["site/%u/state"]],
    )
    deny_retain: kinds.Patterns = Field(
        default=(), description="Topics whose messages may not be retained.", examples=[["site/+/events"]]
    )
