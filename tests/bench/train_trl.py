"""Training speed against TRL's SFTTrainer: the same examples, base, adapter and machine.

    python -m tests.bench.train_trl --python /path/to/throw-away/venv/bin/python

TRL is no dependency of ours: without `--python` the bench makes a throw-away environment that sees this one's
packages and installs TRL there. Every contender learns the same token sequences once, with loss on the answer alone,
AdamW at the same constant rate, about as many rows a step, and no gradient checkpointing; each runs in a process of
its own. Tokens are those of the rows, padding not counted and a shared context counted for each row that has it, so
that all contenders have learnt as many at the end; the held-out loss is measured by one piece of code.
Speed is given by the clock and by CPU seconds of one thread, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bot.settings import ROOT

OURS, GROUPED, DEFAULT, PACKING = "ours", "ours, every row by itself", "TRL, default", "TRL, packing"
ROWS_A_STEP = 8
"""TRL's default batch on one device."""
RATE = 1e-3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=96, help="training rows, about")
    parser.add_argument(
        "--base", type=Path, help="a base that knows something, such as bot/models/base; else a random Qwen2"
    )
    parser.add_argument("--width", type=int, default=384, help="of the base; a multiple of 6 (384: 20 M weights)")
    parser.add_argument("--layers", type=int, default=8, help="of the base (8)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of rows, for every contender")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="what the base is held and computed in")
    parser.add_argument("--seconds", type=float, default=340, help="no contender begins after this time")
    parser.add_argument("--only", default="", help="contenders, apart by semicolons; all without it")
    parser.add_argument("--python", type=Path, help="a Python that has TRL and sees this environment's packages")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def environment(folder: Path) -> Path:
    """The Python of a throw-away environment with TRL, which sees the packages of the one that runs this."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin/python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    paths = [subprocess.run([p, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
             for p in (str(python), sys.executable)]  # fmt: skip
    (Path(paths[0]) / "parent.pth").write_text(paths[1] + "\n")
    print("pip install trl, into a throw-away environment ...", flush=True)
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *constraints, "trl"], check=True)
    return python


def prepare(work: Path, args: argparse.Namespace) -> None:
    """Write the base (if none is given, a Qwen2 with random weights) and the examples, as folded items and one by one."""
    from transformers import AutoTokenizer

    from bot.prompt import load_templates
    from bot.retrieval.documents import load_documents
    from finetune.config import Config
    from finetune.data import Library, examples, read_rows
    from finetune.tasks import Scribe
    from tests.finetune.shapes import make_shape

    library = Library(load_documents(ROOT / "knowledge"))
    train, valid = (read_rows(ROOT / f"finetune/data/{split}.jsonl", library.by_id) for split in ("train", "valid"))
    texts = [f"{p.title} {p.heading} {p.text}" for p in library.passages] + [f"{r.text} {r.answer}" for r in train]
    if args.base:
        shutil.copytree(args.base, work / "base")
    else:
        make_shape(
            "qwen2", work / "base", texts, vocabulary=16_000, width=args.width, layers=args.layers, heads=6,
            feed_forward=args.width * 8 // 3,
        )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(work / "base")
    scribe = Scribe(tokenizer, load_templates(ROOT / "prompts"), tokenizer.eos_token)
    made = examples(train, library, scribe, Config(), "bench", fold=True).items
    while (
        sum(len(item.branches) for item in made) > args.rows
    ):  # Whole items, so that the mix of sizes is the real one.
        made.pop()
    held = examples(valid[::12], library, scribe, Config(), "bench", fold=False).items
    pack = [[[item.prefix, item.branches] for item in items] for items in (made, held)]
    (work / "items.json").write_text(json.dumps(pack))


def contend(name: str, dtype: str, work: Path, seed: int) -> dict[str, float]:
    """Train one contender on all examples once, and measure it."""
    import torch

    from finetune import compact
    from finetune.batching import batches, lay_out, learnt, loss_sum, measure
    from finetune.config import Config
    from finetune.loading import load_adapted
    from finetune.tasks import Item

    torch.set_num_threads(1)
    torch.manual_seed(0)
    items, held = (
        [Item(prefix, [(ids, begin) for ids, begin in branches]) for prefix, branches in part]
        for part in json.loads((work / "items.json").read_text())
    )
    alone = [Item(item.prefix, [branch]) for item in items for branch in item.branches]
    tokens = sum(map(len, alone))
    config = Config(dtype=dtype, rank=16, alpha=32, dropout=0.0)
    model = load_adapted(str(work / "base"), config)
    low = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")
    if name in (OURS, GROUPED):
        mine = items if name == OURS else alone
        inner: Any = model.base_model.model if name == OURS and model.config.model_type == "lfm2" else None
        size = sum(map(len, mine)) * ROWS_A_STEP // len(alone)
        plan = batches(mine, max(size, max(map(len, mine))), random.Random(seed))
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], RATE, weight_decay=0.0)
        model.train()
        clock, cpu = time.perf_counter(), time.process_time()
        for batch in plan:
            with low:
                if inner is None:
                    loss = loss_sum(model, lay_out(batch, 0)) / learnt(batch)
                else:
                    loss = compact.loss_of(inner, compact.collate(batch, 0))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        clock, cpu, steps = time.perf_counter() - clock, time.process_time() - cpu, len(plan)
    else:
        from datasets import Dataset
        from transformers import AutoTokenizer
        from trl import SFTConfig, SFTTrainer

        rows = [{"input_ids": [*i.prefix, *i.branches[0][0]],
                 "completion_mask": [0] * (len(i.prefix) + i.branches[0][1]) + [1] * learnt([i])} for i in alone]  # fmt: skip
        # Packed, one row of 2,048 tokens holds about four examples: two rows make a step as large as the others'.
        packed = {"packing": True, "max_length": 2048, "per_device_train_batch_size": 2} if name == PACKING else {}
        options = {"per_device_train_batch_size": ROWS_A_STEP, "max_length": 2048} | packed
        trainer = SFTTrainer(
            model, train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(work / "base"),
            args=SFTConfig(
                output_dir=str(work / "trl"), num_train_epochs=1, learning_rate=RATE, lr_scheduler_type="constant",
                weight_decay=0.0, max_grad_norm=1.0, bf16=dtype == "bfloat16", gradient_checkpointing=False,
                use_cpu=True, report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
                completion_only_loss=True, seed=seed, **options,
            ),
        )  # fmt: skip
        clock, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        clock, cpu, steps = time.perf_counter() - clock, time.process_time() - cpu, trainer.state.global_step
        model = trainer.model
    model.eval()
    with low, torch.no_grad():
        loss = sum(measure(model, lay_out(batch, 0))[0] for batch in batches(held, 4096, random.Random(0)))
    return {"tokens": tokens, "rows": len(alone), "steps": steps, "clock_s": clock, "cpu_s": cpu,
            "held_out_loss": loss / learnt(held)}  # fmt: skip


def main() -> int:
    args = arguments()
    if args.run:
        name, dtype = args.run.split("|")
        print("RESULT " + json.dumps(contend(name, dtype, args.work, args.seed)))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        python = args.python or environment(work / "venv")
        began = time.monotonic()
        prepare(work, args)
        for dtype in args.dtypes.split(","):
            print(f"\n{dtype}\n{'':<28}{'steps':>6}{'tokens/s':>10}{'per CPU s':>11}{'ratio':>7}{'held-out loss':>15}")
            first: float | None = None
            for name in filter(None, args.only.split(";")) if args.only else (DEFAULT, PACKING, GROUPED, OURS):
                if time.monotonic() - began > args.seconds:
                    print(f"{name:<28}left out: {args.seconds:.0f} seconds are over; give fewer `--rows`")
                    continue
                # No shared settings folder: what accelerate or TRL keep there must not decide a contender.
                variables = os.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(work / "hub"), "HF_HUB_OFFLINE": "1"}
                ran = subprocess.run(
                    [str(python), "-m", "tests.bench.train_trl", "--run", f"{name}|{dtype}", "--work", str(work),
                     "--seed", str(args.seed)],
                    cwd=ROOT, env=variables, capture_output=True, text=True,
                )  # fmt: skip
                if ran.returncode:
                    print(f"{name:<28}failed: {ran.stderr.strip().splitlines()[-1]}")
                    continue
                found = json.loads(ran.stdout.split("RESULT ")[1])
                speed = found["tokens"] / found["cpu_s"]
                first = first or speed
                print(
                    f"{name:<28}{found['steps']:>6}{found['tokens'] / found['clock_s']:>10.0f}{speed:>11.0f}"
                    f"{speed / first:>7.2f}{found['held_out_loss']:>15.4f}", flush=True,
                )  # fmt: skip
        print(f"\n{args.rows} rows at most; the ratio is of tokens per CPU second, to the first contender's.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
