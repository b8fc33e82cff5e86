"""Measures the bot on saved rows, through the story that shoppers are told: `python -m finetune evaluate`.

Every row is a whole turn over the real index, model, gate and store. Knows no model and no index itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bot import evidence, settings, tokens, turn, wire, wiring
from bot.parts import Bot
from bot.types import Language, Passage

OUTCOMES = ("answered", "quoted", "abstained", "handed_off")


@dataclass(frozen=True, slots=True)
class Result:
    """One row's turn."""

    id: str
    language: Language
    kind: str
    text: str
    reference: str
    shown: str
    """What the shopper read; empty after a handoff."""
    outcome: str
    rank: int | None
    """Place of the row's passage among those found, from 1; None if it was not among them."""
    facts_right: bool
    """All claims of the reference stand in what was shown."""
    unsupported: tuple[str, ...]
    """Claims that were shown and stand in nothing that was cited."""
    right_language: bool
    seconds: float


def facts_right(reference: str, shown: str) -> bool:
    """Whether every number, date and amount of the reference stands in what was shown."""
    said = evidence.claims(shown)
    return all(evidence.holds(said, claim) for claim in evidence.claims(reference))


def unsupported(shown: str, cited: Iterable[Passage]) -> tuple[str, ...]:
    """Claims of what was shown that no cited passage holds; read apart from the gate, passage by passage."""
    held = frozenset().union(*(evidence.claims(f"{p.title} {p.heading}\n{p.text}") for p in cited))
    return tuple(f"{c.value} {c.unit}".strip() for c in evidence.claims(shown) if not evidence.holds(held, c))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a split.

    Raises:
        SystemExit: there is no such file.
    """
    if not path.is_file():
        raise SystemExit(f"{path} is missing; give the folder of the splits with `--data`.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


async def run_row(bot: Bot, row: Mapping[str, Any], passages: Mapping[str, Passage]) -> Result:
    """Tell one row's turn, after its history."""
    language: Language = row["language"]
    store = bot.store
    conversation = await store.create(
        site="evaluate", locale=language, shopper_id=None, resume_hash=tokens.new_secret()[1]
    )
    for n, message in enumerate(row["history"]):
        if message["role"] == "user":
            asked = f"h_{n}"
            await store.append_message(conversation.id, client_id=asked, message_id=asked, text=message["content"])
        else:
            data = {"message_id": f"a_{n}", "text": message["content"], "citations": [], "outcome": "answered"}
            await store.complete(
                conversation.id,
                message_id=f"h_{n - 1}",
                outcome="answered",
                type="message.completed",
                data=data,
                epoch=1,
            )
    await store.append_message(conversation.id, client_id="q", message_id="q", text=row["text"])

    async def emit(type: str, data: Mapping[str, Any]) -> None:
        pass

    async def announce(event: Any) -> None:
        pass

    began = time.perf_counter()
    outcome = await turn.answer(bot, conversation.id, "q", emit=emit, announce=announce)
    seconds = time.perf_counter() - began
    last = (await store.events(conversation.id))[-1].data
    shown = last["text"] if outcome != "handed_off" else ""
    cited = [passages[c["passage_id"]] for c in last.get("citations", []) if c["passage_id"] in passages]
    context = [m["content"] for m in row["history"] if m["role"] == "user"]
    hits = await asyncio.to_thread(
        bot.retriever.search, row["text"], language=language, top_k=10, context=context[-2:]
    )
    found = [hit.passage.id for hit in hits]
    ranks = [found.index(p) + 1 for p in row["passages"] if p in found]
    body = evidence.MARK.sub("", shown)
    return Result(
        id=row["id"], language=language, kind=row["kind"], text=row["text"], reference=row["answer"], shown=shown,
        outcome=outcome, rank=min(ranks) if ranks else None, facts_right=facts_right(row["answer"], shown),
        unsupported=unsupported(shown, cited) if outcome in ("answered", "quoted") else (),
        right_language=not body or wire.language_of(None, body) == language, seconds=seconds,
    )  # fmt: skip


def table(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """The figures per language: shares from 0 to 1, counts, and seconds."""
    figures: dict[str, dict[str, float]] = {}
    for language in sorted({r.language for r in results}):
        rows = [r for r in results if r.language == language]
        asked = [r for r in rows if r.kind not in ("unanswerable", "small_talk")]
        without = [r for r in rows if r.kind == "unanswerable"]
        answered = [r for r in asked if r.outcome == "answered"]
        one: dict[str, float] = {"rows": len(rows), "answerable": len(asked), "unanswerable": len(without)}
        for k in (1, 3):
            one[f"retrieval hit@{k}"] = share(r.rank is not None and r.rank <= k for r in asked)
        for outcome in OUTCOMES:
            one[f"{outcome} (answerable)"] = share(r.outcome == outcome for r in asked)
        one["key facts right (answerable)"] = share(r.facts_right for r in asked)
        one["key facts right (where answered)"] = share(r.facts_right for r in answered)
        one["unsupported claims shown"] = sum(len(r.unsupported) for r in rows)
        one["abstained or handed off (unanswerable)"] = share(
            r.outcome in ("abstained", "handed_off") for r in without
        )
        one["right language"] = share(r.right_language for r in rows)
        one["seconds a turn, median"] = sorted(r.seconds for r in rows)[len(rows) // 2]
        figures[language] = one
    return figures


def share(hits: Iterable[bool]) -> float:
    """Part of true values, 0 to 1; 0 for none."""
    values = list(hits)
    return sum(values) / len(values) if values else 0.0


def print_table(figures: Mapping[str, Mapping[str, float]]) -> None:
    """The figures side by side."""
    languages = list(figures)
    print(f"{'':42}" + "".join(f"{language:>10}" for language in languages))
    for name in figures[languages[0]]:
        cells = [figures[language][name] for language in languages]
        texts = [f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells]
        print(f"{name:42}" + "".join(f"{text:>10}" for text in texts))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `finetune evaluate`."""
    parser.add_argument("--data", type=Path, default=settings.ROOT / "finetune/data", help="folder of the splits")
    parser.add_argument("--split", default="test", help="train, valid or test (test)")
    parser.add_argument("--language", choices=("en", "zh"), help="only this language")
    parser.add_argument("--limit", type=int, help="only so many rows per language")
    parser.add_argument("--adapter", help="another adapter's folder; `none` measures the base alone")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path, help="write every turn as a JSON line, to read")


def run(args: argparse.Namespace) -> int:
    """Measure; 0 when done."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from bot.retrieval.documents import load_documents

    adapter = "" if args.adapter == "none" else args.adapter
    config = settings.read(database_url="sqlite://", adapter=adapter)
    rows: list[dict[str, Any]] = []
    for language in (args.language,) if args.language else ("en", "zh"):
        rows += [r for r in read_rows(args.data / f"{args.split}.jsonl") if r["language"] == language][: args.limit]
    passages = {p.id: p for p in load_documents(config.knowledge)}
    bot = wiring.bot(config, progress=not args.json)
    results = []
    try:
        for row in tqdm(rows, unit="turn", disable=args.json):
            results.append(await run_row(bot, row, passages))
    finally:
        await bot.engine.aclose()
        await bot.store.aclose()
    if args.out:
        args.out.write_text("".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in results), "utf-8")
    figures = table(results)
    if args.json:
        print(json.dumps({"release": asdict(bot.release), "figures": figures}, ensure_ascii=False, indent=2))
    else:
        print_table(figures)
    return 0
