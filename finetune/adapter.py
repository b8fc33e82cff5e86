"""What lands in an adapter's folder: weights, a passport that the server checks, a card, the log and its picture.

Knows nothing of training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bot import prompt
from finetune.config import Config, as_dict

PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers")


def save(
    model: Any, out: Path, *, base: str, data: Path, config: Config, templates: Mapping[Any, prompt.Templates],
    chat_template: str | None, history: Sequence[Mapping[str, float]],
) -> None:  # fmt: skip
    """Write the adapter to `out`.

    Args:
        base: as given on the command line; an absolute path is cut to its name.
        data: folder of train.jsonl and valid.jsonl.
        history: lines of the log, written to `log.jsonl` and drawn in `loss.png`.
    """
    neutral = Path(base).name if Path(base).is_absolute() else base
    model.peft_config["default"].base_model_name_or_path = neutral
    model.save_pretrained(out)
    passport = {
        "fingerprint": prompt.fingerprint(templates, chat_template),
        "base": neutral,
        "base_sha256": weights_hash(Path(base)),
        "data_sha256": {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
                        for p in (data / "train.jsonl", data / "valid.jsonl")},
        "versions": {name: version(name) for name in PACKAGES},
        "config": as_dict(config),
    }  # fmt: skip
    (out / "shoptalk.json").write_text(json.dumps(passport, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history), encoding="utf-8")
    draw(history, out / "loss.png")
    (out / "README.md").write_text(card(passport, history), encoding="utf-8")


def weights_hash(folder: Path) -> str | None:
    """SHA-256 over a folder's safetensors files by name; None for a hub name. The server computes the same."""
    files = sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest() if files else None


def draw(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """The loss over the tokens read, and the held-out loss."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for key, style in (("loss", "-"), ("held_out_loss", "o-")):
        lines = [line for line in history if key in line]
        axes.plot([x["tokens"] / 1e6 for x in lines], [x[key] for x in lines], style, label=key.replace("_", " "))
    axes.set_xlabel("million tokens read")
    axes.set_ylabel("loss per token")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def card(passport: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> str:
    """The model card."""
    config, looks = passport["config"], [line for line in history if "held_out_loss" in line]
    last = history[-1] if history else {"tokens": 0, "seconds": 0.0}
    lines = [
        "# Adapter for the sample shop",
        "",
        f"A LoRA adapter for `{passport['base']}`, trained to answer shoppers from the passages in the prompt.",
        "It was trained by `python -m finetune train finetune/configs/lora.toml`; "
        "`shoptalk.json` holds its config, the hashes of base and data, and the fingerprint of its rendering.",
        "The server refuses it with another base or other templates.",
        "",
        "| | |",
        "|---|---|",
        f"| rank, alpha, dropout | {config['rank']}, {config['alpha']}, {config['dropout']} |",
        f"| tokens read | {last['tokens']:,} |",
        f"| time | {last['seconds'] / 60:.0f} minutes |",
    ]
    if looks:
        best = min(looks, key=lambda line: line["held_out_loss"])
        lines.append(f"| held-out loss, first and best | {looks[0]['held_out_loss']} and {best['held_out_loss']} |")
        if "held_out_exact" in best:
            lines.append(f"| held-out answers word for word | {best['held_out_exact']:.0%} |")
    return "\n".join(lines) + "\n"
