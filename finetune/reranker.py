"""Trains the reranker of a language: which of some rules answers a question, or none of them.

Token vectors are computed once; the network over them is small, so that minutes on one core suffice.
Knows tensors and groups; `finetune.encoder` hands in both.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bot.retrieval.reranker import LONGEST, EncodesTokens, Matcher, pad
from finetune.reranker_data import Group

TOGETHER = 24
"""Questions in a step."""
RULES = 12
"""Rules beside each question."""
RATE = 2e-3
DROPOUT = 0.2
TOKENS_LEFT_OUT = 0.1
"""Of a question; half as many of a rule."""


def token_vectors(encoder: EncodesTokens, groups: Sequence[Group], label: str) -> dict[str, np.ndarray]:
    """Every text's token vectors, in half precision.  # (T, D) each"""
    texts = sorted(dict.fromkeys(text for group in groups for text in group.texts()), key=len)
    found: dict[str, np.ndarray] = {}
    for start in tqdm(range(0, len(texts), 256), desc=label, unit="batch"):
        part = texts[start : start + 256]
        made = encoder.tokens(part)
        found |= {text: v[:LONGEST].astype(np.float16) for text, v in zip(part, made, strict=True)}
    return found


def train(
    groups: Sequence[tuple[float, Sequence[Group]]],
    vectors: Mapping[str, np.ndarray],
    *,
    steps: int,
    seed: int,
    label: str,
) -> Matcher:
    """Train a network.

    Args:
        groups: sources of questions, each with its share of the steps.
        vectors: of every text in them.
    """
    torch.manual_seed(seed)
    dice = random.Random(seed)
    drop = np.random.default_rng(seed)
    network = Matcher(next(iter(vectors.values())).shape[1], dropout=DROPOUT)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 100) * max(0.02, 1 - step / steps)
    )
    shares = [share for share, _ in groups]
    mean = 3.0
    bar = tqdm(range(steps), desc=label, unit="step")
    for _ in bar:
        drawn = [_draw(dice, dice.choice(dice.choices(groups, shares)[0][1])) for _ in range(TOGETHER)]
        loss = _loss(network, [one for one in drawn if one[1] or one[2]], vectors, drop)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean += 0.02 * (loss.item() - mean)
        bar.set_postfix(loss=f"{mean:.2f}")
    return network.eval()


def _draw(dice: random.Random, group: Group) -> tuple[str, list[str], list[str]]:
    """A question with up to two right rules and some wrong ones: first those beside the right one, then near ones."""
    right = dice.sample(group.right, min(2, len(group.right)))
    beside = dice.sample(group.beside, min(3, len(group.beside)))
    near = group.wrong[:20]
    wrong = list(dict.fromkeys([*beside, *dice.sample(near, min(len(near), RULES))]))
    return group.question, right, wrong[: RULES - len(right)]


def _loss(
    network: Matcher,
    drawn: Sequence[tuple[str, list[str], list[str]]],
    vectors: Mapping[str, np.ndarray],
    drop: np.random.Generator,
) -> Tensor:
    """Which rule answers, or none of them, as one choice; and each rule by itself."""

    def kept(text: str, share: float) -> np.ndarray:
        tokens = vectors[text]
        left = tokens[drop.random(len(tokens)) >= share]
        return left if len(left) > 2 else tokens

    asked, asked_mask = pad([kept(question, TOKENS_LEFT_OUT) for question, _, _ in drawn])
    rules, rules_mask = pad([kept(t, TOKENS_LEFT_OUT / 2) for _, right, wrong in drawn for t in right + wrong])
    owner = torch.tensor([n for n, (_, right, wrong) in enumerate(drawn) for _ in right + wrong])
    logits = network(
        network.read(asked, asked_mask)[owner], asked_mask[owner], network.read(rules, rules_mask), rules_mask
    )
    losses, start = [], 0
    for _, right, wrong in drawn:
        own = logits[start : start + len(right) + len(wrong)]
        start += len(own)
        truth = torch.tensor([1.0] * len(right) + [0.0] * len(wrong))
        every = torch.cat([own.new_zeros(1), own])
        true = torch.cat([torch.tensor([float(not right)]), truth])
        choice = torch.logsumexp(every, 0) - torch.logsumexp(every.masked_fill(true == 0, -1e4), 0)
        losses.append(choice + 0.5 * F.binary_cross_entropy_with_logits(own, truth))
    return torch.stack(losses).mean()
