"""The Chinese encoder: one vector a word, their mean is a text's (sentence-transformers' StaticEmbedding).

Words start at random and are moved by contrast: a text must be nearer to its partner than to the others of the batch. While it learns, a word is the sum of a
vector of its own and of its characters', so that rare words move with common ones; what is saved is the sum.
Words are cut with jieba here only: the saved tokenizer is a plain Unigram one over the words that were kept.
"""

from __future__ import annotations

import logging
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from finetune.encoder_data import ShopTexts, shop_batch

WORDS = 22_000
"""With 256 dimensions in half precision: 11.3 MB."""
CHARACTERS = 5_000
DIMENSIONS = 256
SCALE = 20.0
"""Of cosines before the softmax; the default of MultipleNegativesRankingLoss."""
RARE = 1e-3
"""A word's weight at the start is RARE / (RARE + its share of all words) (Arora et al., 2017)."""
WORD_DROPOUT = 0.5
LEARNING_RATE = 3e-3
BATCH = 256

_WORD = re.compile(r"[\u4e00-\u9fff]+|[a-z]+")


@dataclass(frozen=True, slots=True)
class Start:
    """What training begins with; it may begin more than once."""

    tokenizer: Tokenizer
    words: tuple[str, ...]
    vectors: Tensor  # (1 + W, DIMENSIONS), the unknown word's first
    weights: Tensor  # (1 + W, 1)


def start(texts: Iterable[str]) -> Start:
    """Choose words for a shop's texts, and their first vectors."""
    counts, own = count_words(texts)
    words = choose_words(counts, own)
    vectors, weights = first_vectors(words, counts)
    return Start(build_tokenizer(words, counts), tuple(words), vectors, weights)


def count_words(shop: Iterable[str], *, shop_weight: int = 300) -> tuple[Counter[str], set[str]]:
    """How often each word stands in common Chinese (jieba's dictionary) and in the shop; and which are the shop's."""
    import jieba

    jieba.setLogLevel(logging.ERROR)
    jieba.initialize()
    counts = Counter({word: times for word, times in jieba.dt.FREQ.items() if times and _WORD.fullmatch(word)})
    own: Counter[str] = Counter()
    for text in shop:
        own.update(filter(_WORD.fullmatch, jieba.cut(text.lower())))
    for word, times in own.items():
        counts[word] += shop_weight * times
    return counts, set(own)


def choose_words(counts: Counter[str], own: set[str], size: int = WORDS) -> list[str]:
    """Digits, letters and the shop's and the commonest characters, then the shop's words, then the commonest."""
    spelt: Counter[str] = Counter()
    for word, times in counts.items():
        for character in word:
            spelt[character] += times + (10**12 if word in own else 0)
    first = dict.fromkeys([*"0123456789abcdefghijklmnopqrstuvwxyz", *(c for c, _ in spelt.most_common(CHARACTERS))])
    rest = sorted((word for word in counts if len(word) > 1), key=lambda word: (word not in own, -counts[word], word))
    return [*first, *rest][:size]


def build_tokenizer(words: Sequence[str], counts: Counter[str]) -> Tokenizer:
    """A Unigram tokenizer that cuts a text into the likeliest words; token 0 is the unknown one."""
    total = sum(counts[word] + 1 for word in words)
    pieces = [("[UNK]", -25.0), *((word, math.log((counts[word] + 1) / total)) for word in words)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\u4e00-\u9fffa-z0-9]+"), "removed"),
            pre_tokenizers.Split(Regex(r"[a-z]+|[0-9]"), "isolated"),
        ]
    )
    return tokenizer


def first_vectors(words: Sequence[str], counts: Counter[str]) -> tuple[Tensor, Tensor]:
    """Vectors to start from, and each word's weight.

    Returns:
        vectors  # (1 + W, DIMENSIONS), the unknown word's first, zero
        weights  # (1 + W, 1)
    """
    vectors = np.random.default_rng(0).normal(size=(len(words), DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shares = np.array([counts[word] + 1 for word in words], dtype=np.float64)
    weights = np.concatenate([[0.0], RARE / (RARE + shares / shares.sum())])[:, None]
    start = np.concatenate([np.zeros((1, vectors.shape[1])), vectors]) * weights
    return torch.tensor(start, dtype=torch.float32), torch.tensor(weights, dtype=torch.float32)


def train(start: Start, shop: ShopTexts, *, steps: int, seed: int) -> np.ndarray:
    """Learn which of the shop's texts belong together.  # (1 + W, DIMENSIONS)

    Many more passes over the questions learn them by heart: hit@1 on other ones falls (2026-11-23).
    """
    dice = random.Random(seed)
    own = torch.nn.Parameter(start.vectors.clone())
    spelling = _spelling(start.words)
    characters = torch.nn.Parameter(torch.zeros(spelling.shape[1], start.vectors.shape[1]))
    optimizer = torch.optim.Adam([own, characters], lr=LEARNING_RATE)

    def table() -> Tensor:
        return own + torch.sparse.mm(spelling, characters) * start.weights

    bar = tqdm(range(steps), desc="Chinese encoder")
    for _ in bar:
        left, right, owners = shop_batch(shop, BATCH, dice)
        vectors = table()
        loss = contrast(
            embed(start.tokenizer, vectors, left, dice), embed(start.tokenizer, vectors, right, dice), owners
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    return table().detach().numpy()


def contrast(left: Tensor, right: Tensor, owners: np.ndarray | None) -> Tensor:
    """The loss of MultipleNegativesRankingLoss, both ways; texts of the same owner are no negatives.

    Args:
        left, right: Unit vectors; row n of one belongs to row n of the other.  # (B, D)
        owners: Passage of each row; None if all differ.  # (B,)
    """
    scores = SCALE * left @ right.T
    if owners is not None:
        same = torch.from_numpy(owners[:, None] == owners[None])
        scores = scores.masked_fill(same.fill_diagonal_(False), -1e4)
    labels = torch.arange(len(scores))
    return (F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels)) / 2


def _spelling(words: Sequence[str]) -> Tensor:
    """Which characters a word is the mean of.  # (1 + W, C), sparse"""
    number: dict[str, int] = {}
    places, values = [], []
    for row, word in enumerate(words, 1):
        for character in word:
            places.append((row, number.setdefault(character, len(number))))
            values.append(1 / len(word))
    size = (len(words) + 1, len(number))
    return torch.sparse_coo_tensor(torch.tensor(places).T, values, size, check_invariants=True).coalesce()


def embed(tokenizer: Tokenizer, table: Tensor, texts: list[str], dice: random.Random) -> Tensor:
    """Unit vectors of texts, some words of each left out.  # (B, D)"""
    kept = []
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        kept.append([id for id in encoding.ids if dice.random() >= WORD_DROPOUT] or encoding.ids or [0])
    starts = torch.tensor(np.cumsum([0, *(len(ids) for ids in kept[:-1])]))
    flat = torch.tensor([id for ids in kept for id in ids])
    return F.normalize(F.embedding_bag(flat, table, starts, mode="mean"), dim=1)


def save(tokenizer: Tokenizer, vectors: np.ndarray, folder: Path) -> None:
    """Write a sentence-transformers model in half precision; other files of the folder stay."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    static: Any = StaticEmbedding(tokenizer, embedding_weights=vectors.astype(np.float32))
    folder.mkdir(parents=True, exist_ok=True)
    SentenceTransformer(modules=[static.half()], device="cpu").save_pretrained(str(folder), create_model_card=False)
