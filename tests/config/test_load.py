"""All sources together, all mistakes at once."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from broker.config import ConfigError, Mistake, load, load_with_sources, parse_bind
from broker.config.settings import LISTS, TABLES, title

if TYPE_CHECKING:
    from pathlib import Path


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "broker.toml"
    path.write_text(text, "utf-8")
    return path


def mistakes(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """The mistakes of a file, without its path: "line:column: message"."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return [str(mistake).removeprefix(f"{path}:") for mistake in caught.value.mistakes]


# -- Order of the sources


def test_defaults_without_anything() -> None:
    config = load(None, {})
    assert [listener.bind for listener in config.listeners] == ["tcp://127.0.0.1:1883", "ws://127.0.0.1:8080"]


def test_defaults_then_file_then_environment_then_flags(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[limits]\nmaximum_qos = 1\nreceive_maximum = 5\n[[listeners]]\ntype = "tcp"\nport = 2000\nname = "file"\n',
    )
    environ = {"BROKER_LIMITS__RECEIVE_MAXIMUM": "6", "BROKER_LISTENERS__0__PORT": "3000"}
    config = load(path, environ)
    assert [(listener.name, listener.port) for listener in config.listeners] == [("file", 3000)]
    assert (config.limits.maximum_qos, config.limits.receive_maximum, config.limits.topic_levels) == (1, 6, 128)
    config = load(path, environ, ["ws://127.0.0.1:4000"])
    assert [(listener.type, listener.name, listener.port) for listener in config.listeners] == [("ws", "", 4000)]
    assert config.listeners[0].build_limits().receive_maximum == 6


def test_the_data_folder_of_each_source(tmp_path: Path) -> None:
    path = written(tmp_path, '[store]\npath = "/file"\ndurability = "written"\n')
    environ = {"BROKER_STORE__PATH": "/environment"}
    for config, folder in (
        (load(path, {}), "/file"),
        (load(path, environ), "/environment"),
        (load(path, environ, data="/command"), "/command"),
    ):
        assert (str(config.store.path), config.store.durability) == (folder, "written")
    assert load(None, {}, data="/command").store.durability == "fsync"


def test_a_data_folder_that_is_none() -> None:
    for data, environ, where in (("", {}, "--data"), (None, {"BROKER_STORE__PATH": ""}, "BROKER_STORE__PATH")):
        with pytest.raises(ConfigError) as caught:
            load(None, environ, data=data)
        assert str(caught.value) == f"{where}: must name a folder; without one leave the setting out"


def test_data_beside_a_store_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="store: must be a table"):
        load(written(tmp_path, "store = 5\n"), {}, data="/x")


def test_variables_are_read_as_their_kind() -> None:
    config = load(
        None,
        {
            "BROKER_LIMITS__MAXIMUM_PACKET_SIZE": "2MB",
            "BROKER_LIMITS__VERSIONS": "3.1.1,5.0",
            "BROKER_LIMITS__TCP_NODELAY": "false",
            "BROKER_LIMITS__KEEP_ALIVE_GRACE": "2",
            "BROKER_LIMITS__HANDSHAKE_TIMEOUT": "500ms",
            "BROKER_LISTENERS__1__PORT": "0",
            "BROKER_LISTENERS__1__LIMITS__ORIGINS": "*",
            "BROKER_SERVER__SYS_INTERVAL": "0",
            "BROKER_LOG__LEVEL": "WARNING",
            "BROKER_URL": "mqtt://elsewhere",
        },
    )
    limits = config.listeners[1].build_limits()
    assert (limits.maximum_packet_size, limits.versions, limits.tcp_nodelay) == (2_000_000, (4, 5), False)
    assert (limits.keep_alive_grace, limits.handshake_timeout, limits.origins) == (2.0, 0.5, ("*",))
    assert config.listeners[0].build_limits().origins == ("same-origin",)
    assert config.listeners[1].port == 0
    assert config.server_limits().sys_interval == 0
    assert config.log.level == "warning"


