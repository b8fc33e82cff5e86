import pytest

from bot.errors import SettingsError
from bot.settings import ROOT
from finetune.config import Config, read_config

LORA = ROOT / "finetune/configs/lora.toml"


def test_the_shipped_config_says_every_key():
    written = {
        line.split("=")[0].strip() for line in LORA.read_text(encoding="utf-8").splitlines() if "=" in line[:25]
    }

    assert set(Config.__dataclass_fields__) <= written


def test_flags_come_over_the_file_and_the_file_over_defaults(tmp_path):
    (tmp_path / "c.toml").write_text("rank = 4\nminutes = 2\n")

    config = read_config(tmp_path / "c.toml", {"minutes": 5.0, "seed": None})

    assert (config.rank, config.minutes, config.seed) == (4, 5.0, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [("ranks = 4", "unknown keys ['ranks']"), ("rank = '4'", "`rank` must be of type int"),
     ("rank = 0", "`rank` must be 1 or more"), ("dropout = 2", "`dropout` must lie between"), ("x", "is not TOML")],
)  # fmt: skip
def test_a_wrong_config_is_refused(tmp_path, text, says):
    (tmp_path / "c.toml").write_text(text)

    with pytest.raises(SettingsError) as caught:
        read_config(tmp_path / "c.toml")

    assert says in str(caught.value)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        read_config(tmp_path / "none.toml")
