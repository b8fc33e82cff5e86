"""The Chinese encoder against BM25 on bank customers' questions: find another wording of the same question.

    python -m tests.bench.search_zh --data DATA/dev/zh/faq_retrieval_bq

DATA holds `corpus.jsonl` (`id`, `text`) and `queries.jsonl` (`id`, `text`, `gold_cluster`: the ids that are right).
A question does not find itself. What is not labelled counts as wrong, so that every score is a lower bound.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

import jieba
import numpy as np
from tqdm import tqdm

from bot.retrieval.dense import Encoder
from bot.retrieval.hybrid import MODELS
from bot.retrieval.keyword import build_bm25, terms

DEPTHS = (1, 3, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with corpus.jsonl and queries.jsonl")
    parser.add_argument("--queries", type=int, default=1500, help="how many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    args = parser.parse_args()
    corpus, queries = (read(args.data / f"{name}.jsonl") for name in ("corpus", "queries"))
    drawn = random.Random(args.seed).sample(queries, min(args.queries, len(queries)))
    texts, ids = [row["text"] for row in corpus], np.array([row["id"] for row in corpus])
    encoder = Encoder(MODELS / "encoder-zh")
    vectors = encoder.encode(texts)
    asked = dict(zip((q["text"] for q in drawn), encoder.encode([q["text"] for q in drawn]), strict=True))
    words = build_bm25([jieba.lcut(text) for text in texts])
    pairs = build_bm25([bigrams(text) for text in texts])
    both = build_bm25([terms(text, "zh") for text in texts])
    dense = {text: vectors @ vector for text, vector in asked.items()}
    contenders: dict[str, Callable[[str], np.ndarray]] = {
        "BM25, words (jieba)": lambda text: words.scores(jieba.lcut(text)),
        "BM25, pairs of characters": lambda text: pairs.scores(bigrams(text)),
        "BM25, characters and pairs (ours)": lambda text: both.scores(terms(text, "zh")),
        "encoder-zh": lambda text: dense[text],
        "encoder-zh + 0.5 BM25 (z-scores)": lambda text: z(dense[text]) + 0.5 * z(both.scores(terms(text, "zh"))),
    }
    print(f"{len(drawn)} queries, {len(corpus)} entries")
    print(f"{'':34}" + "".join(f"{f'hit@{k}':>8}" for k in DEPTHS) + f"{'MRR':>8}")
    for name, score in contenders.items():
        ranks = []
        for query in tqdm(drawn, desc=name, leave=False):
            order = ids[np.argsort(-score(query["text"]), kind="stable")]
            order = order[order != query["id"]]
            ranks.append(1 + int(np.isin(order, query["gold_cluster"]).argmax()))
        found = np.array(ranks)
        print(f"{name:34}" + "".join(f"{np.mean(found <= k):8.3f}" for k in DEPTHS) + f"{np.mean(1 / found):8.3f}")


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def bigrams(text: str) -> list[str]:
    return [text[i : i + 2] for i in range(len(text) - 1)] or [text]


def z(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / (scores.std() or 1.0)


if __name__ == "__main__":
    main()
