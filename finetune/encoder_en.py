"""The English encoder's adapter: LoRA weights for all-MiniLM-L6-v2, learnt from a shop's questions and passages."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from bot.models import minilm_path
from finetune.encoder_data import ShopTexts, shop_batch
from finetune.encoder_zh import contrast

RANK = 16
BATCH = 64
MAX_TOKENS = 64
LEARNING_RATE = 1e-3
WARM_UP = 15
"""Steps until the learning rate is whole; it then falls to zero in a line."""


def make(shop: ShopTexts, folder: Path, steps: int, seed: int) -> None:
    """Train on a shop's texts and write the adapter."""
    from peft import LoraConfig, TaskType
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(seed)
    dice = random.Random(seed)
    model: Any = SentenceTransformer(str(minilm_path()), device="cpu", local_files_only=True)
    model.max_seq_length = MAX_TOKENS
    model.add_adapter(
        LoraConfig(
            task_type=TaskType.FEATURE_EXTRACTION,
            r=RANK,
            lora_alpha=2 * RANK,
            lora_dropout=0.1,
            target_modules=["query", "key", "value", "dense"],
        )
    )
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=LEARNING_RATE, weight_decay=0.01)
    model.train()
    bar = tqdm(range(steps), desc="English adapter")
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)
        left, right, owners = shop_batch(shop, BATCH, dice)
        loss = contrast(_embed(model, left), _embed(model, right), owners)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    model.half().save_pretrained(str(folder))


def _embed(model: Any, texts: list[str]) -> Tensor:
    """Unit vectors that gradients flow through.  # (B, D)"""
    return F.normalize(model(model.preprocess(texts))["sentence_embedding"], dim=1)
