"""Batches: items of like length together. Knows nothing of what they say."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from finetune.tasks import Item


def batches(items: Sequence[Item], tokens: int, rng: random.Random) -> list[list[Item]]:
    """Items of like length together, about `tokens` in a batch with its padding; in random order."""
    found: list[list[Item]] = []
    for item in sorted(items, key=len):
        if not found or len(item) * (len(found[-1]) + 1) > tokens:
            found.append([])
        found[-1].append(item)
    rng.shuffle(found)
    return found


def padded(items: Sequence[Item], pad: int) -> dict[str, torch.Tensor]:
    """Items of one branch each as any causal model takes them: `input_ids`, `attention_mask`, `labels`.  # (B, T)"""
    length = max(map(len, items))
    ids = torch.full((len(items), length), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, item in enumerate(items):
        ((tail, begin),) = item.branches
        whole = [*item.prefix, *tail]
        ids[row, : len(whole)] = torch.tensor(whole)
        mask[row, : len(whole)] = 1
        labels[row, len(item.prefix) + begin : len(whole)] = torch.tensor(tail[begin:])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
