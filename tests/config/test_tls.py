"""What a secure listener has to say."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from broker.config import Config, ConfigError, ListenerConfig, TlsConfig, TlsHostConfig, load, parse_bind
from broker.config.tls import BIND_KEYS


def test_by_default_the_key_stands_beside_its_certificate() -> None:
    assert TlsConfig(certificate=Path("c")).key == Path("c")
    assert TlsConfig(certificate=Path("c"), key=Path("k")).key == Path("k")
    assert TlsHostConfig(names=("a",), certificate=Path("c")).key == Path("c")


def test_by_default_clients_show_a_certificate_where_there_is_an_authority() -> None:
    tls = TlsConfig(certificate=Path("c"))
    assert (tls.require_client_certificate, tls.user_name, tls.minimum_version) == (False, "", "1.2")
    assert TlsConfig(certificate=Path("c"), client_ca=Path("a")).require_client_certificate
    assert not TlsConfig(certificate=Path("c"), client_ca=Path("a"), require_client_certificate=False).hosts
    loose = TlsConfig(certificate=Path("c"), client_ca=Path("a"), require_client_certificate=False)
    assert not loose.require_client_certificate


def test_built_by_hand_contradictions_are_refused() -> None:
    with pytest.raises(ValidationError, match="user_name needs `client_ca`"):
        ListenerConfig(type="tcp", tls=TlsConfig(certificate=Path("c"), user_name="cn"))
    with pytest.raises(ValidationError, match="has no TLS"):
        ListenerConfig(type="unix", path="/x", tls=TlsConfig(certificate=Path("c")))


@pytest.mark.parametrize("version", ["1.0", "1.1", "3"])
def test_old_versions_are_not_spoken(version: str) -> None:
    with pytest.raises(ValidationError):
        TlsConfig.model_validate({"certificate": "c", "minimum_version": version})


@pytest.mark.parametrize("names", [[], [""], ["a b"], ["*"], ["*.org"], ["a.*.org"], ["a", "A"], ["https://a"]])
def test_names_that_no_host_has(names: list[str]) -> None:
    with pytest.raises(ValidationError):
        TlsHostConfig.model_validate({"names": names, "certificate": "c"})


def test_names_of_hosts() -> None:
    names = TlsHostConfig.model_validate({"names": "MQTT.example.org., *.b.org,localhost", "certificate": "c"}).names
    assert names == ("mqtt.example.org", "*.b.org", "localhost")


def test_keys_of_a_bind_are_keys_of_the_table() -> None:
    assert set(BIND_KEYS) < set(TlsConfig.model_fields)


def test_a_secure_bind(server_pem: Path) -> None:
    listener = parse_bind(f"wss://127.0.0.1/mqtt?certificate={server_pem}&name=web")
    assert (listener.type, listener.port, listener.secure, listener.name) == ("ws", 8443, True, "web")
    assert listener.bind == "wss://127.0.0.1:8443"
    assert listener.tls is not None
    assert listener.tls.key == server_pem
    config = load(None, {}, [f"mqtts://127.0.0.1?certificate={server_pem}"])
    assert [listener.bind for listener in config.listeners] == ["mqtts://127.0.0.1:8883"]


def test_mistakes_of_a_table_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(
        '[[listeners]]\ntype = "tcp"\n[listeners.tls]\nkey = "k"\nminimum_version = "1.1"\n'
        '[[listeners.tls.hosts]]\nnames = ["a b"]\ncertificate = "no"\n'
        '[[listeners]]\ntype = "tcp"\ntls = 5\n[limits]\noutbox_soft_bytes = "5MiB"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [str(mistake).removeprefix(f"{path}:").split("\n")[0] for mistake in caught.value.mistakes] == [
        "3:12: listeners[0].tls.certificate: is missing; [listeners.tls] needs its certificate",
        '5:19: listeners[0].tls.minimum_version: must be one of 1.2, 1.3, not "1.1"',
        '7:10: listeners[0].tls.hosts[0].names[0]: must be a name such as "mqtt.example.org" or "*.example.org", '
        'not "a b"',
        "11:7: listeners[1].tls: must be a table, not 5",
        "13:21: limits.outbox_soft_bytes: outbox_soft_bytes (5MiB) must not exceed outbox_hard_bytes (4MiB)",
    ]


def test_a_list_of_hosts_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('[[listeners]]\ntype = "tcp"\n[listeners.tls]\ncertificate = "c"\nhosts = 5\n')
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert "must be an array of tables: write [[listeners.tls.hosts]]" in str(caught.value)


def test_two_secure_listeners_have_one_port(server_pem: Path) -> None:
    tls = TlsConfig(certificate=server_pem)
    with pytest.raises(ValidationError, match=r"has the address 127\.0\.0\.1:8883 already"):
        Config(listeners=[ListenerConfig(type="tcp", tls=tls), ListenerConfig(type="auto", tls=tls)])
