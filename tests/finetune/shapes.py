"""Small checkpoints of the shapes that people fine-tune, made on the spot: random weights, their own tokenizer."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m['role'] }}<|end|>\n\n{{ m['content'] | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|end|>\n\n{% endif %}"
)
SHAPES = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, CHATML, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, CHATML, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]),
    "llama": (LlamaConfig, LlamaForCausalLM, HEADERS, ["<|start|>", "<|eot|>", "<|end|>", "<|begin|>"]),
}


def make_tokenizer(shape, texts, vocabulary=600):
    """Byte-level BPE with the shape's special tokens and chat template."""
    *_, template, special = SHAPES[shape]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=special[-1], eos_token=special[1], pad_token=special[-1],
        additional_special_tokens=special[:1], chat_template=template,
    )  # fmt: skip


def make_shape(shape, folder, texts=("Standard delivery takes 3 days and costs $5. 标准配送3天。",), *, vocabulary=600,
               width=64, layers=2, heads=4, feed_forward=128):  # fmt: skip
    """A checkpoint in Hugging Face format."""
    config, kind, *_ = SHAPES[shape]
    tokenizer = make_tokenizer(shape, texts, vocabulary)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    extra = {"head_dim": width // heads} if shape == "qwen3" else {}
    model = kind(config(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=feed_forward, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=max(heads // 2, 1), max_position_embeddings=2048,
        tie_word_embeddings=shape != "llama", pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, **extra,
    ))  # fmt: skip
    model.save_pretrained(folder)
    return tokenizer, model
