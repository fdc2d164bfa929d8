"""File, environment and command line, laid over each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from broker.config.errors import ConfigError, Cure
from broker.config.sources import (
    COMMAND_LINE_VARIABLES,
    BindOrigin,
    DataOrigin,
    EnvironmentOrigin,
    FileOrigin,
    bind_table,
    read,
    variable_names,
)

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = [{"type": "tcp"}, {"type": "ws"}]


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "broker.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def messages(environ: dict[str, str], path: Path | None = None) -> list[str]:
    return [str(mistake) for _, mistake in read(path, environ).mistakes]


# -- File


def test_nothing_at_all() -> None:
    sources = read(None, {})
    assert sources.data == {"listeners": DEFAULT}
    assert sources.origins == {}


def test_values_of_a_file_have_their_place(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nmaximum_qos = 1\n")
    sources = read(path, {})
    assert sources.data == {"limits": {"maximum_qos": 1}, "listeners": DEFAULT}
    origin = sources.origin(("limits", "maximum_qos"))
    assert origin is not None
    assert origin.title() == f"{path}:2"


def test_listeners_of_a_file_replace_those_of_the_default(tmp_path: Path) -> None:
    assert read(written(tmp_path, '[[listeners]]\ntype = "auto"\n'), {}).data["listeners"] == [{"type": "auto"}]


def test_the_nearest_place_counts(tmp_path: Path) -> None:
    sources = read(written(tmp_path, "[limits]\n\n[[listeners]]\nport = 1\n"), {})
    nearest = sources.origin(("listeners", 0, "type"))
    assert isinstance(nearest, FileOrigin)
    assert nearest.title().endswith(":3")
    assert sources.origin(("server", "sessions")) is None


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    sources = read(written(tmp_path, b"\xef\xbb\xbf[limits]\nmaximum_qos = 1\n"), {})
    assert sources.data["limits"] == {"maximum_qos": 1}


@pytest.mark.parametrize(
    ("text", "line", "column", "excerpt"),
    [
        ("[limits]\nmaximum_qos 1\n", 2, 13, "maximum_qos 1\n            ^"),
        ("a = [1,\n\n", 1, 8, "a = [1,\n       ^"),
        ("a =", 1, 4, "a =\n   ^"),
        ("[limits]\n\tx = yes\n", 2, 6, "\tx = yes\n\t    ^"),
        ("# ä\r\na = 'x\r\n", 2, 7, "a = 'x\n      ^"),
    ],
)
def test_syntax_mistakes_have_their_place(tmp_path: Path, text: str, line: int, column: int, excerpt: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(path, {})
    (mistake,) = caught.value.mistakes
    assert mistake.where == f"{path}:{line}:{column}"
    assert mistake.message.startswith("is not TOML: ")
    assert "(at" not in mistake.message
    assert mistake.excerpt == excerpt


def test_a_setting_given_twice_is_a_syntax_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"broker\.toml:2:\d+: is not TOML: cannot overwrite"):
        read(written(tmp_path, "a = 1\na = 2\n"), {})


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    path = written(tmp_path, b"# ok\n# b\xff\n")
    with pytest.raises(ConfigError) as caught:
        read(path, {})
    assert str(caught.value) == f"{path}:2:4: is not UTF-8"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "nowhere.toml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path, {})


# -- Environment


def test_variables_go_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nversions = ['5.0', '4']\nmaximum_qos = 1\n")
    sources = read(path, {"BROKER_LIMITS__VERSIONS": "5", "BROKER_LOG__LEVEL": "debug", "HOME": "/"})
    assert sources.data["limits"] == {"versions": "5", "maximum_qos": 1}
    assert sources.data["log"] == {"level": "debug"}
    assert isinstance(sources.origin(("limits", "versions")), EnvironmentOrigin)
    assert ("limits", "versions", 1) not in sources.origins
    assert isinstance(sources.origin(("limits", "maximum_qos")), FileOrigin)
    assert sources.mistakes == []


def test_listeners_are_numbered() -> None:
    sources = read(
        None,
        {
            "BROKER_LISTENERS__0__PORT": "1884",
            "BROKER_LISTENERS__1__LIMITS__OVERFLOW": "latest",
            "BROKER_LISTENERS__2__TYPE": "unix",
            "BROKER_LISTENERS__2__PATH": "/x",
        },
    )
    assert sources.data["listeners"] == [
        {"type": "tcp", "port": "1884"},
        {"type": "ws", "limits": {"overflow": "latest"}},
        {"type": "unix", "path": "/x"},
    ]
    assert sources.mistakes == []


def test_listeners_are_appended_in_the_order_of_their_numbers() -> None:
    environ = {f"BROKER_LISTENERS__{number}__PORT": str(number) for number in range(12)}
    sources = read(None, environ)
    assert [listener["port"] for listener in sources.data["listeners"]] == [str(number) for number in range(12)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BROKER_LISTENERS__0__TLS__HOSTS__1__KEY", "there are 0 hosts before this; the next has the number 0"),
        (
            "BROKER_LISTENERS__0__TLS__HOSTS__KEY__X",
            "hosts are numbered from 0, as in BROKER_LISTENERS__0__TLS__HOSTS__0__X",
        ),
        ("BROKER_LISTENERS__0__TLS__HOSTS__0", "a host is a table"),
        ("BROKER_LISTENERS__3__PORT", "there are 2 listeners before this; the next has the number 2"),
        ("BROKER_LISTENERS__TCP__PORT", "numbered from 0, as in BROKER_LISTENERS__0__PORT"),
        ("BROKER_LISTENERS__0", "a listener is a table"),
        ("BROKER_LIMITS", "[limits] is a table: set its keys, such as BROKER_LIMITS__VERSIONS"),
        ("BROKER_LISTENERS", "[listeners] is a table: set its keys, such as BROKER_LISTENERS__0__TYPE"),
        ("BROKER_LOG_LEVEL", "unknown setting; did you mean BROKER_LOG__LEVEL?"),
        ("BROKER_LIMITS_MAX_PACKET_SIZE", "unknown setting; did you mean BROKER_LIMITS__MAXIMUM_PACKET_SIZE?"),
        ("BROKER_LISTENERS_0_PORT", "unknown setting; did you mean BROKER_LISTENERS__0__PORT?"),
        ("BROKER_SERVER_Q", "unknown setting"),
    ],
)
def test_names_that_mean_nothing(name: str, words: str) -> None:
    (message,) = messages({name: "1"})
    assert message.startswith(f"{name}: ")
    assert words in message


def test_below_a_value_there_is_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nmaximum_qos = 1\n")
    assert messages({"BROKER_LIMITS__MAXIMUM_QOS__X": "1"}, path) == [
        "BROKER_LIMITS__MAXIMUM_QOS__X: limits.maximum_qos has no settings below it"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *COMMAND_LINE_VARIABLES,
        "BROKER_SERVICE_HOST",
        "BROKER_PORT",
        "BROKER_PORT_1883_TCP_ADDR",
        "BROKER_SERVER_SERVICE_HOST",
        "BROKER_SERVER_PORT_1883_TCP",
        "BROKER_COLOUR",
        "BROKERS_LIMITS__X",
        "broker_limits__x",
    ],
)
def test_names_of_others_are_left_alone(name: str) -> None:
    sources = read(None, {name: "tcp://10.0.0.1:1883"})
    assert sources.mistakes == []
    assert sources.data == {"listeners": DEFAULT}


def test_variable_names() -> None:
    assert variable_names("log") == ["BROKER_LOG__LEVEL", "BROKER_LOG__FORMAT"]
    names = variable_names("listeners")
    assert "BROKER_LISTENERS__0__PORT" in names
    assert "BROKER_LISTENERS__0__LIMITS__OVERFLOW" in names
    assert "BROKER_LISTENERS__0__LIMITS" not in names
    assert "BROKER_LISTENERS__0__TLS__HOSTS__0__NAMES" in names


# -- Command line


def test_binds_replace_all_listeners(tmp_path: Path) -> None:
    path = written(tmp_path, '[[listeners]]\ntype = "auto"\n')
    sources = read(path, {"BROKER_LISTENERS__0__PORT": "1"}, ["tcp://127.0.0.1:5", "unix:/x"])
    assert sources.data["listeners"] == [
        {"type": "tcp", "host": "127.0.0.1", "port": 5},
        {"type": "unix", "path": "/x"},
    ]
    origin = sources.origin(("listeners", 1, "path"))
    assert origin is not None
    assert origin.title() == "--bind unix:/x"


def test_every_wrong_bind_is_named() -> None:
    sources = read(None, {}, ["tpc://x", "tcp://127.0.0.1", "ws:/x"])
    assert [str(mistake).split(": ")[0] for _, mistake in sources.mistakes] == ["--bind tpc://x", "--bind ws:/x"]
    assert sources.data["listeners"] == [{"type": "tcp", "host": "127.0.0.1"}]


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("tcp://127.0.0.1:1884", {"type": "tcp", "host": "127.0.0.1", "port": 1884}),
        ("TCP://127.0.0.1", {"type": "tcp", "host": "127.0.0.1"}),
        ("tcp://localhost:0/", {"type": "tcp", "host": "localhost", "port": 0}),
        ("tcp://[::1]:1883", {"type": "tcp", "host": "::1", "port": 1883}),
        ("ws://[::]", {"type": "ws", "host": "::"}),
        ("tcp://[fe80::1%25eth0]:1", {"type": "tcp", "host": "fe80::1%eth0", "port": 1}),
        (
            "ws://0.0.0.0:8080/mqtt",
            {"type": "ws", "host": "0.0.0.0", "port": 8080, "limits": {"websocket_paths": ["/mqtt"]}},
        ),
        ("ws://0.0.0.0/", {"type": "ws", "host": "0.0.0.0"}),
        ("auto://0.0.0.0/a/b", {"type": "auto", "host": "0.0.0.0", "limits": {"websocket_paths": ["/a/b"]}}),
        (
            "tcp://0.0.0.0?allow_anonymous=true&name=all",
            {"type": "tcp", "host": "0.0.0.0", "allow_anonymous": "true", "name": "all"},
        ),
        (
            "mqtts://0.0.0.0?certificate=/c.pem&key=/k.pem&client_ca=/ca&user_name=cn",
            {
                "type": "tcp",
                "host": "0.0.0.0",
                "tls": {"certificate": "/c.pem", "key": "/k.pem", "client_ca": "/ca", "user_name": "cn"},
            },
        ),
        (
            "wss://[::1]:1/x?certificate=c",
            {
                "type": "ws",
                "host": "::1",
                "port": 1,
                "limits": {"websocket_paths": ["/x"]},
                "tls": {"certificate": "c"},
            },
        ),
        ("unix:/run/broker.sock", {"type": "unix", "path": "/run/broker.sock"}),
        ("unix:///run/broker.sock", {"type": "unix", "path": "/run/broker.sock"}),
        ("unix:broker.sock?mode=600", {"type": "unix", "path": "broker.sock", "mode": "600"}),
    ],
)
def test_binds(text: str, table: dict[str, Any]) -> None:
    assert bind_table(text) == table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with tcp://, ws://, auto://, mqtts://, wss:// or unix:"),
        ("1883", "did you mean 'tcp://1883'?"),
        ("0.0.0.0:1883", "did you mean 'tcp://0.0.0.0:1883'?"),
        ("tcpp://x", "did you mean 'tcp'?"),
        ("mqtt://0.0.0.0", "write tcp://0.0.0.0 for a listener"),
        ("http://0.0.0.0", "write ws://0.0.0.0 for a listener"),
        ("https://0.0.0.0", "write wss://0.0.0.0 for a listener"),
        ("ssl://0.0.0.0", "write mqtts://0.0.0.0 for a listener"),
        ("wss://0.0.0.0", "needs a certificate: wss://0.0.0.0?certificate=FILE&key=FILE, or [listeners.tls] in a"),
        ("mqtts://x?name=a", "needs a certificate: mqtts://x?name=a&certificate=FILE&key=FILE, or"),
        ("mqtts://x/path", "a tcp listener has no path"),
        ("mqtts://x?certifcate=a", "unknown setting 'certifcate'; did you mean 'certificate'?"),
        ("tcp:127.0.0.1", "write tcp://127.0.0.1 with two slashes"),
        ("tcp://", "needs a host"),
        ("tcp://:1883", "needs a host"),
        ("tcp://x:port", "is no address: "),
        ("tcp://x:65536", "is no address: port out of range"),
        ("tcp://[::1", "is no address: "),
        ("tcp://user@x", "no user and no password"),
        ("tcp://x/path", "a tcp listener has no path"),
        ("ws://x/#y", "an address has no #"),
        ("unix:", "needs a path"),
        ("tcp://x?alow_anonymous=true", "unknown setting 'alow_anonymous'; did you mean 'allow_anonymous'?"),
    ],
)
def test_wrong_binds(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        bind_table(text)


def test_remedies_speak_the_language_of_the_source(tmp_path: Path) -> None:
    cure = Cure("to let in everybody", ("listeners", 0, "allow_anonymous"), "true")
    in_file = read(written(tmp_path, '[[listeners]]\ntype = "tcp"\n'), {}).origin(("listeners", 0, "type"))
    assert in_file is not None
    assert in_file.remedy(cure) == "    to let in everybody, add to this table:\n        allow_anonymous = true"
    assert "\n        BROKER_LISTENERS__0__ALLOW_ANONYMOUS=true" in EnvironmentOrigin("BROKER_X", 0).remedy(cure)
    assert "--bind 'tcp://x?allow_anonymous=true'" in BindOrigin("tcp://x", 0).remedy(cure)
    assert "--bind 'tcp://x?name=a&allow_anonymous=true'" in BindOrigin("tcp://x?name=a", 0).remedy(cure)


def test_remedies_in_a_table_of_the_listener(tmp_path: Path) -> None:
    cure = Cure("to know", ("listeners", 0, "tls", "user_name"), '"cn"')
    in_file = read(written(tmp_path, '[[listeners]]\ntype = "tcp"\n'), {}).origin(("listeners", 0, "type"))
    assert in_file is not None
    assert in_file.remedy(cure) == '    to know, add to [listeners.tls]:\n        user_name = "cn"'
    assert EnvironmentOrigin("BROKER_X", 0).remedy(cure).endswith("BROKER_LISTENERS__0__TLS__USER_NAME=cn")
    assert BindOrigin("mqtts://x?key=k", 0).remedy(cure).endswith("--bind 'mqtts://x?key=k&user_name=cn'")


def test_remedies_in_another_table(tmp_path: Path) -> None:
    cure = Cure("to ask", ("store", "path"), '"/x"')
    in_file = read(written(tmp_path, '[[listeners]]\ntype = "tcp"\n'), {}).origin(("listeners", 0, "type"))
    assert in_file is not None
    assert in_file.remedy(cure) == '    to ask, add to the file:\n        [store]\n        path = "/x"'
    for origin in (EnvironmentOrigin("BROKER_X", 0), BindOrigin("tcp://x", 0), DataOrigin("/y")):
        assert origin.remedy(cure) == "    to ask, set:\n        BROKER_STORE__PATH=/x"


def test_hosts_of_a_listener_by_variables() -> None:
    environ = {
        "BROKER_LISTENERS__0__TLS__CERTIFICATE": "/c",
        "BROKER_LISTENERS__0__TLS__HOSTS__0__NAMES": "a,b",
        "BROKER_LISTENERS__0__TLS__HOSTS__1__NAMES": "c",
    }
    sources = read(None, environ)
    assert sources.mistakes == []
    assert sources.data["listeners"][0]["tls"] == {"certificate": "/c", "hosts": [{"names": "a,b"}, {"names": "c"}]}
    origin = sources.origin(("listeners", 0, "tls", "hosts", 1, "certificate"))
    assert origin is not None
    assert origin.title() == "BROKER_LISTENERS__0__TLS__HOSTS__1__NAMES"
