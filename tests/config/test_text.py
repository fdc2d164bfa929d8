"""The sample, the schema and the guide say what the code does, and are not stale."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from broker.config import Config, load, load_with_sources, schema
from broker.config.limits import LimitsConfig
from broker.config.settings import TABLES, ListenerConfig, title
from broker.config.text import guide, guide_table, in_force, sample, schema_text, setting, write

ROOT: Final = Path(__file__).parent.parent.parent
GUIDE: Final = ROOT / "docs" / "guides" / "configuration.md"
AGAIN: Final = "stale: run `python -m broker.config.text`"


def test_nothing_generated_is_stale() -> None:
    assert (ROOT / "config" / "broker.toml").read_text("utf-8") == sample(), AGAIN
    assert (ROOT / "config" / "broker.schema.json").read_text("utf-8") == schema_text(), AGAIN
    assert GUIDE.read_text("utf-8") == guide(GUIDE.read_text("utf-8")), AGAIN


def test_writing_anew(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "docs" / "guides").mkdir(parents=True)
    page = tmp_path / "docs" / "guides" / "configuration.md"
    page.write_text(re.sub(r"(?m)^\|.*\n", "", GUIDE.read_text("utf-8")), "utf-8")
    write(tmp_path)
    assert page.read_text("utf-8") == GUIDE.read_text("utf-8")
    assert (tmp_path / "config" / "broker.toml").read_text("utf-8") == sample()
    assert json.loads((tmp_path / "config" / "broker.schema.json").read_text("utf-8")) == schema()


# -- The sample


def test_the_sample_is_the_default() -> None:
    config = load(ROOT / "config" / "broker.toml", {})
    assert config.model_dump() == Config().model_dump()


def test_the_sample_begins_with_its_schema() -> None:
    assert sample().startswith("#:schema ./broker.schema.json\n")


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (table, name)
        for table, model in TABLES.items()
        if table not in ((), ("listeners", "limits"))
        for name in model.model_fields
    ],
)
def test_the_sample_has_every_key_with_its_sentence(table: tuple[str, ...], name: str) -> None:
    sentence = str(TABLES[table].model_fields[name].description)
    text = sample().replace("\n# ", " ")  # unfold comments
    header = re.escape(f"#{title((*table, name))}") if (*table, name) in TABLES else rf"#?{name} = "
    assert re.search(rf"{re.escape(sentence)}\n{header}", text)


def test_the_sample_has_each_key_once_in_its_table() -> None:
    data = tomllib.loads(sample())
    assert set(data) == {"log", "listeners", "auth", "limits", "server", "store", "web"}
    for table in ("log", "limits", "server"):
        fields = TABLES[(table,)].model_fields
        switched_off = {name for name, field in fields.items() if field.examples}
        assert set(data[table]) == set(fields) - switched_off


def test_what_the_sample_has_switched_off_can_be_switched_on() -> None:
    config = Config.model_validate(tomllib.loads(re.sub(r"(?m)^#(?=\[|\w+ = )", "", sample())))
    assert [listener.type for listener in config.listeners] == ["tcp", "ws", "unix"]
    assert config.listeners[0].allow_anonymous
    assert config.listeners[2].mode == 0o660
    tls = config.listeners[0].tls
    assert tls is not None
    assert (str(tls.certificate), tls.user_name, tls.require_client_certificate) == (
        "/etc/triomq/server.pem",
        "cn",
        True,
    )
    assert config.auth_methods == ("certificate", "password")
    assert config.auth.jwt is not None
    assert [key.kid for key in config.auth.jwt.bound_keys] == ["2026-a", ""]
    assert config.auth.http is not None
    assert config.roles[0].allow_publish == ("site/%u/#",)
    assert tls.hosts[0].names == ("mqtt.example.org", "*.mqtt.example.org")
    assert str(config.listeners[0].trusted_proxies[0]) == "10.0.0.0/8"
    store = config.store
    assert (str(store.path), store.durability) == ("/var/lib/triomq", "fsync")
    assert (store.reserve, store.ballast) == (64 << 20, 16 << 20)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("versions", (4, 5), 'versions = ["3.1.1", "5.0"]'),
        ("maximum_packet_size", 1 << 20, 'maximum_packet_size = "1MiB"'),
        ("handshake_timeout", 0.5, 'handshake_timeout = "500ms"'),
        ("keep_alive_grace", 2.0, "keep_alive_grace = 2"),
        ("retain_available", False, "retain_available = false"),
        ("origins", ("*",), 'origins = ["*"]'),
        ("response_information", 'a"b', 'response_information = "a\\"b"'),
    ],
)
def test_setting(name: str, value: Any, line: str) -> None:
    assert setting(name, LimitsConfig.model_fields[name], value) == line


def test_a_mode_is_octal() -> None:
    assert setting("mode", ListenerConfig.model_fields["mode"], 0o640) == "mode = 0o640"


# -- What is in force


CHANGED = """\
[limits]
maximum_qos = 1

[[listeners]]
type = "ws"
allow_anonymous = true

[listeners.limits]
origins = ["*"]

[[listeners]]
type = "unix"
path = "/run/x"

