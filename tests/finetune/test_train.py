import json
import signal

import pytest
import torch

from bot.engine.local import base_hash, check_adapter
from bot.prompt import fingerprint, load_templates
from bot.settings import ROOT
from finetune.__main__ import main
from finetune.adapter import weights_hash
from finetune.config import Config
from finetune.train import rate_at
from tests.finetune.small import make_base, make_shop


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    make_shop(folder)
    make_base(folder / "base")
    return folder


def train(place, out, *flags, **keys):
    config = {"epochs": 2, "batch_tokens": 700, "rank": 2, "evaluate_minutes": 9.0, "threads": 1} | keys
    path = out.with_suffix(".toml")
    path.write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in config.items()))
    return main(
        ["train", str(path), "--data", str(place / "data"), "--knowledge", str(place / "knowledge"),
         "--prompts", str(ROOT / "prompts"), "--base", str(place / "base"), "--out", str(out), *flags]
    )  # fmt: skip


def losses(out):
    lines = (out / "log.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


@pytest.fixture(scope="module")
def trained(place):
    out = place / "adapter"
    assert train(place, out) == 0
    return out


def test_a_run_leaves_all_that_the_server_asks_for(place, trained):
    names = {p.name for p in trained.iterdir()}
    assert names >= {"adapter_model.safetensors", "adapter_config.json", "shoptalk.json", "README.md", "log.jsonl",
                     "loss.png"}  # fmt: skip
    passport = json.loads((trained / "shoptalk.json").read_text())
    assert set(passport) == {"fingerprint", "base", "base_sha256", "data_sha256", "versions", "config"}
    template = (place / "base/chat_template.jinja").read_text()
    check_adapter(trained, str(place / "base"), fingerprint(load_templates(ROOT / "prompts"), template))
    for name in ("adapter_config.json", "shoptalk.json", "README.md"):
        assert str(place) not in (trained / name).read_text()


def test_a_run_learns(trained):
    found = losses(trained)
    assert len(found) >= 6
    assert found[-1] < found[0]


def test_the_server_and_the_passport_hash_a_base_alike(place):
    assert weights_hash(place / "base") == base_hash(str(place / "base"))


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(place, trained, tmp_path):
    train(place, tmp_path / "again")
    train(place, tmp_path / "other", "--seed", "1")

    assert losses(tmp_path / "again") == losses(trained)
    assert losses(tmp_path / "other") != losses(trained)


def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(place, trained, tmp_path, monkeypatch):
    from finetune import train as module

    step, calls = module.Learner._step, []

    def interrupted(self, group, rate):
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return step(self, group, rate)

    monkeypatch.setattr(module.Learner, "_step", interrupted)
    train(place, tmp_path / "cut")
    monkeypatch.setattr(module.Learner, "_step", step)
    assert len(losses(tmp_path / "cut")) == 4
    assert (tmp_path / "cut/adapter_model.safetensors").is_file()

    train(place, tmp_path / "cut", "--resume")

    assert losses(tmp_path / "cut") == losses(trained)


def test_without_folding_every_causal_model_is_trained_the_plain_way(place, tmp_path):
    assert train(place, tmp_path / "plain", fold=False, epochs=1) == 0

    found = losses(tmp_path / "plain")
    assert found[-1] < found[0]


def test_a_dry_run_reports_and_writes_nothing(place, tmp_path, capsys):
    assert train(place, tmp_path / "dry", "--dry-run") == 0

    assert "train: 19 rows" in capsys.readouterr().out
    assert not (tmp_path / "dry").exists()


def test_a_missing_base_is_named(place, tmp_path, capsys):
    (tmp_path / "c.toml").write_text("")
    status = main(
        ["train", str(tmp_path / "c.toml"), "--data", str(place / "data"), "--knowledge", str(place / "knowledge"),
         "--base", str(tmp_path / "none"), "--out", str(tmp_path / "x")]
    )  # fmt: skip

    assert status == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_four_bits_need_cuda(place, tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert train(place, tmp_path / "x", four_bit=True) == 2
    assert "needs a CUDA GPU" in capsys.readouterr().err


def test_nothing_to_resume_is_said(place, tmp_path, capsys):
    assert train(place, tmp_path / "x", "--resume") == 2
    assert "start without `--resume`" in capsys.readouterr().err


def test_the_rate_grows_and_then_falls():
    config = Config(rate=1.0, warmup=0.1)
    assert rate_at(0.0, config) < rate_at(0.05, config) < rate_at(0.1, config) == 1.0
    assert rate_at(1.0, config) < 0.01


def test_show_prints_what_is_learnt(place, capsys):
    status = main(
        ["show", "--row", "1", "--data", str(place / "data"), "--knowledge", str(place / "knowledge"),
         "--prompts", str(ROOT / "prompts"), "--base", str(place / "base")]
    )  # fmt: skip

    assert status == 0
    assert "⟦Standard delivery takes 3 days. [" in capsys.readouterr().out
