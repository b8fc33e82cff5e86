"""The compact base model: its shape, and a training step that reads a shared context once.

The architecture is transformers' `Lfm2ForCausalLM`, short convolutions between attention layers:
in small models they learn to copy much sooner than attention alone.
A batch row is an `Item`'s prefix followed by branches; a branch sees the prefix and itself, and its
convolutions reach back into the prefix, so every branch is computed as if it stood alone.
Knows tensors only: no texts, no files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import Lfm2Config, Lfm2ForCausalLM

from finetune.tasks import Item


def new_model(vocabulary: int, *, width: int, layers: str, feed_forward: int, context: int, pad: int, end: int) -> Any:
    """A model with fresh weights; `layers` has a "c" per short convolution and an "a" per attention layer."""
    config = Lfm2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=feed_forward,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=len(layers),
        layer_types=["conv" if kind == "c" else "full_attention" for kind in layers],
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        conv_L_cache=3,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=end,
        tie_word_embeddings=True,
    )
    model = Lfm2ForCausalLM(config)
    with torch.no_grad():
        _wire(model, width)
    return model


def embeddings(meaning: torch.Tensor, width: int) -> torch.Tensor:
    """Where embeddings begin: a third says what a token means, a third which it is, a third is left for its neighbour.

    Args:
        meaning: unit vectors  # (V, width / 3 - 1)

    Returns:
        weights  # (V, width)
    """
    third = width // 3
    weight = torch.zeros(meaning.shape[0], width)
    weight[:, : third - 1] = meaning * third**0.5
    weight[:, third - 1] = 4.0  # a constant, so that gates without a bias can stand open
    weight[:, third : 2 * third] = torch.randn(meaning.shape[0], third)
    return 0.02 * weight


def _wire(model: Any, width: int) -> None:
    """Begin with a model that copies, instead of waiting for it: two circuits are set, training does the rest.

    The first convolution notes which token came before; the last attention looks for a place that follows
    the present token and says what stands there (an induction head; Olsson et al. 2022). It reads slow rotary
    frequencies only, so distance does not matter. In the other attention layers keys begin alike to queries,
    so that like tokens find each other (Trockman and Kolter 2023, "Mimetic initialization").
    """
    third = width // 3
    own, last = slice(third, 2 * third), slice(2 * third, 3 * third)
    for layer in model.model.layers:
        layer.feed_forward.w2.weight.mul_(0.2)
        if layer.is_attention_layer:
            attention = layer.self_attn
            attention.k_proj.weight.copy_(0.7 * attention.q_proj.weight + 0.7 * attention.k_proj.weight)
            attention.out_proj.weight.mul_(0.1)
        else:
            layer.conv.out_proj.weight.mul_(0.5)
    conv = model.model.layers[0].conv
    gate_in, gate_out, value = conv.in_proj.weight.view(3, width, width)
    for gate in (gate_in, gate_out):
        gate[:third] = 0
        gate[:third, third - 1] = 0.25
    value[:third] = 0
    value[range(third), range(own.start, own.stop)] = 1.0
    conv.conv.weight[:third] = torch.tensor([0.0, 1.0, 0.0])
    conv.out_proj.weight[:, :third] = 0
    conv.out_proj.weight[range(last.start, last.stop), range(third)] = 0.02
    attention = model.model.layers[-1].self_attn
    slow = [i for i in range(64) if i % 32 >= 14]
    turn = torch.linalg.qr(torch.randn(third, third))[0][: len(slow)] / third**0.5
    for weight, part in ((attention.q_proj.weight, own), (attention.k_proj.weight, last)):
        weight[:64] = 0
        weight[torch.tensor(slow), part] = turn
    attention.q_layernorm.weight.fill_(1.5)
    attention.v_proj.weight[:64] = 0
    attention.v_proj.weight[range(third), range(own.start, own.stop)] = 1.0
    attention.out_proj.weight[:, :64] = 0
    attention.out_proj.weight[range(own.start, own.stop), range(third)] = 0.08
    model.model.embedding_norm.weight.fill_(3.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Items side by side, padded to one length."""

    ids: torch.Tensor
    """(B, T)"""
    positions: torch.Tensor
    """(B, T), counted along each branch"""
    before: tuple[torch.Tensor, torch.Tensor]
    """Two of (B·T,): which flat position comes one and two tokens earlier; B·T is "none"."""
    mask: torch.Tensor
    """(B, 1, T, T), True where a token may look"""
    learnt: torch.Tensor
    """(N,): flat positions that predict a token to learn"""
    targets: torch.Tensor
    """(N,)"""


