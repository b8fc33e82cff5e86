"""A base model with a fresh adapter on it, and the optimizer that a config asks for.

Knows transformers, peft and bitsandbytes; no rows and no loop.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from bot.errors import ModelError, SettingsError
from finetune.config import Config

FOLDED = frozenset(("lfm2", "llama", "qwen2", "qwen3", "mistral", "smollm3", "olmo2"))
"""Architectures that a context may be read once for: every layer sees what the mask says and nothing else."""


def load_tokenizer(base: str) -> Any:
    """The base's tokenizer.

    Raises:
        ModelError: it cannot be loaded, or has no chat template or end of turn.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"No tokenizer could be loaded from {base}: {str(error).splitlines()[0]} "
            "Give `--base` a folder in Hugging Face format or a name on the hub."
        ) from None
    if not tokenizer.chat_template:
        raise ModelError(f"The tokenizer of {base} has no chat template; take an instruction-tuned model.")
    if not tokenizer.eos_token:
        raise ModelError(f"The tokenizer of {base} names no `eos_token`, so no answer could end; add it there.")
    return tokenizer


def dtype_of(config: Config) -> torch.dtype:
    """What the base is held and computed in."""
    if config.dtype == "auto":
        return torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32


def load_adapted(base: str, config: Config, device: int = 0) -> Any:
    """The base, frozen, with a fresh adapter.

    Args:
        device: of the process, where there are GPUs.

    Raises:
        ModelError: the base cannot be loaded.
        SettingsError: `targets` names no layer of it.
    """
    options: dict[str, Any] = {"dtype": dtype_of(config)}
    if config.four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
        options["device_map"] = {"": device if torch.cuda.is_available() else "cpu"}
    try:
        model = AutoModelForCausalLM.from_pretrained(base, **options)
    except (OSError, ValueError) as error:
        raise ModelError(f"No base model could be loaded from {base}: {str(error).splitlines()[0]}") from None
    model.config.use_cache = False
    again = {"use_reentrant": False}
    if config.four_bit:
        model = prepare_model_for_kbit_training(model, config.gradient_checkpointing, again)
    elif config.gradient_checkpointing:
        model.gradient_checkpointing_enable(again)
        model.enable_input_require_grads()
    targets = "all-linear" if config.targets == "auto" else [name.strip() for name in config.targets.split(",")]
    try:
        return get_peft_model(
            model,
            LoraConfig(
                task_type="CAUSAL_LM", r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout,
                target_modules=targets, use_rslora=config.rslora, use_dora=config.dora,
            ),
        )  # fmt: skip
    except ValueError as error:
        if "not found in the base model" not in str(error):
            raise SettingsError(f"No adapter can be laid on {base}: {error}") from None
        linear = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        raise SettingsError(
            f"`targets` = {config.targets!r} names no layer of {base}; its linear layers are {', '.join(sorted(linear))}."
        ) from None


def can_fold(model: Any) -> bool:
    """Whether a context may be read once for all questions about it."""
    config = model.config
    whole = all(kind == "full_attention" for kind in getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return config.model_type == "lfm2" or (
        config.model_type in FOLDED and whole and not window and config._attn_implementation == "sdpa"
    )


def make_optimizer(model: Any, config: Config) -> torch.optim.Optimizer:
    """The optimizer over what is trained.

    Raises:
        SettingsError: it needs a GPU and there is none.
    """
    learnt = [p for p in model.parameters() if p.requires_grad]
    options: dict[str, Any] = {"lr": config.rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        return torch.optim.AdamW(learnt, **options)
    if not torch.cuda.is_available():
        raise SettingsError(f'`optimizer = "{config.optimizer}"` needs a GPU; set it to "adamw" here.')
    optim: Any = importlib.import_module("bitsandbytes.optim")
    kinds = {"adamw_8bit": optim.AdamW8bit, "paged_adamw": optim.PagedAdamW, "paged_adamw_8bit": optim.PagedAdamW8bit}
    return kinds[config.optimizer](learnt, **options)
