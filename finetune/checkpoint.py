"""A run's checkpoint: one safetensors file with the adapter, the best one so far, the optimizer and how far it came.

The same for one process, for several (DDP) and for shards (FSDP): what is sharded is gathered first.
Knows no rows and no loop.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from bot.errors import ModelError

ADAPTER, BEST, OPTIMIZER = "adapter|", "best|", "optimizer|"


@dataclass
class Progress:
    """How far a run has come; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0
    """Steps of the present epoch."""
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    """The best held-out loss so far."""
    looks_without_better: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """Lines of the log."""

    def is_better(self, loss: float) -> bool:
        """Whether a held-out loss is the best so far."""
        return loss < (math.inf if self.best is None else self.best)


def adapter_weights(model: Any, plain: Any) -> dict[str, torch.Tensor]:
    """The adapter's weights, whole and on the CPU; every process must ask.

    Args:
        model: as prepared for training.
        plain: the same without wrapping.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    whole = get_model_state_dict(model, options=options)
    found = get_peft_model_state_dict(plain, state_dict=whole, save_embedding_layers=False)
    return {name: weights.detach().clone().contiguous() for name, weights in found.items()}


def save(
    path: Path, model: Any, plain: Any, optimizer: Any, done: Progress, best: Any, begun: Mapping[str, Any],
    *, write: bool,
) -> None:  # fmt: skip
    """Write a checkpoint in one go; every process must ask, and the one with `write` writes."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, flatten_optimizer_state_dict=False)
    states: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=options).get("state", {})  # type: ignore
    tensors = {f"{ADAPTER}{name}": weights for name, weights in adapter_weights(model, plain).items()}
    if not write:
        return
    tensors |= {f"{BEST}{name}": weights for name, weights in (best or {}).items()}
    loose: dict[str, Any] = {}
    for name, state in states.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{OPTIMIZER}{name}|{key}"] = value.detach().cpu().clone().contiguous()
            else:
                loose[f"{name}|{key}"] = value
    notes = {"done": asdict(done), "begun": dict(begun), "optimizer": loose}
    save_file(tensors, path.with_suffix(".new"), {key: json.dumps(note) for key, note in notes.items()})
    path.with_suffix(".new").replace(path)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as read."""

    done: Progress
    begun: dict[str, Any]
    """What the run was begun with."""
    adapter: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor] | None
    optimizer: dict[str, dict[str, Any]]


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelError: there is none, or it is broken.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist, so there is nothing to resume; start without `--resume`.")
    parts: dict[str, dict[str, torch.Tensor]] = {ADAPTER: {}, BEST: {}, OPTIMIZER: {}}
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata()
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                kind = name[: name.index("|") + 1]
                parts[kind][name.removeprefix(kind)] = file.get_tensor(name)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is broken ({error}); delete it and start without `--resume`.") from None
    states: dict[str, dict[str, Any]] = {}
    for name, value in (parts[OPTIMIZER] | json.loads(notes["optimizer"])).items():
        parameter, key = name.rsplit("|", 1)
        states.setdefault(parameter, {})[key] = value
    return Checkpoint(
        Progress(**json.loads(notes["done"])), json.loads(notes["begun"]), parts[ADAPTER], parts[BEST] or None, states
    )


def put_adapter(plain: Any, weights: dict[str, torch.Tensor]) -> None:
    """Set the adapter's weights, before the model is wrapped."""
    set_peft_model_state_dict(plain, weights)


def put_optimizer(model: Any, optimizer: Any, states: dict[str, dict[str, Any]]) -> None:
    """Set the optimizer's state, after the model is wrapped."""
    whole = {**get_optimizer_state_dict(model, optimizer), "state": states}
    set_optimizer_state_dict(model, optimizer, whole, options=StateDictOptions(full_state_dict=True))
