"""Settings: read from the environment, `.env` and flags; a wrong one is named with what would do."""

import os

import pytest

from bot import settings
from bot.errors import SettingsError


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.upper().startswith("BOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_environment_comes_before_the_file_and_flags_before_both(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("BOT_PORT=1111\nBOT_TOP_K=4\nBOT_SHOP=Ravine\nOTHER=1\n")
    monkeypatch.setenv("BOT_PORT", "2222")
    monkeypatch.setenv("BOT_TOP_K", "5")
    found = settings.read(port=3333, host=None)
    assert (found.port, found.top_k, found.shop, found.host) == (3333, 5, "Ravine", "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BOT_PORT", "eighty"), ("BOT_PORT", "70000"), ("BOT_ENGINE", "magic"), ("BOT_MIN_SCORE", "1.5"),
        ("BOT_TOP_K", "0"), ("BOT_DEMO", "maybe"), ("BOT_GRACE_S", "-1"), ("BOT_QUANTIZE", "8bit"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_the_variable_and_the_value(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        settings.read()
    assert name in str(refused.value)
    assert value in str(refused.value)


def test_a_wrong_secret_is_named_but_not_shown(monkeypatch):
    monkeypatch.setenv("BOT_PORT", "eighty")
    monkeypatch.setenv("BOT_TOKEN_SECRET", "do-not-show-this-to-anyone")
    with pytest.raises(SettingsError) as refused:
        settings.read()
    assert "do-not-show" not in str(refused.value)


def test_secrets_are_not_printed():
    found = settings.read(
        token_secret="s3cret" * 8, agent_keys="anna:0123456789abcdef", engine_key="e", orders_key="o"
    )
    assert "s3cret" not in repr(found) and "0123456789abcdef" not in repr(found)


def test_the_database_stands_in_the_data_folder_unless_named(monkeypatch, tmp_path):
    assert settings.read(data=tmp_path).database == f"sqlite:///{tmp_path / 'bot.db'}"
    assert settings.read(database_url="postgresql://db/bot").database == "postgresql://db/bot"


def test_the_built_in_adapter_belongs_to_the_built_in_base(monkeypatch, tmp_path):
    assert settings.read().adapter_folder == settings.ROOT / "bot/models/adapter"
    assert settings.read(model="some/other-model").adapter_folder is None
    assert settings.read(model="some/other-model", adapter=tmp_path).adapter_folder == tmp_path
    monkeypatch.setenv("BOT_ADAPTER", "")
    assert settings.read().adapter_folder is None


def test_an_empty_variable_switches_the_known_questions_off(monkeypatch):
    monkeypatch.setenv("BOT_QUESTIONS", "")
    assert settings.read().questions is None


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        settings.read().port = 1


def test_every_setting_is_described():
    assert [name for name, field in settings.Settings.model_fields.items() if not field.description] == []
