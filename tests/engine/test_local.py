"""Checkpoints and adapters on this machine: what is loaded, and what is refused with what to do."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from bot import prompt
from bot.engine import local
from bot.errors import EngineError, ModelError
from bot.types import Message
from tests.parts import TEMPLATES
from tests.small_model import CHATML, END, RECITED, save_model, tokenizer

MESSAGES = [Message("system", "You help."), Message("user", "Hi")]
FINGERPRINT = prompt.fingerprint(TEMPLATES, CHATML)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "recites")


@pytest.fixture
def adapter(base, tmp_path):
    """An adapter that ends the answer after its first word."""
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=1, lora_alpha=1, target_modules=["lm_head"], task_type="CAUSAL_LM"),
    )
    words = tokenizer()
    first = words.encode(RECITED, add_special_tokens=False)[0]
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_A" in name:
                weights.zero_()[0, first] = 9.0
            elif "lora_B" in name:
                weights.zero_()[words.convert_tokens_to_ids(END), 0] = 9.0
    model.save_pretrained(tmp_path / "curt")
    write_card(tmp_path / "curt", fingerprint=FINGERPRINT, base_sha256=local.base_hash(str(base)))
    return tmp_path / "curt"


def write_card(adapter, **card):
    (adapter / "shoptalk.json").write_text(json.dumps(card))


async def said(engine):
    try:
        return "".join([piece async for piece in engine.stream(MESSAGES, max_tokens=50)])
    finally:
        await engine.aclose()


async def test_a_base_alone_works(base):
    engine = local.load(str(base), None, TEMPLATES, device="cpu")
    assert (engine.name, engine.fingerprint) == ("recites", FINGERPRINT)
    assert await said(engine) == RECITED


async def test_an_adapter_changes_the_answer_and_the_name(base, adapter):
    engine = local.load(str(base), adapter, TEMPLATES, device="cpu")
    assert engine.name == "recites+curt"
    assert await said(engine) == "Delivery"


async def test_an_adapter_without_a_base_hash_fits_any_base(base, adapter):
    write_card(adapter, fingerprint=FINGERPRINT)
    assert await said(local.load(str(base), adapter, TEMPLATES, device="cpu")) == "Delivery"


def test_the_count_is_the_tokenizers(base):
    engine = local.load(str(base), None, TEMPLATES, device="cpu")
    assert engine.count(MESSAGES) == len(prompt.render(tokenizer(), MESSAGES))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_precision_is_the_one_asked_for(base, dtype):
    engine = local.load(str(base), None, TEMPLATES, device="cpu", dtype=dtype)
    assert engine._model.dtype == getattr(torch, dtype)


def test_a_folder_without_a_model_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"No base model .* from .*/nowhere: .* Set `BOT_MODEL`"):
        local.load(str(tmp_path / "nowhere"), None, TEMPLATES)


def test_weights_that_are_broken_are_named_with_what_to_do(base, tmp_path):
    broken = shutil.copytree(base, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ModelError, match=r"No base model .* from .*/broken: .* Set `BOT_MODEL`"):
        local.load(str(broken), None, TEMPLATES)


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path):
    save_model(tmp_path / "plain", chat_template=None)
    with pytest.raises(ModelError, match="no chat template; take an instruction-tuned model"):
        local.load(str(tmp_path / "plain"), None, TEMPLATES)


def test_a_folder_without_an_adapter_is_named_with_what_to_do(base, tmp_path):
    with pytest.raises(ModelError, match=r"none holds no adapter .* `finetune train` .* `BOT_ADAPTER=`"):
        local.load(str(base), tmp_path / "none", TEMPLATES)


def test_an_adapter_of_another_rendering_is_refused_with_both_fingerprints(base, adapter):
    write_card(adapter, fingerprint="0123456789abcdef", base_sha256=local.base_hash(str(base)))
    with pytest.raises(ModelError, match=rf"rendering 0123456789abcdef.*render {FINGERPRINT}\. Train it again"):
        local.load(str(base), adapter, TEMPLATES)


def test_an_adapter_of_another_base_is_refused(base, adapter):
    write_card(adapter, fingerprint=FINGERPRINT, base_sha256="0" * 64)
    with pytest.raises(ModelError, match=r"curt was trained on another base than .*recites\. Set `BOT_MODEL`"):
        local.load(str(base), adapter, TEMPLATES)


def test_a_card_that_is_no_json_is_refused(base, adapter):
    (adapter / "shoptalk.json").write_text("{")
    with pytest.raises(ModelError, match="shoptalk.json is not JSON; train the adapter again"):
        local.load(str(base), adapter, TEMPLATES)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_lacks_a_file_is_refused_with_what_to_do(base, adapter, name):
    (adapter / name).unlink()
    with pytest.raises(ModelError, match=r"curt .* `finetune train`"):
        local.load(str(base), adapter, TEMPLATES)


def test_the_hash_of_a_base_is_that_of_its_weights(base, tmp_path):
    assert local.base_hash(str(base)) == local.base_hash(str(shutil.copytree(base, tmp_path / "copy")))
    assert local.base_hash(str(save_model(tmp_path / "other", text="Delivery days"))) != local.base_hash(str(base))
    assert local.base_hash("someone/some-model") is None


async def test_a_closed_engine_says_so(base):
    engine = local.load(str(base), None, TEMPLATES, device="cpu")
    await engine.aclose()
    with pytest.raises(EngineError, match="closed"):
        await said(engine)


async def test_what_the_model_would_say_is_likelier_than_what_it_would_not(base):
    engine = local.load(str(base), None, TEMPLATES, device="cpu")
    recited, _ = engine.loss(MESSAGES, RECITED)
    other, _ = engine.loss(MESSAGES, "three takes Delivery")
    count = len(tokenizer().encode(RECITED, add_special_tokens=False))
    assert engine.loss(MESSAGES, RECITED)[1] == count + 1  # with the end of the answer
    assert engine.loss("Delivery takes three", RECITED.removeprefix("Delivery takes three"))[1] == count - 3
    assert recited / (count + 1) < other / 4
    await engine.aclose()


async def test_a_loss_is_the_mean_that_training_takes_times_its_tokens(base):
    engine = local.load(str(base), None, TEMPLATES, device="cpu")
    ids, labels = (torch.tensor([x]) for x in prompt.example(tokenizer(), MESSAGES, "three free days", END))
    with torch.no_grad():
        mean = AutoModelForCausalLM.from_pretrained(base)(input_ids=ids, labels=labels).loss.item()
    total, count = engine.loss(MESSAGES, "three free days")
    assert total / count == pytest.approx(mean, rel=1e-5)
    await engine.aclose()
