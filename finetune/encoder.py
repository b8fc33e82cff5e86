"""Train the part of retrieval that is our own, from a shop's documents and questions: encoders and calibration.

Each language is trained twice: without a fifth of the questions, to calibrate on them what is found for questions
that nothing has learnt from; then with all of them, to be served. Knows the command line and the order of things;
the models are in `encoder_zh` and `encoder_en`, the fitting in `calibration`.

Run `python -m finetune encoder`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bot.models import minilm_path
from bot.retrieval import calibration
from bot.retrieval.dense import Encoder
from bot.retrieval.documents import load_documents
from bot.retrieval.hybrid import MODELS
from bot.types import LANGUAGES, Language, Passage
from finetune import calibration as fitting
from finetune.encoder_data import ShopTexts, kept_for_calibration, read_rows, shop_texts

ROOT = Path(__file__).parents[1]

Trainer = Callable[[ShopTexts, Path], Encoder]
"""Trains on a shop's texts, writes the model to a folder, and loads it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `finetune encoder`."""
    parser.add_argument("--language", choices=LANGUAGES, help="train this language only")
    parser.add_argument("--knowledge", type=Path, default=ROOT / "knowledge", help="folder of the documents")
    parser.add_argument("--questions", type=Path, default=ROOT / "finetune/data", help="folder of train, valid, test")
    parser.add_argument("--steps", type=int, help="updates a training; 100 for Chinese, 225 for English if not given")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Train, calibrate, measure and write; print scores. Raises BotError if something that it needs is missing."""
    passages = load_documents(args.knowledge)
    for language in [args.language] if args.language else LANGUAGES:
        own = [passage for passage in passages if passage.language == language]
        train, valid, test = (read_rows(args.questions / f"{n}.jsonl", language) for n in ("train", "valid", "test"))
        learnt_from = [row for row in train if not kept_for_calibration(row)]
        aside = [row for row in train if kept_for_calibration(row)]
        trainer = _trainer(language, shop_texts(own, train), args)

        with tempfile.TemporaryDirectory() as folder:
            half = trainer(shop_texts(own, learnt_from), Path(folder))
            sought = _seek(language, own, half, learnt_from, [*aside, *valid])
        fitted = fitting.fit(sought, language)

        folder = args.out / f"encoder-{language}"
        whole = trainer(shop_texts(own, train), folder)
        scores = {
            "set aside and valid": fitting.measure(sought, fitted, language, len(own)),
            "test": fitting.measure(_seek(language, own, whole, train, test), fitted, language, len(own)),
        }
        (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", "utf-8")
        calibration.update_calibration(args.out / "retrieval.json", language, fitted)
        print(f"{folder}: {json.dumps(scores, indent=1)}")
    return 0


def _seek(
    language: Language,
    passages: Sequence[Passage],
    encoder: Encoder,
    known: Sequence[dict[str, Any]],
    asked: Sequence[dict[str, Any]],
) -> list[fitting.Sought]:
    """Search questions in a shelf that knows others."""
    views = fitting.encode_views(passages, encoder)
    shelf = fitting.shelf_of(language, passages, views, fitting.encode(known, encoder, with_strange=False))
    return fitting.seek(shelf, fitting.encode(asked, encoder, with_strange=True))


def _trainer(language: Language, shop: ShopTexts, args: argparse.Namespace) -> Trainer:
    """What trains a language's encoder; what all its trainings share is prepared once."""
    texts = list(dict.fromkeys([*shop.questions, *(view for views in shop.views for view in views)]))
    match language:
        case "zh":
            from finetune import encoder_zh

            start = encoder_zh.start(texts)

            def train_zh(shop: ShopTexts, folder: Path) -> Encoder:
                table = encoder_zh.train(start, shop, steps=args.steps or 100, seed=args.seed)
                encoder_zh.save(start.tokenizer, table, folder)
                return Encoder(folder)

            return train_zh
        case "en":
            from finetune import encoder_en

            minilm = Encoder(minilm_path())
            vectors = dict(zip(texts, minilm.encode(texts, progress="MiniLM"), strict=True))

            def train_en(shop: ShopTexts, folder: Path) -> Encoder:
                half = encoder_en.train(shop, vectors, steps=args.steps or 225, seed=args.seed)
                encoder_en.write(half, folder)
                return Encoder(minilm_path(), words=folder)

            return train_en
