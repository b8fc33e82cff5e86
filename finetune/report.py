"""What the rows of a run are like, told before it: a table to read, and the same as data for `report.json`.

Finds what spoils training without breaking it: duplicates, leaks between splits, facts that no passage holds.
Knows no model; a tokenizer is handed in.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.claims import claims, holds
from bot.prompt import strip_citations
from finetune.config import Config
from finetune.data import Library, Row, examples
from finetune.grounding import Split, name_of
from finetune.tasks import Scribe

NEAR = 0.8
"""Two questions are near-duplicates if they share this part of all their words (Jaccard)."""
LISTED = 10
"""Lines of a list that are printed; report.json holds all."""
LISTS = {
    "passages_gone": "rows whose passage is gone, skipped",
    "no_passage_holds": "answers that no passage holds, skipped",
    "facts_not_held": "answers with a fact that their passages do not hold",
    "too_long": "rows that are too long, skipped",
}


def report(splits: Mapping[str, Split], library: Library, scribe: Scribe, config: Config) -> dict[str, Any]:
    """Everything that is told about the splits, as JSON can hold it."""
    found: dict[str, Any] = {"longest": config.longest, "splits": {}}
    for name, split in splits.items():
        if name == "test":  # Looked at for leaks alone.
            continue
        lengths, too_long = _lengths(split.rows, library, scribe, config)
        same, near = duplicates(split.rows)
        found["splits"][name] = {
            "file": split.file.name,
            "rows": len(split.rows),
            "languages": dict(sorted(Counter(row.language for row in split.rows).items())),
            "kinds": dict(sorted(Counter(row.kind for row in split.rows).items())),
            "tokens": {"min": lengths[0], "median": lengths[len(lengths) // 2], "max": lengths[-1]},
            "same_question": same,
            "near_same_question": near,
            "passages_found": split.placed,
            "abstaining": split.abstaining,
            "sentences_left_out": split.sentences_left_out,
            "system_messages_left_out": split.systems_left_out,
            "passages_gone": split.gone,
            "no_passage_holds": split.not_found,
            "facts_not_held": [line for row in split.rows if (line := unheld(row, library))],
            "too_long": too_long,
        }
    found["leaks"] = [
        {"train": name_of(learnt.where), name: name_of(held.where), "same": same}
        for name in ("valid", "test") if name in splits
        for learnt, held, same in leaks(splits["train"].rows, splits[name].rows)
    ]  # fmt: skip
    return found


def _lengths(rows: Sequence[Row], library: Library, scribe: Scribe, config: Config) -> tuple[list[int], list[str]]:
    """Tokens of all examples in order, and the rows among them that are too long."""
    made = examples(rows, library, scribe, config, f"{config.seed} report", fold=False)
    too_long = [f"{name_of(row.where)}: more than {config.longest} tokens." for row in made.too_long]
    return sorted(map(len, made.items)) or [0], too_long


def unheld(row: Row, library: Library) -> str | None:
    """Where a row's answer claims what none of its passages holds: file, line and what."""
    if not row.passages:
        return None
    shown = [library.by_id[id] for id in row.passages]
    there = claims("\n".join(f"{p.title}\n{p.heading}\n{p.text}" for p in shown))
    missing = sorted(f"{c.value} {c.unit}".strip() for c in claims(strip_citations(row.answer)) if not holds(there, c))
    return f"{name_of(row.where)}: {', '.join(missing)} of {row.answer[:60]!r}." if missing else None


def normal(row: Row) -> str:
    """A question without case, width, spaces and punctuation, with what was said before it."""
    text = "\n".join((*(m.content for m in row.history[-2:]), row.text))
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def _terms(row: Row) -> frozenset[str]:
    """Words and numbers, and pairs of Chinese characters, of a question and what was said before it."""
    text = " ".join((*(m.content for m in row.history[-2:]), row.text)).casefold()
    runs = re.findall(r"[\u4e00-\u9fff]+", text)
    return frozenset(re.findall(r"[a-z0-9]+", text)) | {r[i : i + 2] for r in runs for i in range(max(len(r) - 1, 1))}


