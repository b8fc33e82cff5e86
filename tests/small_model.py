"""A checkpoint in Hugging Face format that recites a text: made on the spot, in milliseconds, for real loading code."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

START, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
RECITED = "Delivery takes three working days 免。"
"""No token comes twice, and the Han character and full stop are three tokens each."""


def tokenizer(chat_template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose words are those of `RECITED`."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[START, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    bpe.train_from_iterator([RECITED.split("免")[0]] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, additional_special_tokens=[START], chat_template=chat_template
    )


def save_model(folder: Path, *, text: str = RECITED, ends: bool = True, chat_template: str | None = CHATML) -> Path:
    """Write a Llama of one idle layer: each token's successor stands in the last matrix.

    Args:
        text: recited after any prompt; no token may come twice in it.
        ends: False begins again at the end, for ever.
    """
    words = tokenizer(chat_template)
    words.save_pretrained(folder)
    size = (len(words) + 7) // 8 * 8
    config = LlamaConfig(
        vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=4096, tie_word_embeddings=False, bos_token_id=None, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    chain = words.encode(text, add_special_tokens=False)
    assert len(set(chain)) == len(chain), "A token comes twice."
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        [newline] = words.encode("\n", add_special_tokens=False)
        after = [*chain, words.eos_token_id if ends else chain[0]]
        for token, successor in zip([newline, *chain], after, strict=True):
            model.lm_head.weight[successor, token] = 1.0
    model.save_pretrained(folder)
    return folder
