"""How Clients prove who they are, as a configuration writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from broker.auth.jwt import ALGORITHMS
from broker.auth.methods import METHODS
from broker.config import AuthConfig, Config, ConfigError, HttpConfig, JwtConfig, ListenerConfig, TlsConfig, load
from broker.config.auth import METHODS as METHODS_HERE
from broker.config.auth import JwtKeyConfig

NAMED = TlsConfig(certificate=Path("c"), client_ca=Path("a"), user_name="cn")


def built(auth: dict[str, Any] | None = None, **listener: Any) -> Config:
    return Config.model_validate({"auth": auth or {}, "listeners": [{"type": "tcp", **listener}]})


def secret(folder: Path, name: str, content: str = "x") -> Path:
    path = folder / name
    path.touch(0o600)
    path.write_text(content)
    return path


# -- The same as those who do the work


def test_methods_are_those_that_exist() -> None:
    assert METHODS_HERE == METHODS


def test_algorithms_are_those_that_exist() -> None:
    for algorithm in ALGORITHMS:
        assert JwtKeyConfig(algorithm=algorithm, key_file=Path("k")).algorithm == algorithm
    for wrong in ("none", "HS1", "rs256"):
        with pytest.raises(ValidationError):
            JwtKeyConfig.model_validate({"algorithm": wrong, "key_file": "k"})


# -- Which methods there are


def test_without_a_word_there_is_none() -> None:
    assert Config().auth_methods == ()
    assert [Config().asks(listener) for listener in Config().listeners] == [False, False]


@pytest.mark.parametrize(
    ("auth", "listener", "methods"),
    [
        ({"password_file": "p"}, {}, ("password",)),
        ({"http": {"url": "https://x"}}, {}, ("http",)),
        ({"jwt": {"key_file": "k", "algorithms": ["RS256"]}, "password_file": "p"}, {}, ("jwt", "password")),
        ({"password_file": "p"}, {"tls": NAMED}, ("certificate", "password")),
        ({"password_file": "p", "methods": ["password", "certificate"]}, {"tls": NAMED}, ("password", "certificate")),
        ({"password_file": "p", "http": {"url": "https://x"}, "methods": "http"}, {}, ("http",)),
    ],
)
def test_methods_are_those_that_are_set_up(
    auth: dict[str, Any], listener: dict[str, Any], methods: tuple[str, ...]
) -> None:
    config = built(auth, **listener)
    assert config.auth_methods == methods
    assert config.asks(config.listeners[0])


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ({"methods": ["password"]}, "auth.methods: password needs `password_file`"),
        ({"methods": ["certificate"]}, r"certificate needs `user_name` and `client_ca` in \[listeners.tls\]"),
        ({"methods": ["jwt"]}, r"jwt needs \[auth.jwt\]"),
        ({"methods": ["http"]}, r"http needs \[auth.http\]"),
        ({"methods": []}, "at least 1 item"),
        ({"methods": ["jwt", "jwt"]}, "the same item twice"),
        ({"scram": True}, "scram needs `password_file`"),
        ({"jwt": {}}, "tokens need a key"),
        ({"jwt": {"key_file": "k"}}, "`key_file` needs `algorithms`"),
        (
            {"jwt": {"algorithms": ["RS256"], "keys": [{"algorithm": "ES256", "key_file": "k"}]}},
            "leaves out ES256, which is the algorithm of a key",
        ),
        ({"hashing_at_once": 0}, "greater than or equal to 1"),
        ({"failures_per_minute": -1}, "greater than or equal to 0"),
        ({"timeout": 0}, "greater than 0"),
    ],
)
def test_methods_that_could_not_work(auth: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        built(auth)


# -- Nobody gets in unasked


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_a_method_everybody_is_asked(host: str) -> None:
    config = built({"password_file": "p"}, host=host)
    assert config.listeners[0].allow_anonymous is False
    assert not config.listeners[0].anonymous_allowed
    config.check_access()
    assert built({"password_file": "p"}, host=host, allow_anonymous=True).listeners[0].anonymous_allowed


def test_listeners_of_one_configuration_are_asked_by_another() -> None:
    asked = built({"password_file": "p"})
    unasked = Config(listeners=asked.listeners)
    assert unasked.listeners[0].anonymous_allowed
    assert not Config(listeners=unasked.listeners, auth=asked.auth).listeners[0].anonymous_allowed


def test_a_listener_that_takes_no_names_lets_nobody_in() -> None:
    listeners = [ListenerConfig(type="tcp", tls=NAMED), ListenerConfig(type="ws")]
    config = Config(listeners=listeners)
    assert config.auth_methods == ("certificate",)
    assert [config.asks(listener) for listener in config.listeners] == [True, False]
    with pytest.raises(ConfigError, match=r"listeners\[1\]\.tls\.user_name: nobody could connect"):
        config.check_access()
    Config(listeners=[listeners[0], ListenerConfig(type="ws", allow_anonymous=True)]).check_access()
    Config(listeners=listeners, auth=AuthConfig(password_file=Path("p"))).check_access()


# -- Keys of tokens


def test_a_key_is_good_for_its_algorithms() -> None:
    one = JwtConfig(key_file=Path("k"), algorithms=("RS256", "PS256"))
    assert one.bound_keys == (("", "RS256", Path("k")), ("", "PS256", Path("k")))
    several = JwtConfig.model_validate(
        {
            "keys": [
                {"kid": "a", "algorithm": "ES256", "key_file": "x"},
                {"kid": "b", "algorithm": "EdDSA", "key_file": "y"},
                {"kid": "c", "algorithm": "ES256", "key_file": "z"},
            ]
        }
    )
    assert several.algorithms == ("ES256", "EdDSA")
    assert several.bound_keys[1] == ("b", "EdDSA", Path("y"))
    assert len(several.bound_keys) == 3


# -- The web service


@pytest.mark.parametrize("url", ["ftp://x", "x", "", "https://", "https://x:99999", "https://x/ y", "https://x/#y"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValidationError, match="must be a URL such as"):
        HttpConfig(url=url)


def test_a_url_holds_no_secret() -> None:
    with pytest.raises(ValidationError, match="authorization_file"):
        HttpConfig(url="https://ann:secret@x")


# -- Its files


def test_files_of_secrets(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(
        f'[auth]\npassword_file = "{tmp_path}/passwd"\n'
        f'[auth.jwt]\nkey_file = "{tmp_path}/jwt"\nalgorithms = ["HS256"]\n'
        f'[[auth.jwt.keys]]\nkid = "a"\nalgorithm = "HS256"\nkey_file = "{tmp_path}/a"\n'
        f'[auth.http]\nurl = "https://x"\nca_file = "{tmp_path}/ca"\nauthorization_file = "{tmp_path}/token"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [str(mistake).removeprefix(f"{path}:").split("\n")[0] for mistake in caught.value.mistakes] == [
        f"2:17: auth.password_file: {tmp_path}/passwd cannot be read: No such file or directory",
        f"4:12: auth.jwt.key_file: {tmp_path}/jwt cannot be read: No such file or directory",
        f"9:12: auth.jwt.keys[0].key_file: {tmp_path}/a cannot be read: No such file or directory",
        f"12:11: auth.http.ca_file: {tmp_path}/ca cannot be read: No such file or directory",
        f"13:22: auth.http.authorization_file: {tmp_path}/token cannot be read: No such file or directory",
    ]


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    key = secret(tmp_path, "key")
    key.chmod(0o644)
    environ = {"BROKER_AUTH__JWT__KEY_FILE": str(key), "BROKER_AUTH__JWT__ALGORITHMS": "ES256"}
    assert load(None, environ).auth_methods == ("jwt",)
    with pytest.raises(ConfigError, match="every user of this machine may read it"):
        load(None, environ | {"BROKER_AUTH__JWT__ALGORITHMS": "HS256"})
    key.chmod(0o600)
    assert load(None, environ | {"BROKER_AUTH__JWT__ALGORITHMS": "HS256"}).auth_methods == ("jwt",)


def test_a_password_file_opens_a_listener_to_other_machines(tmp_path: Path) -> None:
    environ = {"BROKER_LISTENERS__0__HOST": "0.0.0.0", "BROKER_AUTH__PASSWORD_FILE": str(secret(tmp_path, "passwd"))}
    assert load(None, environ).auth_methods == ("password",)


def test_a_secret_is_named_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text("[auth.http]\nurl = 'https://x'\nauthorization = 'Bearer x'\n")
    with pytest.raises(ConfigError, match="did you mean 'authorization_file'"):
        load(path, {})


def test_a_mistake_in_auth_is_told_alone(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('[auth]\npasword_file = "x"\n[[listeners]]\ntype = "tcp"\nhost = "0.0.0.0"\n')
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    (mistake,) = caught.value.mistakes
    assert "did you mean 'password_file'?" in str(mistake)