def test_whence_each_setting_came(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nmaximum_qos = 1\n")
    _, sources = load_with_sources(path, {"BROKER_LOG__LEVEL": "debug"}, ["unix:/x"])
    origins = [
        sources.origin(loc) for loc in (("limits", "maximum_qos"), ("log", "level"), ("listeners", 0), ("server",))
    ]
    assert [origin.title() if origin else None for origin in origins] == [
        f"{path}:2",
        "BROKER_LOG__LEVEL",
        "--bind unix:/x",
        None,
    ]


# -- One mistake, its place and its words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[limits]\nmax_inflght = 20\n",
            "2:1: limits.max_inflght: unknown setting 'max_inflght'; did you mean 'max_inflight'?\n"
            "    max_inflght = 20\n    ^^^^^^^^^^^",
        ),
        (
            '[[listeners]]\ntype = "tcp"\n\n[[listeners]]\nport = 1\ntype = "wss"\n',
            "6:8: listeners[1].type: must be one of tcp, ws, unix, auto, not \"wss\"; did you mean 'ws'?\n"
            '    type = "wss"\n           ^^^^^',
        ),
        (
            "[[listeners]]\nport = 1\n",
            "1:3: listeners[0].type: is missing; a listener needs its type, one of tcp, ws, unix, auto\n"
            "    [[listeners]]\n      ^^^^^^^^^",
        ),
        (
            '[limits]\n  "topic_levels" = true # levels\n',
            "2:20: limits.topic_levels: must be a number, not true\n"
            '      "topic_levels" = true # levels\n                       ^^^^',
        ),
        (
            "limits = { maximum_qos = 3 }",
            "1:26: limits.maximum_qos: must be at most 2, not 3\n"
            "    limits = { maximum_qos = 3 }\n                             ^",
        ),
        (
            "limits.receive_maximum = 0",
            "1:26: limits.receive_maximum: must be at least 1, not 0\n"
            "    limits.receive_maximum = 0\n                             ^",
        ),
        (
            "[limits]\nwebsocket_paths = [\n  '/mqtt',\n  'ws',\n]\n",
            '4:3: limits.websocket_paths[1]: must be a path such as "/mqtt", not "ws"\n      \'ws\',\n      ^^^^',
        ),
        (
            "[limits]\nwebsocket_paths = [\n]\n",
            "2:19: limits.websocket_paths: must not be empty\n    websocket_paths = [\n                      ^",
        ),
        (
            '[limits]\nretain_available = "perhaps"\n',
            '2:20: limits.retain_available: must be true or false, not "perhaps"\n'
            '    retain_available = "perhaps"\n                       ^^^^^^^^^',
        ),
        (
            "[limits]\nqueue_messages = 1.5\n",
            "2:18: limits.queue_messages: must be a whole number, not 1.5\n"
            "    queue_messages = 1.5\n                     ^^^",
        ),
        (
            "[limits]\nhandshake_timeout = 0\n",
            "2:21: limits.handshake_timeout: must be more than 0, not 0\n"
            "    handshake_timeout = 0\n                        ^",
        ),
        (
            "[limits]\nresponse_information = 5\n",
            "2:24: limits.response_information: must be a string, not 5\n"
            "    response_information = 5\n                           ^",
        ),
        (
            "[limits]\norigins = 5\n",
            "2:11: limits.origins: must be an array, not 5\n    origins = 5\n              ^",
        ),
        ("limits = 3", "1:10: limits: must be a table, not 3\n    limits = 3\n             ^"),
        (
            '[listeners]\ntype = "tcp"\n',
            "1:2: listeners: must be an array of tables: write [[listeners]]\n    [listeners]\n     ^^^^^^^^^",
        ),
        ("listeners = [3]", "1:14: listeners[0]: must be a table, not 3\n    listeners = [3]\n                 ^"),
        (
            "[limits]\n\toverflow = 'lates'\n",
            '2:13: limits.overflow: must be one of drop-newest, drop-oldest, latest, disconnect, not "lates"; '
            "did you mean 'latest'?\n    \toverflow = 'lates'\n    \t           ^^^^^^^",
        ),
    ],
)
def test_one_mistake(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


REQUIRED = {"type": "'tcp'", "certificate": "'NAME'", "names": "['x']", "algorithm": "'RS256'"}
REQUIRED |= {"key_file": "'NAME'", "url": "'https://x'", "name": "'x'"}
MISSPELT = [(table, name) for table, model in TABLES.items() for name in model.model_fields]


@pytest.mark.parametrize(("table", "name"), MISSPELT, ids=lambda value: ".".join(value) if value else "top")
def test_every_setting_misspelt_is_recognised(
    tmp_path: Path, server_pem: Path, table: tuple[str, ...], name: str
) -> None:
    middle = len(name) // 2
    wrong = name[:middle] + name[middle + 1 :]  # a letter lost
    header = ""
    for length in range(1, len(table) + 1):
        fields = TABLES[table[:length]].model_fields
        header += f"{title(table[:length])}\n"
        header += "".join(
            f"{key} = {REQUIRED[key]}\n".replace("NAME", str(server_pem))
            for key, field in fields.items()
            if field.is_required()
        )
    (mistake,) = mistakes(tmp_path, f"{header}{wrong} = 1\n")
    line = header.count("\n") + 1
    assert mistake.startswith(f"{line}:1: ")
    assert f"unknown setting '{wrong}'; did you mean '{name}'?" in mistake
    assert mistake.endswith(f"    {wrong} = 1\n    {'^' * len(wrong)}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[limits]\nretained_messages = 5\n", "it belongs in [server]"),
        ("maximum_qos = 5\n", "it belongs in [limits]"),
        ('[[listeners]]\ntype = "tcp"\nmaximum_qos = 5\n', "it belongs in [listeners.limits]"),
        ("[server]\nmaximum_qos = 5\n", "it belongs in [limits]"),
        ("port = 5\n", "it belongs in [[listeners]]"),
        ("[limits]\nretaind_messages = 5\n", "did you mean 'retained_messages' in [server]?"),
        ("[[listener]]\nport = 5\n", "did you mean 'listeners'?"),
        ("[colours]\nred = 5\n", "unknown setting 'colours'\n"),
    ],
)
def test_settings_in_the_wrong_place(tmp_path: Path, text: str, hint: str) -> None:
    assert len(mistakes(tmp_path, text)) == 1
    assert hint in mistakes(tmp_path, text)[0]


