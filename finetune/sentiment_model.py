"""The sentiment model in training: its tokenizer, its weights, one step forward, and how it is stored.

Knows neither the rows nor how they are learnt; `finetune/sentiment.py` does.
`bot/sentiment/classifier.py` reads what `save` writes.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel

from bot.errors import ModelError
from bot.models import MINILM_SHA256, minilm_path

LABELS = ("calm", "unhappy", "angry")
MAX_TOKENS = 128
"""Read in serving; training stops at half of it, for time."""
SHOUT = "⇪"
"""Stands after every word of three or more capitals: the encoder itself reads lower case only."""
EMOJI = "😡😠🤬👿😤😒🙄😑💢👎🖕😭😢😞😔😟😩😫💔🥺😕🙁☹😥😰🤦🤷😊😄😂🤣😅😁👍👌🙏❤💕🎉😍🥰🤔🙂😉💩🤮🔥"


def extended_tokenizer(texts: Sequence[str], *, characters: int) -> tuple[Tokenizer, list[int]]:
    """The encoder's tokenizer with full-width forms folded, capitals marked and rows added.

    Returns:
        The tokenizer, and the ids whose rows are to be trained: all new ones, and the 244 Chinese
        characters that the vocabulary has but that an English encoder hardly learnt.
    """
    tokenizer = Tokenizer.from_file(str(minilm_path() / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKC(),
        normalizers.Replace(Regex(r"(?<=\b[A-Z]{3}|[A-Z]{4})(?![A-Za-z])"), f" {SHOUT} "),
        normalizers.Replace(Regex(r"!{4,}"), "!!!"),
        normalizers.Replace(Regex(r"\?{4,}"), "???"),
        tokenizer.normalizer,
    ])  # fmt: skip
    counts = Counter(char for text in texts for char in text if "\u4e00" <= char <= "\u9fff")
    known = tokenizer.get_vocab()
    common = [char for char, _ in counts.most_common(characters)]
    new = [SHOUT, *EMOJI, *(char for char in common if char not in known)]
    tokenizer.add_tokens([AddedToken(token, normalized=True) for token in dict.fromkeys(new)])
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    known = tokenizer.get_vocab()
    return tokenizer, sorted({known[token] for token in (*new, *common)})


def adapted(tokenizer: Tokenizer, trained: list[int], glosses: Mapping[str, Sequence[str]]) -> PeftModel:
    """The frozen encoder with LoRA in every linear layer and trainable rows for the ids given.

    Args:
        glosses: English words for a character; its row begins as the mean of theirs, others at random.
    """
    encoder: Any = AutoModel.from_pretrained(minilm_path(), add_pooling_layer=False)
    encoder.resize_token_embeddings(tokenizer.get_vocab_size(), mean_resizing=False)
    rows = encoder.embeddings.word_embeddings.weight.data  # (V, D)
    usual = rows[1000:30000]  # past the unused ids and single letters
    rows[trained] = usual.mean(0) + usual.std(0) * torch.randn(len(trained), rows.shape[1])
    for character, words in glosses.items():
        if (id := tokenizer.token_to_id(character)) in trained:
            rows[id] = rows[tokenizer.encode(" ".join(words), add_special_tokens=False).ids].mean(0)
    config = LoraConfig(
        r=16,
        lora_alpha=32,
        target_modules=["query", "key", "value", "dense"],
        trainable_token_indices={"word_embeddings": trained},
    )
    model = get_peft_model(encoder, config)
    model.peft_config["default"].base_model_name_or_path = "sentence-transformers/all-MiniLM-L6-v2"
    return model


def continued(folder: Path) -> tuple[Tokenizer, PeftModel, nn.Linear]:
    """Tokenizer, encoder and head as `save` left them, ready to train on; "rude" begins anew.

    Raises:
        ModelError: the folder holds no such model.
    """
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        weights, last = load_file(folder / "adapter_model.safetensors"), load_file(folder / "head.safetensors")
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{folder} holds no sentiment model to go on from: {error}.") from None
    model = adapted(tokenizer, config["trainable_token_indices"]["word_embeddings"], {})
    set_peft_model_state_dict(model, {name: tensor.float() for name, tensor in weights.items()})
    head = nn.Linear(model.config.hidden_size, len(LABELS) + 1)
    with torch.no_grad():
        head.weight[: len(LABELS)] = last["weight"].float()
        head.bias[: len(LABELS)] = last["bias"].float()
    return tokenizer, model, head


def embedded(model: PeftModel, ids: Tensor) -> Tensor:
    """The rows of `ids`, the trained ones in place of the frozen; (B, T) to (B, T, D).

    Does what peft's own layer does, which copies all 33,000 rows at every step.
    """
    encoder: Any = model.get_base_model()
    adapter = encoder.embeddings.word_embeddings.token_adapter
    trained = torch.tensor(adapter.token_indices["default"])  # (N,), sorted
    place = torch.searchsorted(trained, ids).clamp(max=len(trained) - 1)
    own = F.embedding(place, adapter.trainable_tokens_delta["default"])
    return torch.where((trained[place] == ids).unsqueeze(-1), own, F.embedding(ids, adapter.base_layer.weight))


def logits_of(model: PeftModel, head: nn.Linear, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Three moods and "rude" for each text."""
    encodings = tokenizer.encode_batch(list(texts))
    ids = torch.tensor([encoding.ids for encoding in encodings])  # (B, T)
    mask = torch.tensor([encoding.attention_mask for encoding in encodings])  # (B, T)
    states = model(inputs_embeds=embedded(model, ids), attention_mask=mask).last_hidden_state  # (B, T, D)
    weights = mask.unsqueeze(-1).to(states.dtype)
    return head((states * weights).sum(1) / weights.sum(1))  # (B, 4)


@torch.inference_mode()
def predict(model: PeftModel, head: nn.Linear, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Logits of the three moods for any number of texts, in their order."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = torch.empty(len(texts), len(LABELS))
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        found[part] = logits_of(model, head, tokenizer, [texts[i] for i in part])[:, : len(LABELS)]
    return found


def save(
    out: Path, model: PeftModel, head: nn.Linear, tokenizer: Tokenizer, temperature: float, scores: dict[str, Any]
) -> None:
    """Write adapter, head, tokenizer, config and scores, in half precision; the encoder itself is not stored."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:  # peft writes a model card too, which must not replace ours
        model.half().save_pretrained(folder, save_embedding_layers=False)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(Path(folder, name), out / name)
    count = len(LABELS)
    tensors = {"weight": head.weight[:count], "bias": head.bias[:count]}
    halves = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
    save_file(halves, out / "head.safetensors")
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    config = {"labels": LABELS, "temperature": temperature, "base_sha256": MINILM_SHA256}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
