"""A split of any format to rows: what names no passage is given the ones that hold its answer.

A sentence is held by a passage if the gate of service would let it through with that passage (`bot.evidence`),
so nothing is learnt that would be withheld later. Knows no model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bot import evidence
from bot.claims import claims
from bot.errors import DocumentError
from bot.prompt import Templates, strip_citations
from bot.types import Language
from finetune.data import Library, PassageGone, Row, row_of
from finetune.formats import SUFFIXES, Pair, find_split, is_row, pairs, read_records

CANDIDATES = 8
"""Passages that are asked whether they hold an answer: those that share most words with it."""
HELD_OUT = 10
"""Without a file of held-out rows, one answer in so many is held out."""
ABSTAINS = re.compile(
    r"\b(?:do not|don['’]t|could not|couldn['’]t|cannot|can['’]t|unable to)\s+(?:\w+\s+)?(?:know|find|answer|say|help)\b"
    r"|\bno (?:information|idea)\b|\bnot sure\b"
    r"|没有?(?:能)?(?:找到|查到)|未(?:能)?(?:找到|查到)|没有相关|不(?:知道|清楚|确定)|无法(?:回答|确认|提供)",
    re.IGNORECASE,
)
"""How people say that they do not know."""


@dataclass
class Split:
    """One split as read, and what became of the records that are no rows."""

    file: Path
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Broken records."""
    gone: list[str] = field(default_factory=list)
    """Rows that name a passage which the documents no longer hold; skipped."""
    not_found: list[str] = field(default_factory=list)
    """Pairs whose answer no passage holds; skipped."""
    placed: int = 0
    """Pairs whose passages were found."""
    abstaining: int = 0
    """Pairs whose answer says that it does not know; the bot's own sentence takes its place."""
    sentences_left_out: int = 0
    """Sentences without a number that no passage holds, such as a greeting."""
    systems_left_out: int = 0
    """Conversations with a system message of their own."""


def read_splits(data: Path, library: Library, templates: Mapping[Language, Templates]) -> dict[str, Split]:
    """Read train, valid, and test if there is one; without a file of held-out rows some answers are held out.

    Raises:
        DocumentError: no training rows, or broken records; one message names every file, line and reason.
    """
    paths = {split: path for split in ("train", "valid", "test") if (path := find_split(data, split))}
    if "train" not in paths:
        there = sorted(p.name for p in data.glob("*") if p.suffix in SUFFIXES) if data.is_dir() else []
        hint = f" Of {', '.join(there)}, name one: `--data {data / there[0]}`." if there else ""
        raise DocumentError(
            f"{data} holds no train.jsonl, train.json or train.csv; finetune/README.md shows what a row looks like.{hint}"
        )
    splits = {split: read_split(path, library, templates) for split, path in paths.items()}
    if problems := [problem for split in splits.values() for problem in split.problems]:
        gone = [f"{line} (Such rows are skipped.)" for split in splits.values() for line in split.gone]
        raise DocumentError("\n".join(problems + gone))
    if not splits["train"].rows:
        lost = len(splits["train"].gone) + len(splits["train"].not_found)
        first = (splits["train"].not_found + splits["train"].gone or ["the file is empty."])[0]
        raise DocumentError(f"{paths['train']} has no row to learn from; {lost} were skipped. The first: {first}")
    if "valid" not in splits:
        splits["valid"] = hold_out(splits["train"])
    return splits


def hold_out(train: Split) -> Split:
    """Move one answer in ten with all its questions out of `train`; the same ones every time."""
    answers = {row.answer for row in train.rows}
    chosen = {a for a in answers if int(hashlib.sha256(a.encode()).hexdigest(), 16) % HELD_OUT == 0}
    if not 0 < len(chosen) < len(answers):
        chosen = {max(answers)} if len(answers) > 1 else set()
    held = Split(train.file, [row for row in train.rows if row.answer in chosen] or list(train.rows))
    if chosen:
        train.rows = [row for row in train.rows if row.answer not in chosen]
    return held


def read_split(path: Path, library: Library, templates: Mapping[Language, Templates]) -> Split:
    """Read one file; broken records are listed, not raised."""
    records, problems = read_records(path)
    split, seen = Split(path, problems=problems), set[str]()
    for record in records:
        try:
            if is_row(record.data):
                row = row_of(record.data, library.by_id, record.where)
                if row.id in seen:
                    raise ValueError(f"the id {row.id} stands above already; give every row its own")
                seen.add(row.id)
                split.rows.append(row)
            else:
                for n, pair in enumerate(list(pairs(record.data))):
                    _place(
                        split,
                        pair,
                        f"{path.stem}-{record.where.rsplit(':', 1)[1]}-{n}",
                        record.where,
                        library,
                        templates,
                    )
        except PassageGone as error:
            split.gone.append(f"{name_of(record.where)}: {error}.")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            split.problems.append(f"{record.where}: {error}.")
    split.problems.sort(key=lambda problem: int(problem[len(str(path)) + 1 :].split(":")[0]))
    return split


def _place(
    split: Split, pair: Pair, id: str, where: str, library: Library, templates: Mapping[Language, Templates]
) -> None:
    split.systems_left_out += pair.system
    row = Row(id, pair.language, "answerable", pair.history, pair.text, (), pair.answer, where)
    if abstains(pair.answer):
        split.abstaining += 1
        split.rows.append(replace(row, kind="unanswerable", answer=templates[pair.language].say("abstain")))
    elif found := ground(pair, library):
        split.placed += 1
        split.sentences_left_out += found.left_out
        split.rows.append(replace(row, passages=found.passages, answer=found.answer))
    else:
        split.not_found.append(f"{name_of(where)}: no passage holds the answer {pair.answer[:60]!r}.")


def name_of(where: str) -> str:
    """`<file>:<line>` without the folder, as the report says it."""
    return where.replace("\\", "/").rsplit("/", 1)[-1]


def abstains(answer: str) -> bool:
    """Whether an answer says that it does not know, and claims nothing."""
    return bool(ABSTAINS.search(answer)) and not claims(answer)


@dataclass(frozen=True, slots=True)
class Grounded:
    """An answer with the passages that hold it."""

    passages: tuple[str, ...]
    answer: str
    """Each sentence cites its passage."""
    left_out: int
    """Sentences without a claim that no passage holds."""


def ground(pair: Pair, library: Library) -> Grounded | None:
    """The passages that hold an answer; None if they hold none of it, or not all of its claims."""
    answer = strip_citations(pair.answer)
    wide = library.alike(f"{pair.text} {answer}", pair.language, (), CANDIDATES)
    passages: list[str] = []
    said, left_out = [], 0
    for sentence in evidence.sentences(answer):
        near = wide + library.alike(sentence, pair.language, [p.id for p in wide], CANDIDATES)
        support = evidence.check(sentence, [replace(p, cite=True) for p in near])
        if support is None:
            if claims(sentence):
                return None
            left_out += 1
            continue
        id = support.citations[0].passage_id
        passages += [id] if id not in passages else []
        mark = f"[{passages.index(id) + 1}]"
        said.append(f"{strip_citations(sentence)} {mark}" if pair.language == "en" else f"{sentence}{mark}")
    joined = (" " if pair.language == "en" else "").join(said)
    return Grounded(tuple(passages), joined, left_out) if said else None