def collate(items: Sequence[Item], pad: int, multiple: int = 32) -> Batch:
    """Lay items out as one batch."""
    length = -(-max(len(item) for item in items) // multiple) * multiple
    size = len(items)
    ids = torch.full((size, length), pad)
    positions = torch.zeros((size, length), dtype=torch.long)
    branch = torch.full((size, length), -1)
    none = size * length
    before = torch.full((2, none), none)
    learnt: list[int] = []
    targets: list[int] = []
    for row, item in enumerate(items):
        start, shared = row * length, len(item.prefix)
        ids[row, :shared] = torch.tensor(item.prefix, dtype=torch.long)
        positions[row, :shared] = torch.arange(shared)
        branch[row, :shared] = 0
        flat = list(range(start, start + shared))
        before[0, start + 1 : start + shared] = torch.arange(start, start + max(shared - 1, 0))
        before[1, start + 2 : start + shared] = torch.arange(start, start + max(shared - 2, 0))
        at = shared
        for number, (tail, begin) in enumerate(item.branches, 1):
            end = at + len(tail)
            ids[row, at:end] = torch.tensor(tail)
            positions[row, at:end] = torch.arange(shared, shared + len(tail))
            branch[row, at:end] = number
            path = [none, none, *flat[-2:], *range(start + at, start + end)]
            before[0, start + at : start + end] = torch.tensor(path[-len(tail) - 1 : -1])
            before[1, start + at : start + end] = torch.tensor(path[-len(tail) - 2 : -2])
            learnt += range(start + at + begin - 1, start + end - 1)
            targets += tail[begin:]
            at = end
    order = torch.arange(length)
    same = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    mask = (same & (order[None, :] <= order[:, None])).unsqueeze(1)
    return Batch(ids, positions, (before[0], before[1]), mask, torch.tensor(learnt), torch.tensor(targets))


def states(model: Any, batch: Batch) -> torch.Tensor:
    """The last hidden states of a batch, each branch as the model alone would compute it.  # (B, T, D)"""
    body = model.model
    x = body.embed_tokens(batch.ids)
    rotary = body.rotary_emb(x, position_ids=batch.positions)
    for layer in body.layers:
        normed = layer.operator_norm(x)
        if layer.is_attention_layer:
            mixed, _ = layer.self_attn(normed, position_embeddings=rotary, attention_mask=batch.mask)
        else:
            mixed = _convolve(layer.conv, normed, batch.before)
        x = x + mixed
        x = x + layer.feed_forward(layer.ffn_norm(x))
    return body.embedding_norm(x)


def _convolve(module: Any, x: torch.Tensor, before: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """`Lfm2ShortConv` of width 3 as a sum over named predecessors; also faster than a depthwise convolution here."""
    gate_in, gate_out, value = module.in_proj(x).chunk(3, dim=-1)
    gated = gate_in * value  # (B, T, D)
    flat = F.pad(gated.reshape(-1, gated.shape[-1]), (0, 0, 0, 1))  # (B·T + 1, D), the last row is "none"
    weight = module.conv.weight[:, 0].to(gated.dtype)  # (D, 3), the latest token last
    mixed = (
        flat[:-1] * weight[:, 2]
        + F.embedding(before[0], flat) * weight[:, 1]
        + F.embedding(before[1], flat) * weight[:, 0]
    )
    return module.out_proj(gate_out * mixed.view_as(gated))


def loss_of(model: Any, batch: Batch, read: Callable[[Any, Batch], torch.Tensor] = states) -> torch.Tensor:
    """Mean cross entropy over what is to be learnt; logits are computed nowhere else.

    Args:
        read: `states`, or the same compiled.
    """
    hidden = read(model, batch)
    wanted = hidden.reshape(-1, hidden.shape[-1]).index_select(0, batch.learnt)
    return F.cross_entropy(model.lm_head(wanted).float(), batch.targets)


@torch.no_grad()
def exact(model: Any, items: Sequence[Item], pad: int, together: int = 8) -> tuple[float, float]:
    """Shares of answers that greedy decoding would give word for word, and of those whose first four tokens it gives.

    An answer is decoded word for word exactly when each of its tokens is the likeliest after the ones before,
    so one reading of the whole answer tells what generating it would.
    """
    whole = first = count = 0
    ordered = sorted(items, key=len)
    for start in range(0, len(ordered), together):
        group = ordered[start : start + together]
        batch = collate(group, pad)
        hidden = states(model, batch)
        right = model.lm_head(hidden.reshape(-1, hidden.shape[-1])[batch.learnt]).argmax(-1) == batch.targets
        at = 0
        for item in group:
            for ids, begin in item.branches:
                answer = right[at : at + len(ids) - begin]
                at += len(answer)
                whole += int(answer.all())
                first += int(answer[:4].all())
                count += 1
    return round(whole / max(count, 1), 3), round(first / max(count, 1), 3)
