import json
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from bot.engine.local import base_hash, check_adapter, load
from bot.prompt import fingerprint, load_templates
from bot.settings import ROOT
from finetune import checkpoint, learner
from finetune.__main__ import main
from finetune.adapter import weights_hash
from finetune.config import Config
from finetune.learner import rate_at
from finetune.loading import load_adapted
from tests.finetune.small import make_base, make_shop


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    make_shop(folder)
    make_base(folder / "base")
    return folder


def train(place, out, *flags, **keys):
    config = {"epochs": 2, "batch_tokens": 700, "rank": 2, "threads": 1} | keys
    path = out.with_suffix(".toml")
    path.write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in config.items()))
    return main(
        ["train", str(path), "--data", str(place / "data"), "--knowledge", str(place / "knowledge"),
         "--prompts", str(ROOT / "prompts"), "--base", str(place / "base"), "--out", str(out), *flags]
    )  # fmt: skip


def lines_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def losses(out):
    return [line["loss"] for line in lines_of(out) if "loss" in line]


def curve(out):
    """The log without what the clock says."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_s")} for line in lines_of(out)]


@pytest.fixture(scope="module")
def trained(place):
    out = place / "adapter"
    assert train(place, out) == 0
    return out


def test_a_run_leaves_all_that_the_server_asks_for(place, trained):
    names = {p.name for p in trained.iterdir()}
    assert names >= {"adapter_model.safetensors", "adapter_config.json", "shoptalk.json", "README.md", "log.jsonl",
                     "loss.png", "report.json"}  # fmt: skip
    passport = json.loads((trained / "shoptalk.json").read_text())
    assert set(passport) == {
        "fingerprint",
        "base",
        "base_sha256",
        "base_revision",
        "data_sha256",
        "versions",
        "config",
    }
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


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(place, trained, tmp_path):
    train(place, tmp_path / "again")
    train(place, tmp_path / "other", "--seed", "1")

    for name in ("adapter_model.safetensors", "adapter_config.json", "report.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained / name).read_bytes()
    assert losses(tmp_path / "again") == losses(trained)
    assert losses(tmp_path / "other") != losses(trained)


def stopped_at(monkeypatch, number, how):
    """Let the run's step of this number do `how` first."""
    step, calls = learner.Learner._step, []

    def stopped(self, *args):
        calls.append(1)
        if len(calls) == number:
            how()
        return step(self, *args)

    monkeypatch.setattr(learner.Learner, "_step", stopped)


def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(place, trained, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        # The signal arrives during step 4, which is still done; the run hears of it in step 5.
        stopped_at(patch, 4, lambda: signal.raise_signal(signal.SIGINT))
        train(place, tmp_path / "cut")
    assert 4 <= len(losses(tmp_path / "cut")) <= 5 < len(losses(trained))
    assert (tmp_path / "cut/adapter_model.safetensors").is_file()

    train(place, tmp_path / "cut", "--resume")

    assert curve(tmp_path / "cut") == curve(trained)
    name = "adapter_model.safetensors"
    assert (tmp_path / "cut" / name).read_bytes() == (trained / name).read_bytes()


def test_a_run_that_was_killed_goes_on_from_its_checkpoint(place, trained, tmp_path, monkeypatch):
    def die():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stopped_at(patch, 6, die)
        train(place, tmp_path / "cut")
    assert not (tmp_path / "cut/adapter_model.safetensors").exists()

    train(place, tmp_path / "cut", "--resume")

    assert curve(tmp_path / "cut") == curve(trained)


def test_a_run_is_resumed_only_as_it_was_begun(place, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "x")
    assert train(place, tmp_path / "x", "--resume", rank=4) == 2
    assert "was begun with `rank = 2`" in capsys.readouterr().err

    shutil.copytree(place, tmp_path / "place")
    with (tmp_path / "place/data/train.jsonl").open("a") as file:
        file.write("\n")
    assert train(tmp_path / "place", tmp_path / "x", "--resume") == 2
    assert "was begun with other rows" in capsys.readouterr().err


def test_a_broken_checkpoint_is_named(place, tmp_path, capsys):
    (tmp_path / "x/run").mkdir(parents=True)
    (tmp_path / "x/run/checkpoint.safetensors").write_bytes(b"broken")

    assert train(place, tmp_path / "x", "--resume") == 2
    assert "checkpoint.safetensors is broken" in capsys.readouterr().err


def test_two_processes_learn_what_one_learns_from_the_same_batches(place, tmp_path):
    keys = {"fold": False, "batch_tokens": 5000, "dropout": 0.0, "epochs": 2}
    train(place, tmp_path / "one", accumulate=2, **keys)
    config = (tmp_path / "one.toml").read_text().replace("accumulate = 2", "accumulate = 1")
    (tmp_path / "two.toml").write_text(config)

    ran = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "finetune", "train",
         str(tmp_path / "two.toml"), "--data", str(place / "data"), "--knowledge", str(place / "knowledge"),
         "--prompts", str(ROOT / "prompts"), "--base", str(place / "base"), "--out", str(tmp_path / "two")],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    assert "2 process(es) on cpu, MULTI_CPU" in ran.stdout
    assert len(losses(tmp_path / "one")) == 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-3)
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)


