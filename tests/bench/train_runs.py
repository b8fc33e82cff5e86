"""Whole runs of `finetune train`: what a break does to the losses, and what saves memory.

    python -m tests.bench.train_runs resume --out resume.png
    python -m tests.bench.train_runs memory

`resume` trains the built-in base on some of the sample shop's rows three times: without a break, interrupted as by
Ctrl-C, and killed; the last two go on with `--resume`. It draws the losses over one another.
`memory` takes a few steps with a Qwen2 of some 250 million random weights, as LoRA in 32 and 16 bits and as QLoRA.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.settings import ROOT
from tests.finetune.shapes import make_shape

ROWS = ROOT / "finetune/data"
BREAKS = {"interrupted": signal.SIGINT, "killed": signal.SIGKILL}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("resume", "memory"))
    parser.add_argument("--rows", type=int, help="training rows (160 for `resume`, 4 for `memory`)")
    parser.add_argument("--out", type=Path, default=Path("resume.png"), help="where the picture goes")
    args = parser.parse_args()
    rows = args.rows or {"resume": 160, "memory": 4}[args.what]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, count in (("train", rows), ("valid", max(1, rows // 8))):
            lines = (ROWS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
            step = len(lines) // count  # from all over the file, so that both languages stand among them
            (place / f"{name}.jsonl").write_text("".join(lines[::step][:count]), encoding="utf-8")
        if args.what == "resume":
            resume(place, args.out)
        else:
            memory(place)


def command(place: Path, name: str, base: str, keys: Mapping[str, Any]) -> list[str]:
    """The command line of one run, which writes to `place/name`."""
    config = place / f"{name}.toml"
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()), encoding="utf-8")
    return [sys.executable, "-m", "finetune", "train", str(config), "--data", str(place), "--base", base,
            "--out", str(place / name)]  # fmt: skip


def losses(folder: Path) -> dict[int, float]:
    """The loss of each step, as the run's log has it."""
    path = folder / "run/log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line["step"]: line["loss"] for line in map(json.loads, lines) if "loss" in line}


def resume(place: Path, picture: Path) -> None:
    """Break a run in the middle, go on, and compare."""
    keys = {"epochs": 3, "threads": 1, "evaluate_steps": 5, "patience": 1000}
    base = str(ROOT / "bot/models/base")
    quiet: Any = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command(place, "whole", base, keys), check=True, **quiet)
    whole = losses(place / "whole")
    curves = {"without a break": whole}
    print(f"without a break: {len(whole)} steps, loss {whole[1]} to {whole[len(whole)]}", flush=True)
    for name, kind in BREAKS.items():
        run = command(place, name, base, keys)
        with subprocess.Popen(run, **quiet) as process:
            while len(losses(place / name)) < len(whole) // 2 + 2:
                if process.poll() is not None:
                    raise SystemExit(f"The run ended by itself with {process.returncode}.")
                time.sleep(0.02)
            process.send_signal(kind)
        stopped = len(losses(place / name))
        subprocess.run([*run, "--resume"], check=True, **quiet)
        curves[f"{name} in step {stopped}"] = found = losses(place / name)
        same = len({(place / n / "adapter_model.safetensors").read_bytes() for n in ("whole", name)}) == 1
        apart = max(abs(found[step] - whole[step]) for step in whole)
        print(
            f"{name} in step {stopped}, status {process.returncode}, and resumed: {len(found)} steps, "
            f"at most {apart:g} apart, the adapters' bytes are {'the same' if same else 'NOT the same'}", flush=True,
        )  # fmt: skip
    draw(curves, picture)


def draw(curves: Mapping[str, Mapping[int, float]], path: Path) -> None:
    """The losses over one another, the broken ones as marks on the whole one's line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5))
    for (name, curve), style in zip(curves.items(), ("-", "o", "x"), strict=True):
        axes.plot(list(curve), list(curve.values()), style, label=name, markersize=6, fillstyle="none")
    axes.set(xlabel="step", ylabel="loss", title="A run that is broken off and resumed")
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    print(f"The picture is {path}.")


def memory(place: Path) -> None:
    """Losses, time and peak memory of the same steps, with less and less memory."""
    texts = [json.loads(line)["text"] for line in (ROWS / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    _, model = make_shape(
        "qwen2", place / "base", texts, vocabulary=8000, width=1024, layers=20, heads=16, feed_forward=2816
    )
    weights = sum(p.numel() for p in model.parameters())
    del model
    print(f"A Qwen2 of {weights / 1e6:.0f} million random weights\n\n{'':<42}{'peak MiB':>9}{'seconds':>9}  losses")
    shared = {"epochs": 2, "rate": 1e-3, "rank": 8, "alpha": 16, "batch_tokens": 1024, "fold": False,
              "evaluate_steps": 1000}  # fmt: skip
    for name, keys in {
        "LoRA, 32 bits": {"dtype": "float32"},
        "LoRA, 16 bits": {"dtype": "bfloat16"},
        "LoRA, 16 bits, gradient checkpointing": {"dtype": "bfloat16", "gradient_checkpointing": True},
        "QLoRA, 4 bits": {"four_bit": True, "dtype": "bfloat16"},
        "QLoRA, 4 bits, gradient checkpointing": {
            "four_bit": True,
            "dtype": "bfloat16",
            "gradient_checkpointing": True,
        },
    }.items():
        began = time.monotonic()
        run = command(place, name, str(place / "base"), shared | keys)
        # In a process between, whose only child the run is: the peak is the child's alone.
        between = f"import resource, subprocess; subprocess.run({run!r}, check=True, stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        ran = subprocess.run([sys.executable, "-c", between], cwd=ROOT, capture_output=True, text=True)
        if ran.returncode:
            print(f"{name:<42}failed: {ran.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        found = " ".join(f"{loss:.3f}" for loss in losses(place / name).values())
        print(f"{name:<42}{int(ran.stdout) // 1024:>9}{time.monotonic() - began:>9.0f}  {found}", flush=True)


if __name__ == "__main__":
    main()