# -- Many mistakes at once


MANY = """\
[limits]
maximum_qos = 3
max_inflght = 20
outbox_soft_bytes = "8MiB"

[[listeners]]
type = "tcp"
host = "0.0.0.0"
port = "high"

[[listeners]]
type = "wss"
name = "web"

[[listeners]]
type = "unix"

[listeners.limits]
versions = ["5.0", "6.0"]

[log]
level = "loud"
"""


def test_many_mistakes_are_all_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        MANY,
        {"BROKER_LIMITS__TOPIC_LEVELS": "none", "BROKER_LOGG__LEVEL": "x", "BROKER_LIMITS__RECEIVE": "1"},
    )
    assert [mistake.split("\n")[0] for mistake in found] == [
        "2:15: limits.maximum_qos: must be at most 2, not 3",
        "3:1: limits.max_inflght: unknown setting 'max_inflght'; did you mean 'max_inflight'?",
        "4:21: limits.outbox_soft_bytes: outbox_soft_bytes (8MiB) must not exceed outbox_hard_bytes (4MiB)",
        "8:8: listeners[0].host: 0.0.0.0 is reached from other machines, and there is no authentication",
        '9:8: listeners[0].port: must be a whole number, not "high"',
        "12:8: listeners[1].type: must be one of tcp, ws, unix, auto, not \"wss\"; did you mean 'ws'?",
        '16:8: listeners[2].type: a unix listener needs `path`, such as "/run/broker.sock"',
        '19:20: listeners[2].limits.versions[1]: "6.0" is no version of MQTT; there are "3.1", "3.1.1" and "5.0"',
        '22:9: log.level: must be one of debug, info, warning, error, not "loud"',
        "BROKER_LIMITS__RECEIVE: unknown setting; did you mean BROKER_LIMITS__RECEIVE_MAXIMUM?",
        'BROKER_LIMITS__TOPIC_LEVELS: must be a whole number, not "none"',
        "BROKER_LOGG__LEVEL: unknown setting; did you mean BROKER_LOG__LEVEL?",
    ]