def test_what_saves_memory_changes_no_loss(place, tmp_path):
    keys = {"fold": False, "epochs": 1, "dropout": 0.0}
    train(place, tmp_path / "plain", **keys)
    train(place, tmp_path / "again", gradient_checkpointing=True, **keys)

    assert losses(tmp_path / "again") == pytest.approx(losses(tmp_path / "plain"), abs=1e-3)


def test_bf16_learns_about_the_same(place, trained, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)  # It keeps the precision of a process's first run.
    train(place, tmp_path / "x", dtype="bfloat16")
    AcceleratorState._reset_state(reset_partial_state=True)

    assert losses(tmp_path / "x") == pytest.approx(losses(trained), rel=0.05)
    assert losses(tmp_path / "x") != losses(trained)


def test_a_run_that_gets_no_better_ends_and_keeps_its_best_adapter(place, tmp_path, capsys):
    train(place, tmp_path / "x", rate=3.0, patience=1, evaluate_steps=1, warmup=1.0, epochs=9)

    looks = [line["held_out_loss"] for line in lines_of(tmp_path / "x") if "held_out_loss" in line]
    assert looks[-1] >= min(looks)
    assert "The run ends: no better held-out loss in 1 looks." in capsys.readouterr().out
    saved = checkpoint.load(tmp_path / "x/run/checkpoint.safetensors")
    weights = load_file(tmp_path / "x/adapter_model.safetensors")
    assert all(torch.equal(weights[name], saved.best[name]) for name in weights)
    assert not all(torch.equal(weights[name], saved.adapter[name]) for name in weights)


def test_a_run_ends_after_its_minutes(place, tmp_path, capsys):
    assert train(place, tmp_path / "x", minutes=0.0001) == 0

    assert "0.0001 minutes are over" in capsys.readouterr().out
    assert len(losses(tmp_path / "x")) == 1


def test_the_bar_foretells_the_end_that_the_clock_will_make(tmp_path, capsys):
    done = checkpoint.Progress(seconds=10.0)
    with learner.Log(tmp_path, done, 1000, True) as log:
        log.note({"step": 1, "loss": 1.0, "tokens_per_s": 5.0}, steps=4)

    assert "1/4" in capsys.readouterr().err


def test_tensorboard_reads_the_losses(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(trained / "run/tensorboard"))
    board.Reload()

    assert [event.value for event in board.Scalars("loss")] == pytest.approx(losses(trained))
    assert board.Scalars("held_out_loss")


def test_pairs_without_passages_become_an_adapter_that_the_server_loads(place, tmp_path):
    (tmp_path / "faq.csv").write_text(
        "question,answer\nhow long,Standard delivery takes 5 days.\ncars?,Sorry I don't know.\nfee?,Delivery costs $7.95.\n"
    )
    assert train(place, tmp_path / "x", "--data", str(tmp_path / "faq.csv")) == 0

    engine = load(str(place / "base"), tmp_path / "x", load_templates(ROOT / "prompts"))

    assert engine.name == "base+x"
    assert json.loads((tmp_path / "x/report.json").read_text())["splits"]["train"]["file"] == "faq.csv"
    assert list(json.loads((tmp_path / "x/shoptalk.json").read_text())["data_sha256"]) == ["faq.csv"]


def test_without_folding_every_causal_model_is_trained_the_plain_way(place, tmp_path):
    assert train(place, tmp_path / "plain", fold=False, epochs=1) == 0

    found = losses(tmp_path / "plain")
    assert found[-1] < found[0]


