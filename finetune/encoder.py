"""Train the part of retrieval that is our own, from a shop's documents and questions.

For each language, in this order: the encoder and the reranker, on the training rows; then the calibration, on rows that
neither has learnt from (`valid`). Knows the command line and the order of things; the models are in `encoder_zh`,
`encoder_en` and `reranker`, the fitting in `calibration`.

Run `python -m finetune encoder`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.models import minilm_path
from bot.retrieval import calibration, reranker
from bot.retrieval.dense import Encoder
from bot.retrieval.documents import load_documents
from bot.retrieval.hybrid import MODELS
from bot.retrieval.reranker import Reranker
from bot.retrieval.shelf import QUERY_FEATURES
from bot.types import LANGUAGES, Language, Passage
from finetune import calibration as fitting
from finetune import seeking
from finetune.encoder_data import ShopTexts, read_rows, shop_texts, with_invented
from finetune.written import WrittenShop, read_shops

ROOT = Path(__file__).parents[1]
PARTS = ("encoder", "reranker", "calibration")
STEPS = {"encoder": {"zh": 320, "en": 225}, "reranker": {"zh": 3000, "en": 2200}}
RERANKERS = 2
"""Networks that judge together, each from a seed of its own."""
CALIBRATES = 3
"""Every so many-th of the written shops calibrates; the rerankers learn from the others."""
WORDING = ("best", *QUERY_FEATURES)
"""What the written shops' questions say wrongly of others, for those that a rule answers were to avoid its words, and
the near misses were not: read, a match of words would speak for a refusal. What the reranker read remains."""
SHARES = {"shop": 4.0, "written": 4.0, "invented": {"zh": 3.0, "en": 2.0}, "public": 2.0}
"""Of the reranker's steps."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `finetune encoder`."""
    add = parser.add_argument
    add("--language", choices=LANGUAGES, help="train this language only")
    add("--from", dest="first", choices=PARTS, default="encoder", help="begin here, with what is there of the rest")
    add("--knowledge", type=Path, default=ROOT / "knowledge", help="folder of the documents")
    add("--questions", type=Path, default=ROOT / "finetune/data", help="folder of train, valid, test")
    add("--text", type=Path, help="folder of public texts, laid out as finetune/corpus.py says, for the reranker")
    add("--steps", type=int, help=f"updates of each training; {STEPS} if not given")
    add("--out", type=Path, default=MODELS, help="folder to write to")
    add("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Train, calibrate, measure and write; print scores. Raises BotError if something that it needs is missing."""
    passages = load_documents(args.knowledge)
    for language in [args.language] if args.language else LANGUAGES:
        own = [passage for passage in passages if passage.language == language]
        train, valid, test = (read_rows(args.questions / f"{n}.jsonl", language) for n in ("train", "valid", "test"))
        folder = args.out / f"encoder-{language}"
        if args.first == "encoder":
            encoder = train_encoder(language, shop_texts(own, train), folder, args)
        else:
            encoder = load_encoder(language, folder)
        if args.first != "calibration":
            train_reranker(language, own, train, encoder, folder / reranker.FILE, args)
        reader = reranker.load(folder / reranker.FILE, encoder)
        fitted, scores = _calibrate(language, own, encoder, reader, train, valid, test)
        (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", "utf-8")
        calibration.update_calibrations(args.out / "retrieval.json", language, fitted)
        print(f"{folder}: {json.dumps(scores, indent=1)}")
    return 0


def other_shops(language: Language, *, calibrating: bool) -> list[WrittenShop]:
    """The written shops that calibrate, or those that are learnt from."""
    return [shop for n, shop in enumerate(read_shops(language)) if (n % CALIBRATES == 0) == calibrating]


def train_reranker(
    language: Language,
    passages: Sequence[Passage],
    rows: Sequence[dict[str, Any]],
    encoder: Encoder,
    path: Path,
    args: argparse.Namespace,
) -> None:
    """Train a language's reranker and write it."""
    from finetune import reranker as training
    from finetune import reranker_data as data

    own = data.shop_groups(rows, passages, encoder.encode)
    written = [
        group
        for shop in other_shops(language, calibrating=False)
        for group in data.shop_groups(shop.rows, shop.passages, encoder.encode)
    ]
    networks = []
    for seed in range(args.seed, args.seed + RERANKERS):
        groups = [
            (SHARES["shop"], own),
            (SHARES["written"], written),
            (SHARES["invented"][language], data.invented_groups(language, seed)),
        ]
        if args.text and language == "en":
            groups.append((SHARES["public"], data.public_groups(args.text, seed)))
        vectors = training.token_vectors(encoder, [g for _, found in groups for g in found], f"tokens {language}")
        steps = args.steps or STEPS["reranker"][language]
        networks.append(training.train(groups, vectors, steps=steps, seed=seed, label=f"reranker {language}"))
    reranker.save(networks, path)


def _calibrate(
    language: Language,
    passages: Sequence[Passage],
    encoder: Encoder,
    reader: Reranker,
    train: Sequence[dict[str, Any]],
    valid: Sequence[dict[str, Any]],
    test: Sequence[dict[str, Any]],
) -> tuple[calibration.Calibrations, dict[str, dict[str, float]]]:
    """Fit on valid, in a shelf that knows the training questions, and on written shops, whose shelves know none."""
    views = seeking.encode_views(passages, encoder)
    shelf = seeking.shelf_of(language, passages, views, seeking.encode(train, encoder, with_strange=False))
    sought, tested = (
        [(shelf, seeking.seek(shelf, seeking.encode(rows, encoder, with_strange=True)))] for rows in (valid, test)
    )
    others = []
    for shop in other_shops(language, calibrating=True):
        views, none = seeking.encode_views(shop.passages, encoder), seeking.encode([], encoder, with_strange=False)
        bare = seeking.shelf_of(language, shop.passages, views, none)
        others.append((bare, seeking.seek(bare, seeking.encode(shop.rows, encoder, with_strange=True))))
    # 0.55: on valid rows as many of the answerable are then refused as of the others are not (scores.json tells).
    # In an unknown shop the two are told apart less well, and to quote in vain is better than to refuse in vain.
    alone = fitting.fit(others, reader, unread=WORDING, unanswerable=1 / 3)
    fitted = calibration.Calibrations(fitting.fit(sought, reader, unanswerable=0.55), alone)
    return fitted, {
        "valid": fitting.measure(sought, reader, fitted.with_questions),
        "test": fitting.measure(tested, reader, fitted.with_questions),
        "other shops": fitting.measure(others, reader, fitted.documents_alone),
    }


def train_encoder(language: Language, shop: ShopTexts, folder: Path, args: argparse.Namespace) -> Encoder:
    """Train a language's encoder, write it to a folder, and load it."""
    if language == "zh":  # MiniLM knows what other shops talk about
        shop = with_invented(shop, language, args.seed)
        for other in other_shops(language, calibrating=False):
            shop = shop.beside(shop_texts(other.passages, other.rows))
    texts = list(dict.fromkeys([*shop.questions, *(view for views in shop.views for view in views)]))
    steps = args.steps or STEPS["encoder"][language]
    match language:
        case "zh":
            from finetune import encoder_zh

            start = encoder_zh.start(texts)
            encoder_zh.save(start.tokenizer, encoder_zh.train(start, shop, steps=steps, seed=args.seed), folder)
        case "en":
            from finetune import encoder_en

            vectors = Encoder(minilm_path()).encode(texts, progress="MiniLM")
            by_text = dict(zip(texts, vectors, strict=True))
            encoder_en.write(encoder_en.train(shop, by_text, steps=steps, seed=args.seed), folder)
    return load_encoder(language, folder)


def load_encoder(language: Language, folder: Path) -> Encoder:
    """A language's encoder as it was written to a folder."""
    return Encoder(minilm_path(), words=folder) if language == "en" else Encoder(folder)
