import os
import tomllib
from pathlib import Path

import pytest

from streamer.config import Config, ConfigError, Section

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("STREAMER_"):
            monkeypatch.delenv(name)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_config_toml_is_the_defaults() -> None:
    written = tomllib.loads((ROOT / "config.toml").read_text())
    assert Config.model_validate(written) == Config()
    for name, section in Config.model_fields.items():
        assert set(written[name]) == set(type(section.default).model_fields), name


def test_every_setting_is_described_above_its_line_in_config_toml() -> None:
    lines = (ROOT / "config.toml").read_text().splitlines()
    for section in Config.model_fields.values():
        assert isinstance(section.default, Section)
        for name, setting in type(section.default).model_fields.items():
            assert setting.description, name
            above = [lines[i - 1] for i, line in enumerate(lines) if line.startswith(f"{name} = ")]
            assert f"# {setting.description}" in above, name


def test_the_environment_is_stronger_than_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "c.toml", "[server]\nport = 1111\nhost = '0.0.0.0'\n")
    monkeypatch.setenv("STREAMER_SERVER__PORT", "2222")
    config = Config.load(path)
    assert (config.server.port, config.server.host) == (2222, "0.0.0.0")


def test_lists_and_tables_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_SERVER__ALLOWED_HOSTS", '["films.example.org"]')
    assert Config.load().server.allowed_hosts == ("films.example.org",)


@pytest.mark.parametrize("text", ["[server]\nprot = 1\n", "[servre]\nport = 1\n", "[server]\nport = 'x'\n", "not toml"])
def test_a_file_with_something_unknown_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        Config.load(write(tmp_path / "c.toml", text))


@pytest.mark.parametrize("name", ["STREAMER_SERVRE__PORT", "STREAMER_SERVER__PROT", "STREAMER_PROT"])
def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "9000")
    with pytest.raises(ConfigError, match="(?i)servre|prot"):
        Config.load()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        Config.load(tmp_path / "none.toml")


def test_a_proxy_that_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        Config.load(write(tmp_path / "c.toml", "[server]\ntrusted_proxies = ['my-proxy']\n"))


def test_nothing_can_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().server.port = 1


def test_empty_urls_mean_the_embedded_stack_in_the_data_folder(tmp_path: Path) -> None:
    config = Config.load(data_dir=tmp_path)
    assert config.database_url == f"sqlite:///{tmp_path}/streamer.db"
    assert config.redis_url == f"unix://{config.redis_socket}"
    assert config.storage_url == f"file://{tmp_path}/media"


def test_a_socket_path_too_long_for_the_kernel_moves_to_the_temporary_folder(tmp_path: Path) -> None:
    deep = Config.load(data_dir=tmp_path / ("d" * 120)).redis_socket
    other = Config.load(data_dir=tmp_path / ("e" * 120)).redis_socket
    assert len(os.fsencode(deep)) <= 100
    assert deep != other
    assert deep == Config.load(data_dir=tmp_path / ("d" * 120)).redis_socket


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_STORAGE__SECRET_KEY", "hush")
    monkeypatch.setenv("STREAMER_ACCOUNTS__SESSION_SECRET", "hush")
    assert "hush" not in repr(Config.load())


def test_an_error_tells_the_setting_and_not_its_value(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", "[delivery]\nsigning_keys = 'hush'\n[accounts]\nsession_secret = ['hush']\n")
    with pytest.raises(ConfigError) as caught:
        Config.load(path)
    assert "delivery.signing_keys: " in str(caught.value) and "accounts.session_secret: " in str(caught.value)
    assert "hush" not in str(caught.value) and caught.value.__cause__ is None