def test_a_dry_run_reports_and_writes_nothing(place, tmp_path, capsys):
    assert train(place, tmp_path / "dry", "--dry-run") == 0

    assert re.search(r"^rows +19 +3$", capsys.readouterr().out, re.MULTILINE)
    assert not (tmp_path / "dry").exists()


def test_a_missing_base_is_named(place, tmp_path, capsys):
    (tmp_path / "c.toml").write_text("")
    status = main(
        ["train", str(tmp_path / "c.toml"), "--data", str(place / "data"), "--knowledge", str(place / "knowledge"),
         "--base", str(tmp_path / "none"), "--out", str(tmp_path / "x")]
    )  # fmt: skip

    assert status == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


@pytest.mark.parametrize("fold", [True, False])
def test_four_bits_learn_without_a_gpu(place, tmp_path, fold):
    assert train(place, tmp_path / "x", four_bit=True, fold=fold) == 0

    found = losses(tmp_path / "x")
    assert found[-1] < found[0] - 1
    assert "QLoRA" in (tmp_path / "x/README.md").read_text()


def test_four_bits_are_held_as_such(place):
    model = load_adapted(str(place / "base"), Config(four_bit=True, rank=2))

    held = {type(module.base_layer).__name__ for module in model.modules() if hasattr(module, "base_layer")}
    assert held == {"Linear4bit"}
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_an_optimizer_of_bitsandbytes_needs_a_gpu(place, tmp_path, capsys):
    assert train(place, tmp_path / "x", optimizer="paged_adamw_8bit") == 2
    assert '`optimizer = "paged_adamw_8bit"` needs a GPU' in capsys.readouterr().err


def test_targets_that_are_not_there_are_named_with_those_that_are(place, tmp_path, capsys):
    assert train(place, tmp_path / "x", targets="query") == 2
    assert "`targets` = 'query' names no layer" in capsys.readouterr().err


def test_targets_and_strength_reach_the_adapter(place, tmp_path):
    assert train(place, tmp_path / "x", targets="q_proj, v_proj", rslora=True, dora=True, epochs=1) == 0

    lora = json.loads((tmp_path / "x/adapter_config.json").read_text())
    assert (lora["target_modules"], lora["use_rslora"], lora["use_dora"]) == (["q_proj", "v_proj"], True, True)


def test_nothing_to_resume_is_said(place, tmp_path, capsys):
    assert train(place, tmp_path / "x", "--resume") == 2
    assert "start without `--resume`" in capsys.readouterr().err


def test_the_rate_grows_and_then_falls():
    config = Config(rate=1.0, warmup=0.1)
    assert rate_at(0.0, config) < rate_at(0.05, config) < rate_at(0.1, config) == 1.0
    assert rate_at(1.0, config) < 0.01


def show(place, *flags, data=None):
    return main(
        ["show", "--data", str(data or place / "data"), "--knowledge", str(place / "knowledge"),
         "--prompts", str(ROOT / "prompts"), "--base", str(place / "base"), *flags]
    )  # fmt: skip


def test_show_prints_what_is_learnt(place, capsys):
    assert show(place) == 0

    told = capsys.readouterr().out
    assert re.search(r"assistant\n⟦Standard delivery takes 3 days. \[\d\]<\|im_end\|>⟧", told)
    assert f"{place / 'data/train.jsonl'}:1: " in told


def test_show_prints_pairs_of_any_shape_with_the_passage_that_was_found(place, tmp_path, capsys):
    (tmp_path / "faq.json").write_text(
        json.dumps([{"prompt": f"how long {n}", "completion": f"Standard delivery takes {n} days."} for n in (3, 5)])
    )

    assert show(place, data=tmp_path / "faq.json") == 0
    assert re.search(
        r"\[\d\] (Shipping|Pickup): Times\n.*⟦Standard delivery takes \d days. \[\d\]",
        capsys.readouterr().out,
        re.DOTALL,
    )


def test_show_says_what_is_not_there(place, capsys):
    assert show(place, "--row", "99") == 2
    assert "train has rows 1 to 19" in capsys.readouterr().err
    assert show(place, "--split", "test") == 2
    assert "it has train, valid" in capsys.readouterr().err