def test_the_text_of_the_error_is_the_whole_list(tmp_path: Path) -> None:
    path = written(tmp_path, MANY)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value) == "\n".join(str(mistake) for mistake in caught.value.mistakes)
    assert len(caught.value.mistakes) == 9


def test_what_is_wrong_itself_is_not_judged_with_others(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, '[limits]\noutbox_soft_bytes = "8MiB"\noutbox_hard_bytes = "lots"\n')) == 1
    assert len(mistakes(tmp_path, '[[listeners]]\ntype = "unx"\npath = "/x"\n')) == 1
    assert len(mistakes(tmp_path, '[[listeners]]\npath = "/x"\nmode = 0o600\n')) == 1
    assert len(mistakes(tmp_path, '[[listeners]]\ntype = "tcp"\nhost = "::"\nallow_anonymous = "si"\n')) == 1


def test_several_things_wrong_below_one_array(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, "[limits]\nversions = ['1']\n")) == 1
    assert len(mistakes(tmp_path, "[limits]\nversions = ['1', '2', '5.0']\n")) == 2


def test_mistakes_in_variables_and_binds_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"BROKER_LIMITS__MAXIMUM_QOS": "4", "BROKER_SERVER_SESSIONS": "4"}, ["tcp://x:y", "unix:/x?mode=rw"])
    assert str(caught.value).split("\n") == [
        'BROKER_LIMITS__MAXIMUM_QOS: must be at most 2, not "4"',
        "BROKER_SERVER_SESSIONS: unknown setting; did you mean BROKER_SERVER__SESSIONS?",
        "--bind tcp://x:y: is no address: port could not be cast to integer value as 'y'",
        '--bind unix:/x?mode=rw: mode must be an octal number such as 0o660 or "660", not "rw"',
    ]


VALUES = [
    "5",
    "-1",
    '"x"',
    '""',
    "true",
    "[]",
    '["a"]',
    "[1]",
    "[[1]]",
    "{}",
    "{ a = 1 }",
    "[{}]",
    "1.5",
    '"::"',
    "nan",
]


def any_table(path: tuple[str, ...], luck: random.Random) -> str:
    """A table with some of its keys, many of them with values that they cannot have."""
    pairs = ["unknwn = 1"] if luck.random() < 0.1 else []
    for name, field in TABLES[path].model_fields.items():
        below = (*path, name)
        if luck.random() < 0.6:
            continue
        value = luck.choice(VALUES)
        if below in LISTS and luck.random() < 0.8:
            value = f"[{', '.join(any_table(below, luck) for _ in range(luck.randint(0, 3)))}]"
        elif below in TABLES and luck.random() < 0.8:
            value = any_table(below, luck)
        elif field.examples and luck.random() < 0.5:
            value = json.dumps(field.examples[0])
        pairs.append(f"{name} = {value}")
    return f"{{ {', '.join(pairs)} }}" if path else "\n".join(pairs)


def test_whatever_a_file_says_it_is_used_or_its_mistakes_are_told(tmp_path: Path) -> None:
    luck = random.Random(5)
    told: list[Mistake] = []
    used = 0
    for _ in range(100):
        path = written(tmp_path, any_table((), luck))
        try:
            load(path, {})
            used += 1
        except ConfigError as error:
            told += error.mistakes
    assert used < 100 < len(told)
    for mistake in told:
        assert mistake.message
        assert mistake.where.startswith(str(tmp_path / "broker.toml"))


