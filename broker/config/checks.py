"""What no single setting shows: settings that contradict each other, and doors that stand open.

Each function answers with problems and raises nothing; paths are those of the configuration file. Whether a problem
ends the start is the caller's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.config.errors import Cure, Problem
from broker.config.units import SIZE

if TYPE_CHECKING:
    from collections.abc import Set

    from broker.config.limits import LimitsConfig
    from broker.config.positions import Loc
    from broker.config.settings import Config, ListenerConfig


def config_problems(config: Config) -> list[Problem]:
    """Everything but who may connect, which `access_problems` judges."""
    found = _limits_problems(config.limits, ("limits",), LIMITS_TOGETHER)
    for index, listener in enumerate(config.listeners):
        loc: Loc = ("listeners", index)
        found += [
            Problem(tuple((*loc, *path) for path in problem.involves), problem.message)
            for problem in shape_problems(listener)
        ]
        found += _limits_problems(listener.limits, (*loc, "limits"), listener.limits.model_fields_set)
    found += _address_problems(config) + _auth_problems(config) + _role_problems(config) + _store_problems(config)
    return found + _web_problems(config)


def shape_problems(listener: ListenerConfig) -> list[Problem]:
    """Keys that the listener's type lacks or does not know; paths begin at the listener."""
    found: list[Problem] = []
    given = listener.model_fields_set
    if listener.type == "unix":
        if not listener.path:
            found.append(Problem((("path",), ("type",)), 'a unix listener needs `path`, such as "/run/broker.sock"'))
        found += [
            Problem(((key,), ("type",)), f"a unix listener has no {key}") for key in ("host", "port") if key in given
        ]
        if listener.tls is not None:
            found.append(Problem((("tls",), ("type",)), "a unix listener has no TLS"))
        return found + _tls_shape(listener)
    if "path" in given:
        hint = "; the paths of WebSocket are `websocket_paths` in its limits" if listener.type != "tcp" else ""
        found.append(Problem((("path",), ("type",)), f"only a unix listener has a path{hint}"))
    if "mode" in given:
        found.append(Problem((("mode",), ("type",)), "only a unix listener has a mode"))
    if listener.proxy_protocol and not listener.trusted_proxies:
        found.append(
            Problem(
                (("proxy_protocol",), ("trusted_proxies",)),
                'the PROXY protocol needs `trusted_proxies`, such as ["10.0.0.0/8"]: who else may tell an address?',
            )
        )
    return found + _tls_shape(listener)


def _tls_shape(listener: ListenerConfig) -> list[Problem]:
    """What is asked of Clients' certificates where none is asked for, and names that two hosts claim."""
    tls = listener.tls
    if tls is None:
        return []
    found: list[Problem] = []
    if tls.client_ca is None:
        asking = (
            ("client_crl", tls.client_crl),
            ("require_client_certificate", tls.require_client_certificate),
            ("user_name", tls.user_name),
        )
        found += [
            Problem((("tls", key), ("tls", "client_ca")), f"{key} needs `client_ca`, or no certificate is asked for")
            for key, value in asking
            if value
        ]
    names: dict[str, int] = {}
    for index, host in enumerate(tls.hosts):
        for name in host.names:
            first = names.setdefault(name, index)
            if first != index:
                involves: tuple[Loc, ...] = (("tls", "hosts", index, "names"), ("tls", "hosts", first, "names"))
                found.append(Problem(involves, f'tls.hosts[{first}] has the name "{name}" already'))
    return found


# (lesser, greater): the first must not exceed the second, and follows it down when nobody sets it
ORDERED = (("connect_packet_size", "maximum_packet_size"), ("outbox_soft_bytes", "outbox_hard_bytes"))
LIMITS_TOGETHER = frozenset(
    {"require_subprotocol", "websocket_subprotocols", *(name for pair in ORDERED for name in pair)}
)


def _limits_problems(limits: LimitsConfig, loc: Loc, given: Set[str]) -> list[Problem]:
    """Contradictions in which one of the `given` names has a part: a listener does not answer for [limits]."""
    found: list[Problem] = []
    for lesser, greater in ORDERED:
        low, high = getattr(limits, lesser), getattr(limits, greater)
        if low > high and (lesser in given or greater in given):
            found.append(
                Problem(
                    ((*loc, lesser), (*loc, greater)),
                    f"{lesser} ({SIZE.show(low)}) must not exceed {greater} ({SIZE.show(high)})",
                )
            )
    if (
        limits.require_subprotocol
        and not limits.websocket_subprotocols
        and ("require_subprotocol" in given or "websocket_subprotocols" in given)
    ):
        found.append(
            Problem(
                ((*loc, "require_subprotocol"), (*loc, "websocket_subprotocols")),
                "a subprotocol is required, but websocket_subprotocols accepts none",
            )
        )
    return found


def _address_problems(config: Config) -> list[Problem]:
    """Listeners that would take each other's address or name."""
    found: list[Problem] = []
    addresses: dict[str, int] = {}
    names: dict[str, int] = {}
    for index, listener in enumerate(config.listeners):
        loc: Loc = ("listeners", index)
        # The types tcp, ws and auto share the ports; port 0 is a new one each time.
        address = f"unix:{listener.path}" if listener.type == "unix" else f"{listener.host}:{listener.port}"
        key = "path" if listener.type == "unix" else "port"
        if listener.port or listener.type == "unix":
            first = addresses.setdefault(address, index)
            if first != index:
                involves: tuple[Loc, ...] = tuple(
                    ("listeners", number, name) for number in (index, first) for name in (key, "host", "type", "tls")
                )
                found.append(Problem(involves, f"listeners[{first}] has the address {address} already"))
        if listener.name and names.setdefault(listener.name, index) != index:
            first = names[listener.name]
            found.append(
                Problem(
                    ((*loc, "name"), ("listeners", first, "name")),
                    f'listeners[{first}] is called "{listener.name}" already',
                )
            )
    return found


