"""The English encoder's second half: all-MiniLM-L6-v2 stays as it is, and beside it learn a matrix for its vectors
and one vector for each of the shop's words.

MiniLM runs once a text, before the training, so that this takes seconds on a CPU. LoRA inside MiniLM would be the
other way; a step of it took as long as all of this.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from finetune.encoder_data import ShopTexts, shop_batch
from finetune.encoder_zh import contrast, embed, save

DIMENSIONS = 256
BATCH = 256
WEIGHT = 0.7
"""Of the words against MiniLM at the start; it is learnt too, and ends near 0.6."""
LEARNING_RATE = 2e-3
MATRIX_LEARNING_RATE = 5e-4
LEAST = 2
"""Texts that must hold a word for it to get a vector."""


@dataclass(frozen=True, slots=True)
class Half:
    """What is learnt."""

    tokenizer: Tokenizer
    table: np.ndarray  # (1 + W, DIMENSIONS), the unknown word's first, zero
    projection: np.ndarray  # (D, D)
    weight: float


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Whole words that stand in enough texts; the others are unknown."""
    counts = Counter(word for text in texts for word in set(re.findall(r"[a-z]+|[0-9]+", _plain(text))))
    words = ["[UNK]", *sorted(word for word, times in counts.items() if times >= LEAST)]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex("['’]"), "")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[a-z]+|[0-9]+"), "removed", invert=True)
    return tokenizer


def train(shop: ShopTexts, vectors: Mapping[str, np.ndarray], *, steps: int, seed: int) -> Half:
    """Learn which of the shop's texts belong together.

    Args:
        vectors: MiniLM's, of every question and view.  # (D,) each
    """
    torch.manual_seed(seed)
    dice = random.Random(seed)
    texts = [*shop.questions, *(view for views in shop.views for view in views)]
    tokenizer = build_tokenizer(texts)
    table = torch.nn.Parameter(torch.randn(tokenizer.get_vocab_size(), DIMENSIONS) * 0.05)
    size = len(next(iter(vectors.values())))
    matrix = torch.nn.Parameter(torch.eye(size))
    weight = torch.nn.Parameter(torch.tensor(WEIGHT))
    known = torch.ones(len(table), 1)
    known[0] = 0
    optimizer = torch.optim.Adam(
        [{"params": [table, weight], "lr": LEARNING_RATE}, {"params": [matrix], "lr": MATRIX_LEARNING_RATE}]
    )

    def both(batch: list[str]) -> Tensor:
        meaning = F.normalize(torch.from_numpy(np.stack([vectors[text] for text in batch])) @ matrix, dim=1)
        words = embed(tokenizer, table * known, batch, dice)
        return F.normalize(torch.cat([meaning, weight * words], dim=1), dim=1)

    bar = tqdm(range(steps), desc="English encoder")
    for _ in bar:
        left, right, owners = shop_batch(shop, BATCH, dice)
        loss = contrast(both(left), both(right), owners)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    learnt = (table * known).detach().numpy()
    return Half(tokenizer, learnt, matrix.detach().numpy(), float(weight.detach()))


def write(half: Half, folder: Path) -> None:
    """Write what `bot.retrieval.dense.Encoder` takes as `words`, in half precision."""
    save(half.tokenizer, half.table, folder)
    tensors = {"projection": half.projection.astype(np.float16), "weight": np.array([half.weight], np.float16)}
    save_file(tensors, folder / "projection.safetensors")


def _plain(text: str) -> str:
    return re.sub("['’]", "", text.lower())
