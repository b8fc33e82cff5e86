"""A training run's config: defaults here, a TOML file over them, flags over both; unknown keys are refused.

Knows no model and no data. `finetune/configs/lora.toml` explains every key in place.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from bot.errors import SettingsError

OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit")
DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Config:
    """What decides a run of `python -m finetune train`."""

    seed: int = 0
    threads: int = 0
    """CPU threads; 0 leaves the choice to torch."""
    epochs: int = 3
    minutes: float = 0.0
    """The run ends after this time; 0 is no limit."""
    batch_tokens: int = 4096
    """Tokens per batch and process, padding included."""
    accumulate: int = 1
    """Batches per step and process."""
    rate: float = 1e-3
    """Peak learning rate."""
    warmup: float = 0.05
    """Share of the run in which the rate grows."""
    optimizer: str = "adamw"
    """One of `OPTIMIZERS`; those of bitsandbytes need a GPU."""
    weight_decay: float = 0.0
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    rslora: bool = False
    """The adapter's strength is alpha / sqrt(rank) instead of alpha / rank."""
    dora: bool = False
    """Learn each weight's length apart from its direction."""
    targets: str = "auto"
    """Names of layers, apart by commas; `auto` is every linear layer but the head."""
    passages: int = 3
    """Passages in a prompt at most, the row's own included."""
    gold_first: float = 0.7
    """Share of examples whose own passage comes first, as a retriever would bring it."""
    abstain: bool = True
    """Learn to say that nothing shown answers, from the rows without passages."""
    longest: int = 1536
    """Tokens of an example at most; longer rows are skipped and counted."""
    fold: bool = True
    """Read a context once for all questions about it; for architectures of plain attention and the built-in one."""
    dtype: str = "auto"
    """One of `DTYPES`: what the base is held and computed in; `auto` is bfloat16 on a GPU and float32 elsewhere."""
    four_bit: bool = False
    """Load the base as 4-bit NF4 (QLoRA)."""
    gradient_checkpointing: bool = False
    """Compute activations again instead of keeping them: less memory, a third slower."""
    evaluate_steps: int = 0
    """Steps between looks at the held-out loss; 0 is four looks an epoch."""
    checkpoint_minutes: float = 5.0
    """Time between checkpoints, besides those of every look."""
    patience: int = 3
    """The run ends after so many looks without a better held-out loss."""
    shop_en: str = "Fernhill"
    shop_zh: str = "蕨岭"


def read_config(path: Path, flags: Mapping[str, Any] | None = None) -> Config:
    """Read a TOML file; flags that are not None come last.

    Raises:
        SettingsError: no such file, no TOML, an unknown key, or a value of another type or out of range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist; try finetune/configs/lora.toml.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from None
    values |= {key: value for key, value in (flags or {}).items() if value is not None}
    types = typing.get_type_hints(Config)
    if unknown := sorted(set(values) - set(types)):
        raise SettingsError(f"{path} has unknown keys {unknown}; known are {[f.name for f in fields(Config)]}.")
    for key, value in values.items():
        if types[key] is float and type(value) is int:
            values[key] = float(value)
        elif type(value) is not types[key]:
            raise SettingsError(f"{path}: `{key}` must be of type {types[key].__name__}, not {value!r}.")
    config = replace(Config(), **values)
    for key, choices in (("optimizer", OPTIMIZERS), ("dtype", DTYPES)):
        if getattr(config, key) not in choices:
            raise SettingsError(f"{path}: `{key}` must be one of {', '.join(choices)}, not {getattr(config, key)!r}.")
    for key in ("epochs", "batch_tokens", "accumulate", "rank", "alpha", "passages", "longest", "patience"):
        if getattr(config, key) < 1:
            raise SettingsError(f"{path}: `{key}` must be 1 or more, not {getattr(config, key)}.")
    for key in ("dropout", "gold_first", "warmup"):
        if not 0 <= getattr(config, key) <= 1:
            raise SettingsError(f"{path}: `{key}` must lie between 0 and 1, not {getattr(config, key)}.")
    return config


def as_dict(config: Config) -> dict[str, Any]:
    """The config as it is saved beside the adapter."""
    return asdict(config)
