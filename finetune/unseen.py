"""Shops never seen: fictional help centres with questions, whose kinds of rules no training shows.

They measure how the models do in a shop that is not the sample shop.
Knows no model. `python -m finetune unseen --out DIR` writes them; `--show` prints one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bot import prompt
from bot.errors import SettingsError
from bot.types import LANGUAGES, Language
from finetune.unseen_kinds import Templates, read_templates
from finetune.unseen_questions import ask
from finetune.unseen_shops import Shop, draw_shop

PROMPTS = Path(__file__).parents[1] / "prompts"


def make_shop(language: Language, number: int, seed: int, templates: Templates, abstain: str) -> Shop:
    """The shop of this number, with its questions.

    Args:
        abstain: the answer where no rule answers.
    """
    shop, scene, here = draw_shop(language, number, seed, templates)
    ask(scene, shop, templates, here, abstain)
    return shop


def write_shop(shop: Shop, folder: Path) -> None:
    """Write the shop's documents and rows below its folder."""
    for path, (title, passages) in shop.documents.items():
        file = folder / "knowledge" / shop.language / f"{path}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        category, name = path.split("/")
        prefix = "" if shop.language == "en" else "/zh"
        lines = ["---", f"title: {title}", f"category: {category}", f"language: {shop.language}",
                 "updated: 2026-11-01", f"url: {prefix}/help/{name}", "---"]  # fmt: skip
        for heading, rules in passages.items():
            lines += [f"## {heading}", *(f"- {rule}" for rule in rules), ""]
        file.write_text("\n".join(lines), encoding="utf-8")
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in shop.rows)
    (folder / "test.jsonl").write_text(rows, encoding="utf-8")


def readable(shop: Shop) -> str:
    """The shop as a page to read."""
    lines = [f"{shop.name} ({shop.language})"]
    for path, (title, passages) in shop.documents.items():
        lines += ["", f"# {title} ({path})"]
        for heading, rules in passages.items():
            lines += [f"## {heading}", *(f"- {rule}" for rule in rules)]
    for row in shop.rows:
        lines += ["", *(f"{m['role']}: {m['content']}" for m in row["history"])]
        lines += [f"{row['kind']}: {row['text']}", f"  {row['answer']}"]
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `finetune unseen`."""
    parser.add_argument("--out", type=Path, help="folder for the shops, one folder each")
    parser.add_argument("--shops", type=int, default=20, help="how many shops per language (20)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other shops (0)")
    parser.add_argument("--language", choices=LANGUAGES, help="only this language")
    parser.add_argument("--show", action="store_true", help="print one shop per language instead of writing")


def run(args: argparse.Namespace) -> int:
    """Write the shops, or show one; 0 when done.

    Raises:
        SettingsError: a flag is missing or wrong, or a shop's folder exists; nothing has been written.
        DocumentError: the kinds of rules cannot be read.
    """
    languages: tuple[Language, ...] = (args.language,) if args.language else LANGUAGES
    if not 1 <= args.shops <= 100:
        raise SettingsError(f"`--shops` is {args.shops}; it must be 1 to 100.")
    templates = prompt.load_templates(PROMPTS)
    kinds = {language: (read_templates(language), templates[language].say("abstain")) for language in languages}
    if args.show:
        for language in languages:
            print(readable(make_shop(language, 0, args.seed, *kinds[language])), end="\n\n")
        return 0
    if args.out is None:
        raise SettingsError("`--out` is missing; give a folder for the shops, or `--show` to read one.")
    folders: dict[tuple[Language, int], Path] = {
        (x, n): args.out / f"{x}-{n:02}" for x in languages for n in range(args.shops)
    }
    if old := [folder for folder in folders.values() if folder.exists()]:
        raise SettingsError(f"{old[0]} exists already; delete it, or give another `--out`.")
    for (language, number), folder in folders.items():
        shop = make_shop(language, number, args.seed, *kinds[language])
        write_shop(shop, folder)
        passages = sum(len(found) for _, found in shop.documents.values())
        counts = f"{len(shop.documents)} documents, {passages} passages, {len(shop.rows)} questions"
        print(f"{shop.id} {shop.name}: {counts}")
    return 0
