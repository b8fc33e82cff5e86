"""Print one training example as the model sees it, what it learns in green: `python -m finetune show --row 7`.

Loads the base's tokenizer and no weights.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bot.errors import DocumentError, SettingsError
from finetune.config import read_config
from finetune.data import Library, examples
from finetune.grounding import read_splits

GREEN, PLAIN = "\033[32m", "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `python -m finetune show`."""
    add = parser.add_argument
    add("--row", type=int, default=1, help="which row, from 1")
    add("--split", default="train", help="train, valid or test")
    add("--config", type=Path, default=Path("finetune/configs/lora.toml"), help="the config of the run")
    add("--data", type=Path, default=Path("finetune/data"), help="folder of the rows, or one file")
    add("--knowledge", type=Path, default=Path("knowledge"), help="folder of the documents")
    add("--prompts", type=Path, default=Path("prompts"), help="folder of the templates")
    add("--base", default="bot/models/base", help="the base model, a folder or a hub name")


def run(args: argparse.Namespace) -> int:
    """Print the example.

    Raises:
        SettingsError: there is no such row.
        DocumentError: there is no such split, or it holds broken records.
    """
    from bot.prompt import load_templates
    from bot.retrieval.documents import load_documents
    from finetune.loading import load_tokenizer
    from finetune.tasks import Scribe

    config = read_config(args.config)
    library = Library(load_documents(args.knowledge))
    templates = load_templates(args.prompts)
    splits = read_splits(args.data, library, templates)
    if args.split not in splits:
        raise DocumentError(f"{args.data} has no split {args.split!r}; it has {', '.join(splits)}.")
    rows = splits[args.split].rows
    if not 1 <= args.row <= len(rows):
        raise SettingsError(f"`--row {args.row}` is not there; {args.split} has rows 1 to {len(rows)}.")
    tokenizer = load_tokenizer(args.base)
    scribe = Scribe(tokenizer, templates, tokenizer.eos_token)
    row = rows[args.row - 1]
    made = examples([row], library, scribe, config, f"{config.seed} show", fold=False)
    if not made.items:
        raise SettingsError(f"Row {args.row} is longer than `longest` = {config.longest} tokens, so it is not learnt.")
    print(paint(tokenizer, made.items[0], sys.stdout.isatty()))
    print(f"\n{row.where}: {len(made.items[0])} tokens, {row.kind}, {row.language}")
    return 0


def paint(tokenizer, item, colours: bool) -> str:
    """The example's text; what is learnt is green, or between ⟦ and ⟧ where there are no colours."""
    ids, begin = item.branches[0]
    before, learnt = tokenizer.decode([*item.prefix, *ids[:begin]]), tokenizer.decode(ids[begin:])
    return f"{before}{GREEN}{learnt}{PLAIN}" if colours else f"{before}⟦{learnt}⟧"
