"""Measures the bot on saved rows, through the story that shoppers are told: `python -m finetune evaluate`.

Every row is a whole turn over the real index, model, gate and store; `--compare none` tells it to the base alone as well.
Knows flags, files and tables; `finetune.contest` tells the turns, `finetune.measure` counts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot import settings
from bot.errors import SettingsError
from bot.retrieval.documents import load_documents
from bot.types import LANGUAGES, Language
from finetune import measure, report_page
from finetune.contest import Contender, Shop, hold
from finetune.data import Row, read_rows
from finetune.measure import Measured

NAMELESS: Mapping[Language, str] = {"en": "the shop", "zh": "本店"}
"""What a shop never seen is called: its folder does not tell its name."""
IN_SERVICE = "service"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `finetune evaluate`."""
    add = parser.add_argument
    add("--data", type=Path, default=settings.ROOT / "finetune/data", help="folder of the splits (finetune/data)")
    add("--split", default="test", help="train, valid or test (test)")
    add("--shops", type=Path, metavar="DIR", help="measure on shops never seen instead, one folder each, as "
        "`finetune unseen --out DIR` writes them; the base alone, unless `--adapter` names one")  # fmt: skip
    add("--language", choices=LANGUAGES, help="only this language")
    add("--limit", type=int, help="only so many rows per language (and shop)")
    add("--adapter", metavar="PATH", help="another adapter than the one in service; `none` is the base alone")
    add("--compare", metavar="PATH", action="append", default=[],
        help="measure this adapter beside it, `none` for the base alone; may be given more than once")  # fmt: skip
    add("--gate", metavar="PATH", nargs="?", const=IN_SERVICE, help="exit with 1 if it is worse than the adapter in "
        "service, or than the figures that `--json` saved in PATH; with 1 too if it shows unsupported claims")  # fmt: skip
    add("--margin", type=float, default=0.02, help="how far a share may fall behind at the gate (0.02)")
    add("--json", action="store_true", help="print the figures as JSON")
    add("--out", type=Path, metavar="FILE", help="write every turn as a JSON line, to read")
    add("--html", type=Path, metavar="FILE", help="write a page: tables, bars, and turns to read, wrong ones first")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0 when done, 1 if the gate stays shut.

    Raises:
        SettingsError: a flag names something that is not there or does not go with another.
        DocumentError: rows or documents cannot be read.
        ModelError: a model or adapter is missing or does not fit.
    """
    for file in (args.out, args.html):
        if file and not file.absolute().parent.is_dir():
            raise SettingsError(f"{file} cannot be written: the folder {file.parent} does not exist; make it first.")
    with tempfile.TemporaryDirectory() as folder:
        shops = read_shops(args, Path(folder)) if args.shops else [read_sample(args)]
        contenders = read_contenders(args, shops[0].settings)
        saved = None
        if args.gate and args.gate != IN_SERVICE:
            saved = read_figures(Path(args.gate), shops)
        measured = asyncio.run(hold(shops, contenders))
    if args.out:
        args.out.write_text("".join(map(_lines, measured)), encoding="utf-8")
    if args.html:
        where = f"{len(shops)} shops never seen" if args.shops else f"split {args.split}"
        subject = f"{sum(len(shop.rows) for shop in shops)} questions, {where}"
        args.html.write_text(report_page.page(subject, measured), encoding="utf-8")
    if args.json:
        print(json.dumps(as_dict(measured, shops), ensure_ascii=False, indent=2))
    else:
        print(table(measured))
    if not args.gate:
        return 0
    than, theirs = (args.gate, saved) if saved else (measured[-1].name, measured[-1].figures)
    found = measure.reasons(measured[0].figures, theirs, than=than, margin=args.margin)
    print("\n".join(found) or f"{measured[0].name} is no worse than {than}.", file=sys.stderr)
    return 1 if found else 0


def read_sample(args: argparse.Namespace) -> Shop:
    """The shop in service, with the rows of one split."""
    config = settings.read(database_url="sqlite://")
    passages = {p.id: p for p in load_documents(config.knowledge)}
    return Shop("", config, passages, choose(args.data / f"{args.split}.jsonl", passages, args))


def read_shops(args: argparse.Namespace, scratch: Path) -> list[Shop]:
    """Shops never seen: none has known questions or orders.

    Args:
        scratch: where their indexes go.
    """
    if not args.shops.is_dir():
        raise SettingsError(
            f"{args.shops} is no folder; write shops with `python -m finetune unseen --out {args.shops}`."
        )
    shops = []
    for folder in sorted(path for path in args.shops.iterdir() if path.is_dir()):
        file = folder / f"{args.split}.jsonl"
        if missing := [path for path in (folder / "knowledge", file) if not path.exists()]:
            raise SettingsError(f"{missing[0]} is missing; write the shop again with `python -m finetune unseen`.")
        passages = {p.id: p for p in load_documents(folder / "knowledge")}
        languages = {p.language for p in passages.values()}
        if args.language and args.language not in languages:
            continue
        rows = choose(file, passages, args)
        config = settings.read(
            database_url="sqlite://", knowledge=folder / "knowledge", questions="", orders="",
            data=scratch / folder.name, shop=NAMELESS[rows[0].language],
        )  # fmt: skip
        shops.append(Shop(folder.name, config, passages, rows))
    if not shops:
        kind = f"shop in {args.language}" if args.language else "shop"
        raise SettingsError(f"{args.shops} holds no {kind}; write some with `python -m finetune unseen`.")
    return shops


def choose(file: Path, passages: Mapping[str, Any], args: argparse.Namespace) -> list[Row]:
    """The rows that the flags ask for, language by language."""
    if args.limit is not None and args.limit < 1:
        raise SettingsError(f"`--limit` is {args.limit}; it must be 1 or more.")
    rows = read_rows(file, passages)
    chosen: list[Row] = []
    for language in (args.language,) if args.language else LANGUAGES:
        chosen += spread([row for row in rows if row.language == language], args.limit)
    if not chosen:
        raise SettingsError(f"{file} has no rows" + (f" in {args.language}." if args.language else "."))
    return chosen


def spread(rows: Sequence[Row], limit: int | None) -> Sequence[Row]:
    """So many rows from all over a file, which may be sorted by kind; all if there are no more."""
    return rows if limit is None or limit >= len(rows) else [rows[i * len(rows) // limit] for i in range(limit)]


def read_contenders(args: argparse.Namespace, config: settings.Settings) -> list[Contender]:
    """Who is measured, each once: the one in question, those beside it, and at the gate the adapter in service.

    Raises:
        SettingsError: an adapter is missing, or the gate has nothing to compare.
    """
    service, given = config.adapter_folder, args.adapter or ("none" if args.shops else None)
    wanted = [given, *args.compare, *([None] if args.gate == IN_SERVICE else [])]
    folders = [service if one is None else None if one == "none" else Path(one) for one in wanted]
    if config.engine != "local" and (args.adapter or args.compare or args.gate == IN_SERVICE):
        raise SettingsError(
            f"`BOT_ENGINE` is {config.engine!r}, which serves what it serves: `--adapter`, `--compare` and `--gate` "
            "without figures exchange the adapter of `local`."
        )
    whole = [folder.resolve() if folder else None for folder in folders]
    if args.gate == IN_SERVICE and whole[0] == whole[-1]:
        raise SettingsError(
            "`--gate` would compare the adapter in service with itself; name another with `--adapter`, "
            "or give the figures that `--json` saved."
        )
    chosen: dict[Path | None, Path | None] = {}
    for place, folder in zip(whole, folders, strict=True):
        chosen.setdefault(place, folder)
    if args.gate == IN_SERVICE:
        chosen[whole[-1]] = chosen.pop(whole[-1])  # Comes last.
    for folder in filter(None, chosen.values()):
        if config.engine == "local" and not (folder / "shoptalk.json").is_file():
            raise SettingsError(
                f"{folder} holds no adapter made by `finetune train` (no shoptalk.json); train one, "
                "or say `none` for the base alone."
            )
    names = [
        folder.name if folder else "base alone" if config.engine == "local" else config.engine
        for folder in chosen.values()
    ]
    return [
        Contender(str(folder) if names.count(name) > 1 else name, folder)
        for name, folder in zip(names, chosen.values(), strict=True)
    ]


def read_figures(path: Path, shops: Sequence[Shop]) -> measure.Figures:
    """The figures of the first contender that `--json` saved.

    Raises:
        SettingsError: there are none, or they were measured on other rows.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        figures = saved["contenders"][0]["figures"]
        if saved["rows"] != mark(shops):
            raise SettingsError(f"{path} was measured on other rows than these; measure both on the same.")
        for one in figures.values():
            if missing := [name for name in measure.GATED if name not in one]:
                raise KeyError(missing[0])
        return figures
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. Save figures with `--json > FILE`.") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise SettingsError(f"{path} holds no figures; save them with `finetune evaluate --json > FILE`.") from None