_NEEDS = {
    "certificate": "`user_name` and `client_ca` in [listeners.tls]",
    "password": "`password_file`",
    "jwt": "[auth.jwt]",
    "http": "[auth.http]",
}


def _auth_problems(config: Config) -> list[Problem]:
    auth = config.auth
    found = [
        Problem((("auth", "methods"), ("auth", method), ("auth", "password_file")), f"{method} needs {_NEEDS[method]}")
        for method in auth.methods or ()
        if method not in config.ready_methods
    ]
    if auth.scram and auth.password_file is None:
        found.append(Problem((("auth", "scram"), ("auth", "password_file")), "scram needs `password_file`"))
    if auth.jwt is not None:
        loc: Loc = ("auth", "jwt")
        if auth.jwt.key_file is None and not auth.jwt.keys:
            message = "tokens need a key: `key_file` with `algorithms`, or [[auth.jwt.keys]]"
            found.append(Problem(((*loc, "key_file"), (*loc, "keys"), loc), message))
        elif auth.jwt.key_file is not None and not auth.jwt.algorithms:
            message = '`key_file` needs `algorithms`, such as ["RS256"]: what is the key good for?'
            found.append(Problem(((*loc, "key_file"), (*loc, "algorithms")), message))
        missing = {key.algorithm for key in auth.jwt.keys}.difference(auth.jwt.algorithms)
        if auth.jwt.algorithms and missing:
            message = f"leaves out {', '.join(sorted(missing))}, which is the algorithm of a key"
            found.append(Problem(((*loc, "algorithms"), (*loc, "keys")), message))
    return found


def _role_problems(config: Config) -> list[Problem]:
    """Roles with the name of another one."""
    found: list[Problem] = []
    names: dict[str, int] = {}
    for index, role in enumerate(config.roles):
        first = names.setdefault(role.name, index)
        if first != index:
            involves: tuple[Loc, ...] = (("roles", index, "name"), ("roles", first, "name"))
            found.append(Problem(involves, f'roles[{first}] is called "{role.name}" already'))
    return found


def _store_problems(config: Config) -> list[Problem]:
    store = config.store
    if store.durability == "none" or store.path is not None:
        return []
    return [
        Problem(
            (("store", "durability"), ("store", "path")),
            f"there is no folder to keep anything in; {store.durability} needs `path` in [store], or --data DIR",
        )
    ]


def _web_problems(config: Config) -> list[Problem]:
    """Users of whom nobody can tell who they are, or what they may do."""
    found: list[Problem] = []
    held: dict[str, str] = {}
    for key in ("admins", "operators", "viewers"):
        loc: Loc = ("web", key)
        names = getattr(config.web, key)
        if names and not set(config.auth_methods) - {"certificate"}:
            message = f"{key} could not log in: there is no authentication by a password; set `password_file` in [auth]"
            found.append(Problem((loc, ("auth",)), message))
        found += [
            Problem((loc, ("web", held[name])), f'{held[name]} has "{name}" already') for name in names if name in held
        ]
        held |= dict.fromkeys(names, key)
    return found


def access_problems(config: Config, authenticated: bool) -> list[Problem]:
    """Listeners that would let in strangers unasked, or nobody; `authenticated` says that Clients are asked anyway."""
    if authenticated:
        return []
    found: list[Problem] = []
    for index, listener in enumerate(config.listeners):
        loc: Loc = ("listeners", index)
        allow = (*loc, "allow_anonymous")
        if config.asks(listener) or listener.anonymous_allowed:
            continue
        if config.auth_methods:
            message = "nobody could connect: the only method is certificate, and this listener takes no name from one"
            found.append(Problem(((*loc, "tls", "user_name"), (*loc, "tls"), (*loc, "type"), ("auth",)), message))
        elif "allow_anonymous" in listener.model_fields_set:
            message = "nobody could connect: anonymous Clients are refused, and there is no authentication"
            found.append(Problem((allow, ("auth",)), message, (_ask_for_passwords(),)))
        else:
            proxied = listener.proxy_protocol or listener.trusted_proxies
            reach = "a proxy leads here" if proxied else f"{listener.host} is reached from other machines"
            cures = [_ask_for_passwords(), Cure("to let in everybody all the same", allow, "true")]
            if listener.tls is not None and listener.tls.client_ca is not None:
                cure = Cure(
                    "to know Clients by the common names of their certificates", (*loc, "tls", "user_name"), '"cn"'
                )
                cures.insert(0, cure)
            involves = ((*loc, "host"), allow, (*loc, "trusted_proxies"), (*loc, "type"), (*loc, "tls"), ("auth",))
            found.append(Problem(involves, f"{reach}, and there is no authentication", tuple(cures)))
    return found


def _ask_for_passwords() -> Cure:
    path = "/etc/triomq/passwd"
    purpose = f"to ask for passwords (`broker passwd add {path} NAME` makes a user)"
    return Cure(purpose, ("auth", "password_file"), f'"{path}"')