[store]
path = "/var/x"
reserve = "1GiB"
"""


SECURED = """\
[[listeners]]
type = "tcp"
[listeners.tls]
certificate = "PEM"
[[listeners.tls.hosts]]
names = ["a", "b"]
certificate = "PEM"
[[listeners]]
type = "ws"
port = 1
trusted_proxies = ["10.0.0.0/8"]
tls = { certificate = "PEM", client_ca = "PEM", user_name = "san" }
[auth]
password_file = "PEM"
[auth.jwt]
keys = [{ algorithm = "HS256", key_file = "PEM" }]
[[roles]]
name = "a"
allow_publish = ["%u/#"]
[[roles]]
name = "b"
"""


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("text", ["", "listeners = []", CHANGED, SECURED])
def test_what_is_in_force_can_be_read_again(tmp_path: Path, server_pem: Path, text: str, changed: bool) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(text.replace("PEM", str(server_pem)))
    config, sources = load_with_sources(path, {"BROKER_LOG__LEVEL": "debug"}, [])
    path.write_text(in_force(config, sources, changed))
    assert load(path, {}).model_dump() == config.model_dump()


def test_each_value_in_force_has_its_source(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(CHANGED)
    config, sources = load_with_sources(path, {"BROKER_LOG__LEVEL": "debug"})
    lines = [re.sub(" +", " ", line) for line in in_force(config, sources).splitlines()]
    assert 'level = "debug" # BROKER_LOG__LEVEL' in lines
    assert 'format = "auto" # default' in lines
    assert f"maximum_qos = 1 # {path}:2" in lines
    assert f"[[listeners]] # {path}:4" in lines
    assert f'origins = ["*"] # {path}:9' in lines
    assert 'origins = ["same-origin"] # default' in lines
    assert "port = 8080 # default" in lines
    assert f'path = "/run/x" # {path}:13' in lines
    assert f'path = "/var/x" # {path}:16' in lines
    assert 'durability = "fsync" # default' in lines
    assert f'reserve = "1GiB" # {path}:17' in lines
    assert "ballast" not in "".join(lines)


def test_tables_in_tables_have_their_source(tmp_path: Path, server_pem: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(SECURED.replace("PEM", str(server_pem)))
    config, sources = load_with_sources(path, {"BROKER_ROLES__1__USERS": "ann", "BROKER_AUTH__SCRAM": "true"})
    text = "\n".join(re.sub(" +", " ", line) for line in in_force(config, sources, changed=True).splitlines())
    assert f'[listeners.tls]\ncertificate = "{server_pem}" # {path}:4\nkey = "{server_pem}" # default\n' in text
    assert f'[[listeners.tls.hosts]] # {path}:5\nnames = ["a", "b"] # {path}:6\n' in text
    assert f'trusted_proxies = ["10.0.0.0/8"] # {path}:11\n' in text
    assert "allow_anonymous = false # default\n" in text
    assert f'[auth]\npassword_file = "{server_pem}" # {path}:14\nscram = true # BROKER_AUTH__SCRAM\n\n' in text
    assert f"[[auth.jwt.keys]] # {path}:16\n" in text
    assert f'[[roles]] # {path}:20\nname = "b" # {path}:21\nusers = ["ann"] # BROKER_ROLES__1__USERS\n' in text


def test_binds_are_named_as_source() -> None:
    config, sources = load_with_sources(None, {}, ["ws://127.0.0.1/mqtt"])
    lines = [re.sub(" +", " ", line) for line in in_force(config, sources, changed=True).splitlines()]
    assert lines == [
        "[[listeners]] # --bind ws://127.0.0.1/mqtt",
        'type = "ws" # --bind ws://127.0.0.1/mqtt',
        'name = "" # default',
        'host = "127.0.0.1" # --bind ws://127.0.0.1/mqtt',
        "port = 8080 # default",
        "proxy_protocol = false # default",
        "trusted_proxies = [] # default",
        "",
        "[listeners.limits]",
        'websocket_paths = ["/mqtt"] # --bind ws://127.0.0.1/mqtt',
    ]


def test_data_is_named_as_source() -> None:
    config, sources = load_with_sources(None, {"BROKER_STORE__PATH": "/other"}, data="/var/x")
    lines = [re.sub(" +", " ", line) for line in in_force(config, sources, changed=True).splitlines()]
    assert lines[:2] == ["[store]", 'path = "/var/x" # --data /var/x']


# -- The guide


def test_the_guides_tables() -> None:
    limits = guide_table(("limits",))
    assert "| `maximum_qos` | `2` | `0` … `2` | Highest QoS" in limits
    assert '| `maximum_packet_size` | `"1MiB"` | `128` … `268435455` |' in limits
    assert '| `handshake_timeout` | `"5s"` | more than `0` … `"1h"` |' in limits
    assert "| `max_connections` | `0` | `0` … |" in limits
    assert "`drop-newest`, `drop-oldest`, `latest`, `disconnect`" in limits
    store = guide_table(("store",))
    assert "| `path` | not set |  | Folder" in store
    assert '| `durability` | `"none"`, with a path `"fsync"` | `none`, `written`, `fsync` |' in store
    assert "| `reserve` | not set | `0` … |" in store
    listeners = guide_table(("listeners",))
    assert "| `type` | required | `tcp`, `ws`, `unix`, `auto` |" in listeners
    assert "| `port` | `1883`, `8080`; with tls `8883`, `8443` | `0` … `65535` |" in listeners
    assert "| `mode` | `0o660` | `0` … `0o777` |" in listeners


def test_a_guide_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table of log"):
        guide("# Configuration\n")


def test_examples_of_the_guide_can_be_read() -> None:
    examples = re.findall(r"(?ms)^```toml\n(.*?)^```", GUIDE.read_text("utf-8"))
    assert examples
    for example in examples:
        config = Config.model_validate(tomllib.loads(example))  # the files that they name are not there
        config.check_access()


def test_variables_and_binds_of_the_guide_can_be_used() -> None:
    text = GUIDE.read_text("utf-8")
    variables = dict(re.findall(r"`(BROKER_\w+__\w+)=([^`\s]+)`", text))
    assert len(variables) >= 5
    load(None, variables)
    binds = list(re.findall(r"`((?:tcp|ws|auto|unix):[^`\s]+)`", text))
    assert len(binds) >= 4
    load(None, {}, binds)