def _lines(one: Measured) -> str:
    """A contender's turns as JSON lines."""
    return "".join(json.dumps({"contender": one.name, **asdict(r)}, ensure_ascii=False) + "\n" for r in one.results)


def mark(shops: Sequence[Shop]) -> str:
    """Sixteen hex digits that tell which rows were measured."""
    asked = [(shop.name, row.id, row.text, row.answer) for shop in shops for row in shop.rows]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def as_dict(measured: Sequence[Measured], shops: Sequence[Shop]) -> dict[str, Any]:
    """What `--json` prints, and `--gate` reads again."""
    contenders = [{"name": one.name, "release": asdict(one.release), "figures": one.figures} for one in measured]
    return {"rows": mark(shops), "contenders": contenders}


def table(measured: Sequence[Measured]) -> str:
    """The figures side by side: languages, and in each the contenders."""
    figures = [one.figures for one in measured]
    columns = [(language, n) for language in figures[0] for n in range(len(measured))]
    width = max(10, *(len(one.name) + 2 for one in measured)) if len(measured) > 1 else 10
    lines = [f"{'':38}" + "".join(f"{language:>{width}}" for language, _ in columns)]
    if len(measured) > 1:
        lines.append(f"{'':38}" + "".join(f"{measured[n].name:>{width}}" for _, n in columns))
    for name in figures[0][columns[0][0]]:
        cells = [measure.written(figures[n][language][name]) for language, n in columns]
        lines.append(f"{name:38}" + "".join(f"{cell:>{width}}" for cell in cells))
    return "\n".join(lines)