def duplicates(rows: Sequence[Row]) -> tuple[int, int]:
    """How many rows ask just what an earlier one asks, and how many nearly so."""
    seen, same = set[str](), 0
    kept = []
    for row in rows:
        key = normal(row)
        same += key in seen
        kept += [] if key in seen else [row]
        seen.add(key)
    near = {j for i, j in alike(kept, kept) if i < j}
    return same, len(near)


def leaks(train: Sequence[Row], other: Sequence[Row]) -> Iterator[tuple[Row, Row, bool]]:
    """Rows of another split that `train` asks too, each with the row there, and whether it is just the same."""
    by_key = {normal(row): row for row in train}
    near: dict[int, int] = {}
    for i, j in alike(train, other):
        near.setdefault(j, i)
    for j, row in enumerate(other):
        if (learnt := by_key.get(normal(row))) is not None:
            yield learnt, row, True
        elif j in near:
            yield train[near[j]], row, False


def alike(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Places of all questions, one on each side, that share `NEAR` of their words.

    Two sets that share so much share one of their few rarest members too, so only those are looked up
    (prefix filtering; Bayardo et al. 2007).
    """
    sides = [[_terms(row) for row in rows] for rows in (left, right)]
    seen = Counter(term for terms in (sides[0] + sides[1]) for term in terms)

    def rarest(terms: frozenset[str]) -> list[str]:
        count = int((1 - NEAR) * len(terms) + 1e-9) + 1
        return sorted(terms, key=lambda term: (seen[term], term))[:count]

    places = defaultdict(list)
    for i, terms in enumerate(sides[0]):
        for term in rarest(terms) if terms else ():
            places[term].append(i)
    for j, terms in enumerate(sides[1]):
        for i in dict.fromkeys(i for term in (rarest(terms) if terms else ()) for i in places[term]):
            if len(terms & sides[0][i]) >= NEAR * len(terms | sides[0][i]):
                yield i, j


def table(found: Mapping[str, Any]) -> str:
    """The report as it is printed."""
    splits = found["splits"]
    rows: list[tuple[str, list[Any]]] = [("rows", [s["rows"] for s in splits.values()])]
    for key in ("languages", "kinds"):
        for name in sorted({name for s in splits.values() for name in s[key]}):
            rows.append((f"  {name}", [s[key].get(name, 0) for s in splits.values()]))
    rows.append(("tokens, least / half / most", [" / ".join(map(str, s["tokens"].values())) for s in splits.values()]))
    for key, label in {
        "same_question": "same question as another",
        "near_same_question": "nearly the same",
        "passages_found": "passages found for the answer",
        "abstaining": "answers that say no",
        "sentences_left_out": "sentences that nothing holds, left out",
        "system_messages_left_out": "system messages, left out",
        **LISTS,
    }.items():
        counts = [len(s[key]) if isinstance(s[key], list) else s[key] for s in splits.values()]
        if any(counts) or key in ("same_question", "near_same_question", "facts_not_held", "too_long"):
            rows.append((label, counts))
    width = max(len(label) for label, _ in rows)
    lines = [" " * width + "".join(f"{name:>18}" for name in splits)]
    lines += [f"{label:<{width}}" + "".join(f"{str(value):>18}" for value in values) for label, values in rows]
    exact = sum(leak["same"] for leak in found["leaks"])
    lines.append(
        f"\nleaks between train and held-out rows: {exact} same, {len(found['leaks']) - exact} nearly the same"
    )
    lines += _listed([f"{' and '.join(str(v) for k, v in leak.items() if k != 'same')}" for leak in found["leaks"]])
    for key, label in LISTS.items():
        if listed := [line for s in splits.values() for line in s[key]]:
            lines += [f"\n{label}: {len(listed)}", *_listed(listed)]
    return "\n".join(lines)


def _listed(lines: Sequence[str]) -> list[str]:
    more = len(lines) - LISTED
    return [f"  {line}" for line in lines[:LISTED]] + ([f"  and {more} more in report.json"] if more > 0 else [])
