"""Batches: items of like length together, laid out as tensors that any causal model takes.

A batch of lone examples is padded on the left, so that all answers end together; a batch of items with branches
is padded on the right, and its mask lets every branch see the prefix and itself. Either way logits are computed
where something is learnt and nowhere else. Knows nothing of what the items say.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from finetune.tasks import Item


def batches(items: Sequence[Item], tokens: int, rng: random.Random) -> list[list[Item]]:
    """Items of like length together, about `tokens` in a batch with its padding; in random order."""
    found = _alike(items, tokens)
    rng.shuffle(found)
    return found


def _alike(items: Sequence[Item], tokens: int) -> list[list[Item]]:
    found: list[list[Item]] = []
    for item in sorted(items, key=len):
        if not found or len(item) * (len(found[-1]) + 1) > tokens:
            found.append([])
        found[-1].append(item)
    return found


def steps(
    items: Sequence[Item], tokens: int, rng: random.Random, *, processes: int = 1, accumulate: int = 1
) -> list[list[list[Item]]]:
    """An epoch's steps in random order, each with its batches: `accumulate` for every process.

    Batches that processes compute at the same time are of like length, so that none waits for another. Process
    number p takes `step[p::processes]`; some batches come twice where their number does not divide by `processes`.
    """
    found = _alike(items, tokens)
    found += rng.choices(found, k=-len(found) % processes) if found else []
    found.sort(key=lambda batch: max(map(len, batch)))
    together = [found[i : i + processes] for i in range(0, len(found), processes)]
    rng.shuffle(together)
    return [
        [batch for group in together[i : i + accumulate] for batch in group]
        for i in range(0, len(together), accumulate)
    ]


def learnt(items: Sequence[Item]) -> int:
    """Tokens that items teach."""
    return sum(len(ids) - begin for item in items for ids, begin in item.branches)


@dataclass(frozen=True, slots=True)
class Laid:
    """Items side by side."""

    inputs: dict[str, Any]
    """What the model's forward takes."""
    targets: torch.Tensor
    """(B, K): the token after each kept position, -100 where nothing is learnt"""
    owners: torch.Tensor
    """(B, K): which of the batch's answers it belongs to"""


def lay_out(items: Sequence[Item], pad: int, device: torch.device | str = "cpu") -> Laid:
    """Lay items out as one batch."""
    size, length = len(items), max(map(len, items))
    folded = any(len(item.branches) > 1 for item in items)
    ids = torch.full((size, length), pad)
    positions = torch.zeros((size, length), dtype=torch.long)
    branch = torch.full((size, length), -1)  # 0 is the prefix
    targets, owners = torch.full((size, length), -100), torch.zeros((size, length), dtype=torch.long)
    answers = 0
    for row, item in enumerate(items):
        shared = len(item.prefix)
        start = 0 if folded else length - len(item)
        ids[row, start : start + shared] = torch.tensor(item.prefix, dtype=torch.long)
        positions[row, start : start + shared] = torch.arange(shared)
        branch[row, start : start + shared] = 0
        at = start + shared
        for number, (tail, begin) in enumerate(item.branches, 1):
            end = at + len(tail)
            ids[row, at:end] = torch.tensor(tail)
            positions[row, at:end] = torch.arange(shared, shared + len(tail))
            branch[row, at:end] = number if folded else 0
            targets[row, at + begin - 1 : end - 1] = torch.tensor(tail[begin:])
            owners[row, at + begin - 1 : end - 1] = answers
            at, answers = end, answers + 1
    keep = (targets != -100).any(0).nonzero().squeeze(1)  # (K,)
    inputs = {"input_ids": ids, "position_ids": positions, "logits_to_keep": keep}
    if folded:
        order = torch.arange(length)
        same = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
        inputs["attention_mask"] = (same & (order[None, :] <= order[:, None])).unsqueeze(1)  # (B, 1, T, T)
    elif (branch < 0).any():
        inputs["attention_mask"] = (branch >= 0).long()
    return Laid(
        {name: tensor.to(device) for name, tensor in inputs.items()},
        targets[:, keep].to(device), owners[:, keep].to(device),
    )  # fmt: skip


def loss_sum(model: Any, laid: Laid) -> torch.Tensor:
    """Cross entropy summed over what is learnt."""
    logits = model(**laid.inputs).logits  # (B, K, V)
    return F.cross_entropy(logits.flatten(0, 1).float(), laid.targets.flatten(), ignore_index=-100, reduction="sum")


@torch.no_grad()
def measure(model: Any, laid: Laid) -> tuple[float, int]:
    """The summed cross entropy, and how many answers greedy decoding would give word for word."""
    logits = model(**laid.inputs).logits.float()
    learns = laid.targets != -100
    wrong = (logits.argmax(-1) != laid.targets) & learns
    missed = torch.unique(laid.owners[wrong]).numel()
    loss = F.cross_entropy(logits.flatten(0, 1), laid.targets.flatten(), ignore_index=-100, reduction="sum")
    return loss.item(), torch.unique(laid.owners[learns]).numel() - missed
