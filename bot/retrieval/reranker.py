"""The reranker: reads a question and a rule token by token, and tells whether the rule answers it.

A decomposable attention model (Parikh et al., 2016): every token looks for its counterpart on the other side, both are
compared, and what was found, and what was not, is summed up. An embedding of a whole text cannot see that one asked
attribute is missing. It reads the encoder's token vectors, so a rule is encoded once and kept; `finetune encoder`
trains it, twice from different beginnings, since two that differ are right more often than one. Knows neither passages nor languages.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bot.errors import ModelError

FILE = "reranker.safetensors"
"""Beside the encoder that it reads with."""
LONGEST = 64
"""Tokens read of a text."""
KEPT = 4096
"""Rules whose token vectors are kept in memory; 30 tokens of 384 numbers are 23 kB."""
_NEVER = -1e4


class EncodesTokens(Protocol):
    """What is needed of an encoder; `bot.retrieval.dense.Encoder` is the one that is served."""

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """A vector for each token of each text, one at least.  # (T, D) each"""
        ...


class Matcher(nn.Module):
    """The network; `width` numbers a token."""

    def __init__(self, dimension: int, width: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.project = nn.Linear(dimension, width)
        self.context = nn.Conv1d(width, width, 3, padding=1)
        self.align = nn.Linear(width, width, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        self.nothing = nn.Parameter(torch.tensor(0.0))
        """How near a token finds "no counterpart"."""
        self.compare = nn.Sequential(
            nn.Linear(4 * width + 1, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width), nn.GELU()
        )
        self.weigh = nn.Linear(width, 1)
        self.judge = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 1))
        self.drop = nn.Dropout(dropout)

    def read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens, each with its neighbours.  # (N, T, D), (N, T) to (N, T, width)"""
        here = mask.unsqueeze(-1)
        states = self.drop(self.project(tokens)) * here
        return states + F.gelu(self.context(states.transpose(1, 2)).transpose(1, 2)) * here

    def forward(self, asked: Tensor, asked_mask: Tensor, rules: Tensor, rules_mask: Tensor) -> Tensor:
        """The logit of each pair.  # (N, Q, width), (N, Q), (N, R, width), (N, R) to (N,)"""
        left, right = (F.normalize(self.align(states), dim=-1) for states in (asked, rules))
        near = left @ right.transpose(1, 2) * (4 * torch.exp(self.sharpness))  # (N, Q, R)
        found = [
            self._side(asked, asked_mask, rules, rules_mask, near),
            self._side(rules, rules_mask, asked, asked_mask, near.transpose(1, 2)),
        ]
        return self.judge(torch.cat(found, 1))[:, 0]

    def _side(self, own: Tensor, own_mask: Tensor, other: Tensor, other_mask: Tensor, near: Tensor) -> Tensor:
        """What one side found on the other.  # (N, 2 * width)"""
        near = near.masked_fill(~other_mask[:, None], _NEVER)
        shares = torch.cat([near, self.nothing.expand(*near.shape[:2], 1)], 2).softmax(2)
        found = shares[:, :, :-1] @ other
        best = near.max(2, keepdim=True).values / 10
        compared = self.compare(torch.cat([own, found, own - found, own * found, best], 2))
        weights = self.weigh(own)[:, :, 0].masked_fill(~own_mask, _NEVER).softmax(1)
        most = compared.masked_fill(~own_mask.unsqueeze(-1), _NEVER).max(1).values
        return torch.cat([(compared * weights.unsqueeze(-1)).sum(1), most], 1)


def pad(vectors: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Token vectors side by side, and where there is one.  # (N, T, D), (N, T)"""
    length = max(len(v) for v in vectors)
    tokens = torch.zeros(len(vectors), length, vectors[0].shape[1])
    mask = torch.zeros(len(vectors), length, dtype=torch.bool)
    for row, found in enumerate(vectors):
        tokens[row, : len(found)] = torch.from_numpy(np.ascontiguousarray(found, np.float32))
        mask[row, : len(found)] = True
    return tokens, mask


class Reranker:
    """Trained networks over an encoder, which judge as the mean of them; may be called from any thread."""

    def __init__(self, networks: Sequence[Matcher], encoder: EncodesTokens, fingerprint: str) -> None:
        self._networks = [network.eval() for network in networks]
        self._encoder = encoder
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self.fingerprint = fingerprint
        """Of the weights, sixteen hex digits."""

    def logits(self, query: str, rules: Sequence[str]) -> np.ndarray:
        """How surely each rule answers the query, as log-odds before calibration.  # (N,)"""
        if not rules:
            return np.zeros(0)
        asked, asked_mask = pad([self._encoder.tokens([query])[0][:LONGEST]])
        texts, texts_mask = pad(self._vectors(rules))
        asked_mask = asked_mask.expand(len(rules), -1)
        with torch.inference_mode():
            found = [
                network(
                    network.read(asked, asked_mask[:1]).expand(len(rules), -1, -1), asked_mask,
                    network.read(texts, texts_mask), texts_mask,
                )
                for network in self._networks
            ]  # fmt: skip
            return torch.stack(found).mean(0).numpy().astype(np.float64)

    def _vectors(self, rules: Sequence[str]) -> list[np.ndarray]:
        """The rules' token vectors, from memory where they are kept."""
        with self._lock:
            found = {rule: self._kept[rule] for rule in rules if rule in self._kept}
        missing = [rule for rule in dict.fromkeys(rules) if rule not in found]
        if missing:
            made = self._encoder.tokens(missing)
            found |= {rule: v[:LONGEST].astype(np.float16) for rule, v in zip(missing, made, strict=True)}
        with self._lock:
            for rule in rules:
                self._kept[rule] = found[rule]
                self._kept.move_to_end(rule)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return [found[rule] for rule in rules]


def rule_text(heading: str, line: str) -> str:
    """A rule as the reranker reads it: under its passage's heading."""
    return f"{heading}: {line.removeprefix('- ')}"


def load(path: Path, encoder: EncodesTokens) -> Reranker:
    """Load a reranker. Raises ModelError if it is missing or broken."""
    try:
        content = path.read_bytes()
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in load_file(path).items():
            part, _, weight = name.partition(".")
            parts.setdefault(part, {})[weight] = tensor.float()
        networks = []
        for _, weights in sorted(parts.items()):
            width, dimension = weights["project.weight"].shape
            networks.append(Matcher(dimension, width))
            networks[-1].load_state_dict(weights)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"The reranker {path} cannot be read ({error}); run `python -m finetune encoder`.") from error
    return Reranker(networks, encoder, hashlib.sha256(content).hexdigest()[:16])


def save(networks: Sequence[Matcher], path: Path) -> None:
    """Write the weights in half precision."""
    parts = {f"{n}.{name}": t for n, network in enumerate(networks) for name, t in network.state_dict().items()}
    save_file({name: tensor.half().contiguous() for name, tensor in parts.items()}, path)
