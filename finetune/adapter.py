"""What lands in an adapter's folder: weights, a passport that the server checks, a card, the log and its picture.

Knows nothing of training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

from safetensors.torch import save_file

from bot import prompt
from finetune.config import Config, as_dict

PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers")


def save(
    model: Any, weights: Mapping[str, Any], out: Path, *, base: str, data: Mapping[str, str], config: Config,
    templates: Mapping[Any, prompt.Templates], chat_template: str | None, history: Sequence[Mapping[str, float]],
    report: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write the adapter to `out`.

    Args:
        model: with the adapter's config.
        weights: of the adapter.
        base: as given on the command line; an absolute path is cut to its name.
        data: the rows' files and their hashes.
        history: lines of the log, written to `log.jsonl` and drawn in `loss.png`.
        report: on the rows, written to `report.json`.
    """
    neutral = Path(base).name if Path(base).is_absolute() else base
    lora = model.peft_config["default"]
    lora.base_model_name_or_path, lora.inference_mode = neutral, True
    lora.target_modules = sorted(lora.target_modules)  # a set, of which every run would write another order
    lora.save_pretrained(out)
    save_file(dict(weights), out / "adapter_model.safetensors", {"format": "pt"})
    passport = {
        "fingerprint": prompt.fingerprint(templates, chat_template),
        "base": neutral,
        "base_sha256": weights_hash(Path(base)),
        "base_revision": getattr(model.config, "_commit_hash", None),
        "data_sha256": dict(data),
        "versions": {name: version(name) for name in PACKAGES},
        "config": as_dict(config),
    }
    write_json(out / "shoptalk.json", passport)
    write_json(out / "report.json", report)
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history), encoding="utf-8")
    draw(history, out / "loss.png")
    (out / "README.md").write_text(card(passport, history, report), encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON as people read it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def files_hash(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def weights_hash(folder: Path) -> str | None:
    """SHA-256 over a folder's safetensors files by name; None for a hub name. The server computes the same."""
    files = sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest() if files else None


def draw(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """The loss over the tokens read, and the held-out loss."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    steps, looks = ([line for line in history if key in line] for key in ("loss", "held_out_loss"))
    read = [line["tokens"] / 1e6 for line in steps]
    axes.plot(read, [line["loss"] for line in steps], color="C0", alpha=0.3, linewidth=0.8, label="loss of a step")
    window = max(1, len(steps) // 12)
    means = [mean(line["loss"] for line in steps[max(0, n - window) : n + 1]) for n in range(len(steps))]
    axes.plot(read, means, color="C0", label=f"mean of {window + 1} steps")
    axes.plot([x["tokens"] / 1e6 for x in looks], [x["held_out_loss"] for x in looks], "o-C1", label="held-out loss")
    axes.set_xlabel("million tokens read")
    axes.set_ylabel("loss per token")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def card(passport: Mapping[str, Any], history: Sequence[Mapping[str, float]], report: Mapping[str, Any]) -> str:
    """The model card."""
    config, looks = passport["config"], [line for line in history if "held_out_loss" in line]
    last = history[-1] if history else {"tokens": 0, "seconds": 0.0}
    kind = "QLoRA (4-bit NF4)" if config["four_bit"] else "LoRA"
    kind += " with DoRA" if config["dora"] else ""
    train = report["splits"]["train"]
    lines = [
        f"# Adapter for {config['shop_en']}",
        "",
        f"A LoRA adapter for `{passport['base']}`, trained to answer shoppers from the passages in the prompt.",
        "It was trained by `python -m finetune train`; `shoptalk.json` holds its config, the hashes of base and data, "
        "and the fingerprint of its rendering; `report.json` tells about the rows.",
        "The server refuses it with another base or other templates.",
        "It is not for other shops' documents, nor for answers that nothing checks against what they cite.",
        "",
        "| | |",
        "|---|---|",
        f"| kind | {kind}{', rsLoRA' if config['rslora'] else ''} |",
        f"| rank, alpha, dropout | {config['rank']}, {config['alpha']}, {config['dropout']} |",
        f"| rows | {train['rows']:,} ({', '.join(f'{n:,} {name}' for name, n in train['languages'].items())}) |",
        f"| tokens read | {last['tokens']:,} |",
        f"| time | {last['seconds'] / 60:.0f} minutes |",
    ]
    if looks:
        best = min(looks, key=lambda line: line["held_out_loss"])
        lines.append(f"| held-out loss, first and best | {looks[0]['held_out_loss']} and {best['held_out_loss']} |")
        if "held_out_exact" in best:
            lines.append(f"| held-out answers word for word | {best['held_out_exact']:.0%} |")
    return "\n".join(lines) + "\n"
