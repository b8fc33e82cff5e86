"""The compact base model: its shape, and a training step that reads a shared context once.

The architecture is transformers' `Lfm2ForCausalLM`, short convolutions between attention layers:
in small models they learn to copy much sooner than attention alone.
A batch row is an `Item`'s prefix followed by branches; a branch sees the prefix and itself, and its
convolutions reach back into the prefix, so every branch is computed as if it stood alone.
Knows tensors only: no texts, no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    return Lfm2ForCausalLM(config)


STREAM = 0.1
"""Size of the stream's numbers at the start: steps of the optimizer are small beside it, so circuits last."""


def embeddings(meaning: torch.Tensor, width: int, words: Sequence[str]) -> torch.Tensor:
    """Where embeddings begin: a quarter says what a token means, a quarter which it is; two stay free for `wire`.

    Args:
        meaning: unit vectors  # (V, width / 4 - 2)
        words: each token's text; those that differ in case or by a space only begin alike.

    Returns:
        weights  # (V, width)
    """
    part = width // 4
    weight = torch.zeros(meaning.shape[0], width)
    weight[:, : part - 2] = (meaning - meaning.mean(0)) * part**0.5
    rank = torch.arange(meaning.shape[0]).clamp_min(1).log()  # byte-level BPE numbers tokens by how common they are
    weight[:, part - 2] = ((rank - rank[300]) / (rank[-1] - rank[300])).clamp_min(0) * 4.0
    weight[:, part - 1] = 4.0  # a constant, so that gates and queries without a bias can stand open
    first: dict[str, int] = {}
    alike = torch.tensor([first.setdefault(word.strip().lower() or word, i) for i, word in enumerate(words)])
    weight[:, part : 2 * part] = 0.8 * torch.randn(meaning.shape[0], part)[alike]
    weight[:, part : 2 * part] += 0.6 * torch.randn(meaning.shape[0], part)
    return STREAM * weight


def wire(model: Any, breaks: Mapping[int, float], asks: Sequence[int]) -> None:
    """Begin with a model that finds and copies, instead of waiting for it: circuits are set, training does the rest.

    Call it after the embeddings are set. The residual stream has four parts: what a token means, which it is,
    which came before, and which began its line. The layers must begin with `cacaa`:

    0. the first convolution notes which token came before;
    1. attention looks back to where the line began, and notes with which token;
    3. one head looks for the present token's like in other lines, and learns with what they begin (so a question
       finds its rule); another looks for a place that follows the present token, in a line with such a beginning,
       and says what stands there (an induction head; Olsson et al. 2022);
    4. a position gathers what the latest tokens have found (so an answer begins as its rule does).

    The other heads begin as usual, keys alike to queries (Trockman and Kolter 2023, "Mimetic
    initialization"). Matching reads slow rotary frequencies, so distance does not matter; "nearest" reads faster ones.

    Args:
        breaks: tokens after which a line begins, and how surely.
    """
    body = model.model
    part = 64
    means, own, before, begun = (slice(i * part, (i + 1) * part) for i in range(4))
    one = part - 1
    slow = torch.tensor([i for i in range(64) if i % 32 >= 14])
    turn = torch.linalg.qr(torch.randn(part, part))[0][: len(slow)] / part**0.5
    with torch.no_grad():
        for layer in body.layers:
            if layer.is_attention_layer:
                attention = layer.self_attn
                attention.k_proj.weight.copy_(0.7 * attention.q_proj.weight + 0.7 * attention.k_proj.weight)
                attention.out_proj.weight.mul_(0.5)
            else:
                layer.conv.out_proj.weight.mul_(2.0)
        _note_before(body.layers[0].conv, own, before, one)
        start, match, gather = (body.layers[i].self_attn for i in (1, 3, 4))
        for attention, heads in ((start, 1), (match, 3), (gather, 1)):
            attention.q_proj.weight[: heads * part] = 0
            attention.k_proj.weight[: heads * part] = 0

        flag = sum(weight * body.embed_tokens.weight[token, own] for token, weight in breaks.items())
        for pair in (9, 10):
            start.q_proj.weight[pair, one] = 1.0
            start.k_proj.weight[pair, before] = flag / STREAM / part
        start.k_proj.weight[20:32, one] = 0.12
        start.q_layernorm.weight.fill_(3.5)
        _carry(start, 0, own, begun, STREAM)

        match.q_proj.weight[slow, own] = turn
        match.k_proj.weight[slow, own] = turn
        for pair in range(1, 10):  # away from oneself and one's neighbours
            match.q_proj.weight[pair, one] = 0.04
            match.k_proj.weight[pair, one] = -0.04
        match.q_layernorm.weight.fill_(2.2)
        _carry(match, 0, begun, before, 3 * STREAM)

        match.q_proj.weight[part + slow, own] = turn
        match.k_proj.weight[part + slow, before] = turn
        match.q_proj.weight[part + slow, begun] = 0.5 * turn.roll(1, 0)
        match.k_proj.weight[part + slow, begun] = 0.5 * turn.roll(1, 0)
        _carry(match, 1, own, own, 4 * STREAM)

        mind = torch.linalg.qr(torch.randn(one - 1, one - 1))[0][: len(slow)] / part**0.5
        match.q_proj.weight[2 * part + slow, : one - 1] = mind
        match.k_proj.weight[2 * part + slow, : one - 1] = mind
        for pair in range(1, 10):
            match.q_proj.weight[2 * part + pair, one] = 0.04
            match.k_proj.weight[2 * part + pair, one] = -0.04
        _carry(match, 2, begun, before, 3 * STREAM)

        asked = sum(body.embed_tokens.weight[token, own] for token in asks)
        for pair in (20, 22, 24, 26, 28, 30):
            gather.q_proj.weight[pair, one] = 1.0
            gather.k_proj.weight[pair, begun] = asked / STREAM / part * 2
            gather.k_proj.weight[pair, one - 1] = 0.1
        gather.k_proj.weight[0:12, one] = 0.3
        gather.q_layernorm.weight.fill_(2.5)
        _carry(gather, 0, before, own, 2.5 * STREAM)
        body.embedding_norm.weight.fill_(3.0 * 0.02 / STREAM)


def _note_before(conv: Any, own: slice, before: slice, one: int) -> None:
    """Make channels of a short convolution pass on the previous token's identity."""
    width = conv.out_proj.weight.shape[0]
    part = own.stop - own.start
    gate_in, gate_out, value = conv.in_proj.weight.view(3, width, width)
    for gate in (gate_in, gate_out):
        gate[:part] = 0
        gate[:part, one] = 0.25
    value[:part] = 0
    value[:part, own] = torch.eye(part)
    conv.conv.weight[:part] = torch.tensor([0.0, 1.0, 0.0])
    conv.out_proj.weight[:, :part] = 0
    conv.out_proj.weight[before, :part] = STREAM * torch.eye(part)


def _carry(attention: Any, head: int, source: slice, target: slice, strength: float) -> None:
    """Make a head bring one part of the stream, from where it looks, to another part."""
    part = source.stop - source.start
    mine = slice(head * part, (head + 1) * part)
    attention.v_proj.weight[mine] = 0
    attention.v_proj.weight[mine, source] = torch.eye(part)
    attention.out_proj.weight[:, mine] = 0
    attention.out_proj.weight[target, mine] = strength * torch.eye(part)


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
