import asyncio
import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from bot.engine import local
from bot.errors import ModelError
from bot.prompt import load_templates
from bot.settings import ROOT
from bot.types import Message
from finetune.__main__ import main
from tests.finetune.shapes import SHAPES, make_shape
from tests.finetune.small import DOCUMENT, make_shop

TEMPLATES = load_templates(ROOT / "prompts")


def train(folder, base, out, **keys):
    config = {"epochs": 1, "batch_tokens": 2000, "rank": 2, "rate": 0.01, "threads": 1} | keys
    (folder / "run.toml").write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in config.items()))
    return main(
        ["train", str(folder / "run.toml"), "--data", str(folder / "data"), "--knowledge", str(folder / "knowledge"),
         "--prompts", str(ROOT / "prompts"), "--base", str(base), "--out", str(out)]
    )  # fmt: skip


def merge(base, adapter, out):
    return main(["merge", "--base", str(base), "--adapter", str(adapter), "--out", str(out)])


def logits(engine):
    ids = torch.arange(10, 30)[None]
    with torch.inference_mode():
        return engine._model(input_ids=ids).logits


def said(engine):
    async def collect():
        found = "".join([delta async for delta in engine.stream([Message("user", "how long?")], max_tokens=6)])
        await engine.aclose()
        return found

    return asyncio.run(collect())


@pytest.fixture(scope="module", params=SHAPES)
def place(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make_shop(folder)
    make_shape(request.param, folder / "base", [DOCUMENT, "Question: passages assistant customer-service"])
    special = {"dora": True} if request.param == "qwen3" else {"rslora": True} if request.param == "llama" else {}
    assert train(folder, folder / "base", folder / "adapter", **special) == 0
    assert merge(folder / "base", folder / "adapter", folder / "merged") == 0
    return folder


def test_the_server_loads_what_was_merged_and_it_says_what_the_adapter_says(place):
    apart = local.load(str(place / "base"), place / "adapter", TEMPLATES)
    merged = local.load(str(place / "merged"), None, TEMPLATES)
    base = local.load(str(place / "base"), None, TEMPLATES)

    assert torch.allclose(logits(merged), logits(apart), atol=1e-5)
    assert not torch.allclose(logits(merged), logits(base), atol=1e-3)
    assert said(merged) == said(apart)
    asyncio.run(base.aclose())


def test_a_merged_checkpoint_is_whole_and_says_what_it_is(place):
    names = {path.name for path in (place / "merged").iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "shoptalk.json", "README.md"}
    assert not [name for name in names if name.endswith((".bin", ".pt"))]
    passport = json.loads((place / "merged/shoptalk.json").read_text())
    assert passport["merged"]["base"] == "base"
    assert passport["base_sha256"] == local.base_hash(str(place / "merged")) != passport["merged"]["base_sha256"]


def test_the_server_refuses_a_merged_checkpoint_under_other_templates(place, tmp_path):
    import shutil

    shutil.copytree(ROOT / "prompts", tmp_path / "prompts")
    with (tmp_path / "prompts/en/system.md").open("a") as file:
        file.write("Be kind.")

    with pytest.raises(ModelError, match="was trained with rendering"):
        local.load(str(place / "merged"), None, load_templates(tmp_path / "prompts"))


def test_a_merge_with_another_base_is_refused(place, tmp_path, capsys):
    make_shape("qwen2", tmp_path / "other", ["other words for another tokenizer"])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "other")
    with torch.no_grad():
        model.model.norm.weight += 1
    model.save_pretrained(tmp_path / "other")

    assert merge(tmp_path / "other", place / "adapter", tmp_path / "out") == 2
    assert "was trained on another base" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(place, capsys):
    assert merge(place / "base", place / "adapter", place / "merged") == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_folder_without_a_passport_is_no_adapter(place, tmp_path, capsys):
    assert merge(place / "base", place / "base", tmp_path / "out") == 2
    assert "holds no adapter made by `finetune train`" in capsys.readouterr().err