# -- Who may connect


def test_beyond_loopback_the_lines_to_add_are_told(tmp_path: Path) -> None:
    text = '[[listeners]]\ntype = "ws"\nhost = "0.0.0.0"\n'
    assert mistakes(tmp_path, text) == [
        "3:8: listeners[0].host: 0.0.0.0 is reached from other machines, and there is no authentication\n"
        '    host = "0.0.0.0"\n           ^^^^^^^^^\n'
        "    to ask for passwords (`broker passwd add /etc/triomq/passwd NAME` makes a user), add to the file:\n"
        "        [auth]\n"
        '        password_file = "/etc/triomq/passwd"\n'
        "    to let in everybody all the same, add to this table:\n"
        "        allow_anonymous = true"
    ]
    assert load(written(tmp_path, f"{text}allow_anonymous = true\n"), {}).listeners[0].anonymous_allowed


def test_beyond_loopback_by_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"BROKER_LISTENERS__1__HOST": "::"})
    assert str(caught.value) == (
        "BROKER_LISTENERS__1__HOST: :: is reached from other machines, and there is no authentication\n"
        "    to ask for passwords (`broker passwd add /etc/triomq/passwd NAME` makes a user), set:\n"
        "        BROKER_AUTH__PASSWORD_FILE=/etc/triomq/passwd\n"
        "    to let in everybody all the same, set:\n"
        "        BROKER_LISTENERS__1__ALLOW_ANONYMOUS=true"
    )
    load(None, {"BROKER_LISTENERS__1__HOST": "::", "BROKER_LISTENERS__1__ALLOW_ANONYMOUS": "true"})


def test_beyond_loopback_by_bind() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {}, ["ws://0.0.0.0:8080/mqtt"])
    assert "--bind 'ws://0.0.0.0:8080/mqtt?allow_anonymous=true'" in str(caught.value)
    assert load(None, {}, ["ws://0.0.0.0:8080/mqtt?allow_anonymous=true"]).listeners[0].anonymous_allowed


def test_nobody_could_connect(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, '[[listeners]]\ntype = "tcp"\nallow_anonymous = false\n')
    assert mistake.startswith("3:19: listeners[0].allow_anonymous: nobody could connect")


# -- parse_bind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://127.0.0.1", ("tcp", "127.0.0.1", 1883, "", None)),
        ("ws://[::1]", ("ws", "::1", 8080, "", None)),
        ("auto://0.0.0.0", ("auto", "0.0.0.0", 1883, "", None)),
        ("tcp://0.0.0.0:0?allow_anonymous=true", ("tcp", "0.0.0.0", 0, "", True)),
        ("unix:/run/x?mode=600", ("unix", "", 0, "/run/x", None)),
    ],
)
def test_parse_bind(text: str, expected: tuple[Any, ...]) -> None:
    listener = parse_bind(text)
    assert (listener.type, listener.host, listener.port, listener.path, listener.allow_anonymous) == expected


def test_parse_bind_with_a_path() -> None:
    assert parse_bind("ws://127.0.0.1:8080/mqtt").build_limits().websocket_paths == ("/mqtt",)
    assert parse_bind("ws://127.0.0.1:8080").build_limits().websocket_paths == ("/mqtt", "/")


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:1884", "ws://[::1]:8081", "auto://host.example:0", "unix:/run/x"])
def test_a_listener_says_its_bind(bind: str) -> None:
    assert parse_bind(bind).bind == bind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "tpc://x",
            "--bind tpc://x: must begin with tcp://, ws://, auto://, mqtts://, wss:// or unix:; did you mean 'tcp'?",
        ),
        ("tcp://a_b c", '--bind tcp://a_b c: host must be an address or a name alone, not "a_b c"'),
        ("tcp://x?mode=600", "--bind tcp://x?mode=600: mode: only a unix listener has a mode"),
    ],
)
def test_parse_bind_refuses(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bind(text)
    assert str(caught.value) == expected
