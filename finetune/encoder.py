"""Train the part of retrieval that is our own: the Chinese encoder, the English adapter, the calibration.

Knows the command line and the order of things; the models themselves are in `encoder_zh`, `encoder_en` and
`calibration`. What is calibrated on was never learnt from: a fifth of the training rows is set aside by a hash.

Run `python -m finetune encoder --language zh --data DATA`, the same for `en`, then
`python -m finetune encoder --calibrate`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from bot.retrieval import calibration
from bot.retrieval.documents import load_documents
from bot.retrieval.hybrid import MODELS, built_in
from bot.types import LANGUAGES, Language, Passage
from finetune import calibration as fitting
from finetune.encoder_data import kept_for_calibration, read_rows, shop_texts

ROOT = Path(__file__).parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `finetune encoder`."""
    parser.add_argument("--language", choices=LANGUAGES, help="train this language's encoder")
    parser.add_argument("--calibrate", action="store_true", help="fit and measure retrieval with the saved encoders")
    parser.add_argument("--knowledge", type=Path, default=ROOT / "knowledge", help="folder of the documents")
    parser.add_argument("--questions", type=Path, default=ROOT / "finetune/data", help="folder of train, valid, test")
    parser.add_argument("--no-teacher", action="store_true", help="Chinese: start from random words")
    parser.add_argument("--steps", type=int, help="updates; 80 for Chinese, 200 for English if not given")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder to write to")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> int:
    """Train what was asked for; print scores. Raises BotError if something that it needs is missing."""
    passages = load_documents(args.knowledge)
    if args.language:
        own = [passage for passage in passages if passage.language == args.language]
        rows = [r for r in read_rows(args.questions / "train.jsonl", args.language) if not kept_for_calibration(r)]
        if args.language == "zh":
            from finetune import encoder_zh

            folder = args.out / "encoder-zh"
            encoder_zh.make(shop_texts(own, rows), folder, args.steps or 80, not args.no_teacher, args.seed)
        else:
            from finetune import encoder_en

            folder = args.out / "encoder-en"
            encoder_en.make(shop_texts(own, rows), folder, args.steps or 200, args.seed)
        print(f"Wrote {folder}; now run `python -m finetune encoder --calibrate`.")
    if args.calibrate:
        calibrate(passages, args.questions, args.out / "retrieval.json", args.seed)
    if not args.language and not args.calibrate:
        print("Nothing to do; pass `--language zh`, `--language en` or `--calibrate`.")
        return 2
    return 0


def calibrate(passages: list[Passage], questions: Path, path: Path, seed: int) -> None:
    """Fit every language on the rows set aside and on the valid ones, measure on the test ones, write the file."""
    fitted = {}
    for language in LANGUAGES:
        own = [passage for passage in passages if passage.language == language]
        fitted[language], scores = _calibrate(own, language, questions, seed)
        print(language, json.dumps(scores, indent=1))
    calibration.save_calibration(path, fitted)
    print(f"Wrote {path}.")


def _calibrate(
    passages: list[Passage], language: Language, questions: Path, seed: int
) -> tuple[calibration.Calibration, dict[str, dict[str, float]]]:
    model = built_in(language)
    views = fitting.encode_views(passages, model)
    train, valid, test = (
        fitting.encode(read_rows(questions / f"{name}.jsonl", language), model) for name in ("train", "valid", "test")
    )
    aside = np.array([kept_for_calibration({"text": question.text}) for question in train.questions])
    learnt = fitting.shelf_of(language, passages, views, train, np.flatnonzero(~aside))
    sought = fitting.seek(learnt, train, np.flatnonzero(aside).tolist())
    sought += fitting.seek(learnt, valid, range(len(valid.questions)))
    fitted = fitting.fit(sought, language)
    whole = fitting.shelf_of(language, passages, views, train, np.arange(len(train.questions)))
    scores = {
        "set aside and valid": fitting.measure(sought, fitted, language, len(passages)),
        "test": fitting.measure(
            fitting.seek(whole, test, range(len(test.questions))), fitted, language, len(passages)
        ),
    }
    return fitted, scores
