"""The sentiment model on shop messages that were written for testing, and on messages that call for nobody.

    python -m tests.bench.mood
    python -m tests.bench.mood --model /path/to/another --airline DATA/dev/en/airline_tweets/Tweets.csv

For each language: the share of angry messages found at the threshold at which one in a hundred others would be taken
for angry, the area under ROC, and what the threshold in service does. For the shop's own questions: how many would
call a human agent. With `--airline`: negative against neutral tweets, area under ROC.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from bot import wiring
from bot.escalation import ANGRY_AT_ONCE
from bot.sentiment.classifier import load
from bot.settings import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of another model; the built-in one without it")
    parser.add_argument("--airline", type=Path, help="Tweets.csv of the airline tweets")
    parser.add_argument("--kinds", action="store_true", help="recall and false alarms of each kind of message")
    args = parser.parse_args()
    model = load(args.model) if args.model else wiring.sentiment()

    def anger(texts: list[str]) -> np.ndarray:
        return np.array(
            [mood.angry for start in range(0, len(texts), 64) for mood in model.predict(texts[start : start + 64])]
        )

    for language in ("en", "zh"):
        rows = read(ROOT / f"tests/data/mood_{language}.jsonl")
        found = anger([row["text"] for row in rows])
        angry = np.array([row["label"] == "angry" for row in rows])
        threshold = np.sort(found[~angry])[::-1][int(0.01 * (~angry).sum())]
        print(f"{language}: {angry.sum()} angry, {(~angry).sum()} others")
        print(f"  recall at 1 % false alarms   {(found[angry] > threshold).mean():.3f} (above {threshold:.3f})")
        print(
            f"  at {ANGRY_AT_ONCE} recall, false alarms {(found[angry] >= ANGRY_AT_ONCE).mean():.3f}, {(found[~angry] >= ANGRY_AT_ONCE).mean():.3f}"
        )
        print(f"  area under ROC               {area(found[angry], found[~angry]):.3f}")
        if args.kinds:
            by_kind = defaultdict(list)
            for row, value in zip(rows, found, strict=True):
                by_kind[row["label"] == "angry", row.get("kind", "first hundred")].append(value > threshold)
            for (is_angry, kind), values in sorted(by_kind.items()):
                print(f"    {'angry' if is_angry else 'other':6} {kind:18} {len(values):4} {np.mean(values):.2f}")
        easy = [row for row in rows if "kind" not in row and row["label"] != "unhappy"]
        said = model.predict([row["text"] for row in easy])
        right = sum((mood.label == "angry") == (row["label"] == "angry") for row, mood in zip(easy, said, strict=True))
        print(f"  easy lines, angry or calm    {right} of {len(easy)} right")
        asked = [
            r["text"]
            for n in ("valid", "test")
            for r in read(ROOT / f"finetune/data/{n}.jsonl")
            if r["language"] == language
        ]
        called = anger(asked) >= ANGRY_AT_ONCE
        print(f"  shop questions that would call a human agent {called.sum()} of {len(asked)}")
    if args.airline:
        with args.airline.open(encoding="utf-8") as file:
            tweets = [(row["text"], row["airline_sentiment"]) for row in csv.DictReader(file)]
        tweets = [tweet for tweet in tweets if tweet[1] != "positive"][:3000]
        found = anger([text for text, _ in tweets])
        negative = np.array([mood == "negative" for _, mood in tweets])
        print(
            f"airline tweets, negative against neutral, area under ROC {area(found[negative], found[~negative]):.3f}"
        )


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def area(yes: np.ndarray, no: np.ndarray) -> float:
    return float((yes[:, None] > no[None]).mean() + 0.5 * (yes[:, None] == no[None]).mean())


if __name__ == "__main__":
    main()
