"""Train the sentiment model: calm, unhappy or angry, in English and Chinese.

A LoRA adapter on all-MiniLM-L6-v2 with rows of its own for Chinese characters, capitals and emoji,
which the encoder's vocabulary lacks, and one linear layer over the mean of the last hidden states.
Reads the rows from `finetune.sentiment_data`; does not know who uses the model or how.

Run `python -m finetune sentiment --data DATA`.
"""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from finetune.sentiment_data import LABELS, Row, glosses, go_emotions_anger, read_rows, shop_rows, weibo_anger
from finetune.sentiment_model import MAX_TOKENS, adapted, continued, extended_tokenizer, logits_of, predict, save

OUT = Path(__file__).parents[1] / "bot" / "models" / "sentiment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `finetune sentiment`."""
    parser.add_argument("--data", type=Path, help="folder with the public data sets; without it, shop lines only")
    parser.add_argument("--weibo", type=Path, help="labelled file of SMP2020-EWECT, to measure on and nothing else")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write the model to")
    parser.add_argument("--limit", type=int, help="read at most this many rows of each source")
    parser.add_argument("--epochs", type=float, default=1.0, help="passes over the rows, which repeat the shop lines")
    parser.add_argument("--batch-size", type=int, default=32, help="rows per step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak, for the adapter; rows get twice that")
    parser.add_argument("--characters", type=int, default=3000, help="Chinese characters to add, commonest first")
    parser.add_argument("--half", action="store_true", help="multiply in bfloat16: twice as fast where the CPU can")
    parser.add_argument("--start", type=Path, help="folder of an earlier model to go on from, with its tokenizer")
    parser.add_argument(
        "--average", type=Path, help="folder of a model that this one goes on from, to end half-way to"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the rows drawn, their order and the first weights")


def run(args: argparse.Namespace) -> int:
    """Train, calibrate, measure and write the model, then print its scores.

    Raises:
        DocumentError: a data file is missing or cannot be read; nothing was written.
        ModelError: the encoder is not installed; nothing was written.
    """
    print(json.dumps(train(args), indent=2))
    return 0


def train(args: argparse.Namespace) -> dict[str, Any]:
    """The whole run, in order. Returns the scores, which also stand in `scores.json`."""
    began = time.monotonic()
    torch.manual_seed(args.seed)
    rows = read_rows(args.data, limit=args.limit, seed=args.seed)
    held_out = shop_rows(held_out=True, limit=args.limit)
    if args.start:
        tokenizer, model, head = continued(args.start)
    else:
        tokenizer, trained = extended_tokenizer([row.text for row in rows], characters=args.characters)
        model = adapted(tokenizer, trained, glosses())
        head = nn.Linear(model.config.hidden_size, len(LABELS) + 1)  # the last output is "rude", for training only
    fit(model, head, tokenizer, batches(rows, args), args.learning_rate, args.half)
    if args.average:
        half_way(model, head, args.average)
    logits = predict(model, head, tokenizer, [row.text for row in held_out])
    gold = torch.tensor([row.mood for row in held_out]).argmax(1)
    temperature = calibrated(logits, gold)
    scores: dict[str, Any] = {
        "rows": len(rows),
        "train_seconds": round(time.monotonic() - began),
        "temperature": temperature,
        "held_out": {
            language: measure(logits[mask], gold[mask])
            for language in ("en", "zh")
            if (mask := torch.tensor([row.language == language for row in held_out])).any()
        },
    }
    tests = {}
    if args.data:
        tests["go_emotions_test"] = go_emotions_anger(args.data)
    if args.weibo:
        tests["smp2020_ewect"] = weibo_anger(args.weibo)
    for name, test in tests.items():
        test = test[: args.limit]
        chances = predict(model, head, tokenizer, [text for text, _ in test]).softmax(1)[:, 2]
        scores[name] = {"rows": len(test), "angry_auc": round(auc(chances, torch.tensor([a for _, a in test])), 3)}
    save(args.out, model, head, tokenizer, temperature, scores)
    reliability((logits / temperature).softmax(1)[:, 2], gold == 2, args.out / "reliability.png")
    return scores


def half_way(model: PeftModel, head: nn.Linear, folder: Path) -> None:
    """Make every trained weight the mean of its own value and that in `folder` (Wortsman et al. 2022).

    Raises:
        ModelError: the folder holds no such model.
    """
    _, other, last = continued(folder)
    theirs = dict(other.named_parameters())
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.requires_grad:
                tensor.lerp_(theirs[name], 0.5)
        head.weight.lerp_(last.weight, 0.5)
        head.bias.lerp_(last.bias, 0.5)


def batches(rows: Sequence[Row], args: argparse.Namespace) -> list[list[Row]]:
    """Every step's rows: shuffled each epoch, near equals in length together."""
    chance = random.Random(args.seed)
    steps: list[list[Row]] = []
    for epoch in range(math.ceil(args.epochs)):
        order = chance.sample(rows, round(len(rows) * min(1.0, args.epochs - epoch)))
        lengths = {id(row): len(row.text.encode()) // (3 if row.language == "zh" else 4) for row in order}
        pool = args.batch_size * 50
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=lambda row: lengths[id(row)])
            found = [near[i : i + args.batch_size] for i in range(0, len(near), args.batch_size)]
            steps += chance.sample(found, len(found))
    return steps


def fit(
    model: PeftModel, head: nn.Linear, tokenizer: Tokenizer, steps: list[list[Row]], peak: float, half: bool = False
) -> None:
    """Train adapter, rows and head in place; `half` multiplies in bfloat16."""
    tensors = dict(model.named_parameters())
    token_rows = [t for name, t in tensors.items() if t.requires_grad and "trainable_tokens" in name]
    lora = [t for name, t in tensors.items() if t.requires_grad and "trainable_tokens" not in name]
    groups = [
        {"params": [*lora, *head.parameters()], "lr": peak},
        {"params": token_rows, "lr": 2 * peak, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    warm = max(1, len(steps) // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (len(steps) - step) / max(1, len(steps) - warm))
    )
    # Without dropout, which takes a third of the time here and regularises an adapter little.
    model.eval()
    encoder: Any = model.get_base_model()
    encoder.set_attn_implementation("eager")  # short texts, padded: twice as fast as sdpa on a CPU
    tokenizer.enable_truncation(MAX_TOKENS // 2)
    mean = 0.0
    for step in (bar := tqdm(steps, desc="sentiment", unit="step", file=sys.stderr)):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = logits_of(model, head, tokenizer, [row.text for row in step]).float()
        loss = loss_of(logits, step)
        loss.backward()
        nn.utils.clip_grad_norm_([*lora, *token_rows, *head.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean = loss.item() if not mean else 0.98 * mean + 0.02 * loss.item()
        bar.set_postfix(loss=f"{mean:.3f}")
    tokenizer.enable_truncation(MAX_TOKENS)


def loss_of(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """Cross-entropy where the mood is known, if only as not angry, and half of that of "rude" where that is known."""
    loss = logits.sum() * 0.0
    if with_mood := [i for i, row in enumerate(rows) if row.mood is not None]:
        target = torch.tensor([rows[i].mood for i in with_mood])
        loss = loss + F.cross_entropy(logits[with_mood, :3], target, label_smoothing=0.05, reduction="sum")
    if civil := [i for i, row in enumerate(rows) if row.mood is None and row.civil]:
        chances = logits[civil, :3].log_softmax(1)
        loss = loss - chances[:, :2].logsumexp(1).sum()
    if with_rude := [i for i, row in enumerate(rows) if row.rude is not None]:
        target = torch.tensor([rows[i].rude for i in with_rude])
        loss = loss + 0.5 * F.binary_cross_entropy_with_logits(logits[with_rude, 3], target, reduction="sum")
    return loss / len(rows)


def calibrated(logits: Tensor, gold: Tensor) -> float:
    """The temperature that makes held-out probabilities most honest (Guo et al. 2017)."""
    tried = [0.5 + 0.05 * i for i in range(51)]
    return min(tried, key=lambda t: F.cross_entropy(logits / t, gold).item())


def measure(logits: Tensor, gold: Tensor) -> dict[str, float]:
    """Accuracy over three classes, and how well angry is told from the rest."""
    found = logits.argmax(1)
    angry, said = gold == 2, found == 2
    return {
        "rows": len(gold),
        "accuracy": round((found == gold).float().mean().item(), 3),
        "angry_or_not": round((angry == said).float().mean().item(), 3),
        "angry_recall": round((said & angry).sum().item() / max(1, angry.sum().item()), 3),
        "angry_precision": round((said & angry).sum().item() / max(1, said.sum().item()), 3),
        "angry_auc": round(auc(logits.softmax(1)[:, 2], angry), 3),
    }


def reliability(chances: Tensor, angry: Tensor, path: Path) -> None:
    """Draw how often held-out lines are angry against how probable the model says it is, in tenths.  # (N,), (N,)"""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    places = (chances * 10).long().clamp(max=9)
    filled = [n for n in range(10) if (places == n).any()]
    said = [chances[places == n].mean().item() for n in filled]
    true = [angry[places == n].float().mean().item() for n in filled]
    figure, (axes, below) = pyplot.subplots(2, figsize=(4.5, 5), height_ratios=(3, 1), sharex=True)
    axes.plot([0, 1], [0, 1], "--", color="grey", label="honest")
    axes.plot(said, true, "o-", label="held-out lines")
    axes.set_ylabel("share that is angry")
    axes.legend()
    below.bar([n / 10 + 0.05 for n in range(10)], [(places == n).sum().item() for n in range(10)], width=0.09)
    below.set_xlabel("probability of anger")
    below.set_ylabel("lines")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def auc(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve, by ranks; ties are rare enough to ignore. 0.5 if a class is absent."""
    ranks = torch.empty(len(scores))
    ranks[scores.argsort()] = torch.arange(1.0, len(scores) + 1)
    yes, no = int(positive.sum()), int((~positive).sum())
    return 0.5 if not yes or not no else (ranks[positive].sum().item() - yes * (yes + 1) / 2) / (yes * no)
