"""`[web]`: what is answered over HTTP on listeners that speak WebSocket, and to whom.

A secret is never written here: tokens stand in a file of their own, of which only hashes are kept.
"""

from typing import Literal

from pydantic import Field

from broker.config import kinds
from broker.config.table import Table


class WebConfig(Table):
    """`[web]`: what is answered over HTTP on the listeners `ws` and `auto`, and to whom."""

    health: bool = Field(default=True, description="Whether /healthz and /readyz are answered, to anybody.")
    metrics: bool = Field(default=True, description="Whether /metrics is answered, in the format of Prometheus.")
    metrics_anonymous: bool = Field(
        default=False, description="Whether /metrics is answered to anybody; else to viewers, as the API is."
    )
    api: bool = Field(default=True, description="Whether the API under /api/v1 is answered.")
    dashboard: bool = Field(default=True, description="Whether / is the dashboard; else it is a plain page.")
    publish: bool = Field(
        default=True, description="Whether POST /publish/TOPIC is answered, to users of [auth] as their roles allow."
    )
    events: bool = Field(
        default=True,
        description="Whether /events streams messages as server-sent events, to users of [auth] as their roles allow.",
    )
    bench: bool = Field(
        default=True, description="Whether operators may run `broker bench compare` from the dashboard and the API."
    )
    admins: kinds.Words = Field(
        default=(),
        description="Users of [auth] who may log in and do everything: reload the configuration, too.",
        examples=[["ann"]],
    )
    operators: kinds.Words = Field(
        default=(),
        description="Users of [auth] who may log in, look, and steer: end connections, delete retained messages, "
        "publish.",
        examples=[["ben"]],
    )
    viewers: kinds.Words = Field(
        default=(), description="Users of [auth] who may log in and look.", examples=[["cleo", "dan"]]
    )
    tokens_file: kinds.File | None = Field(
        default=None,
        description="File of bearer tokens for programs: a line for each with a name, a role (viewer, operator, admin) "
        "and the SHA-256 of the token in hexadecimal digits.",
        examples=["/etc/triomq/web-tokens"],
        json_schema_extra=kinds.without_null,
    )
    anonymous: Literal["none", "viewer", "operator", "admin"] | None = Field(
        default=None,
        description="What whoever proves nothing may do; when not set, operator from this machine while no method of "
        "[auth] is set up, else none.",
        examples=["viewer"],
        json_schema_extra=kinds.without_null,
    )
    session_idle: kinds.Seconds = Field(
        default=12 * 3600.0, ge=60, le=30 * 86400, description="Time without a request after which a log-in is over."
    )

    @property
    def roles(self) -> dict[str, str]:
        """User name -> role."""
        lists = (("viewer", self.viewers), ("operator", self.operators), ("admin", self.admins))
        return {name: role for role, names in lists for name in names}

    @property
    def wanted(self) -> bool:
        """Whether anything is answered."""
        return self.health or self.metrics or self.api or self.dashboard or self.publish or self.events
