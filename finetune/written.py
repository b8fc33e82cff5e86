"""Shops written by hand beside the sample shop: their documents and what shoppers ask there.

They teach the search to read a shop that it does not know, and calibrate it for one. A file is a shop:

    = Name | trade              ## policy/shipping | Title | Heading of a passage
    - a rule                    ? a question that the rule above answers
    > a follow-up to the question right above     + two questions in one: about this rule and the one before it
    ## none                     ! a question that no rule answers

Knows no model. Run `python -m finetune.written` to count them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot import prompt
from bot.errors import DocumentError
from bot.types import LANGUAGES, Language, Passage

FOLDER = Path(__file__).parent / "data/written"
PROMPTS = Path(__file__).parents[1] / "prompts"


@dataclass(slots=True)
class WrittenShop:
    """One shop: its passages, and rows as in finetune/data."""

    name: str
    language: Language
    passages: list[Passage] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    """A passage whose lines are still being read."""

    id: str
    title: str
    heading: str
    rules: list[str] = field(default_factory=list)


def read_shops(language: Language, folder: Path = FOLDER) -> list[WrittenShop]:
    """Every shop of a language, in the order of the files.

    Raises:
        DocumentError: a line is none of the marks, or stands where it says nothing; the message names file and line.
    """
    abstain = prompt.load_templates(PROMPTS)[language].say("abstain")
    return [_read(path, language, abstain) for path in sorted(folder.glob(f"{language}_*.txt"))]


def _read(path: Path, language: Language, abstain: str) -> WrittenShop:
    shop = WrittenShop(path.stem, language)
    drafts: list[_Draft] = []
    asked: tuple[str, str, list[str]] | None = None  # The question right above, its rule and its passages.
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        mark, _, text = line.partition(" ")
        text, draft = text.strip(), drafts[-1] if drafts else None
        if not line.strip() or mark == "=" or (mark, text) == ("##", "none"):
            continue
        if mark == "##" and text.count("|") == 2:
            file, title, heading = (part.strip() for part in text.split("|"))
            drafts.append(_Draft(f"{language}/{file}#{heading}", title, heading))
        elif mark == "-" and draft:
            draft.rules.append(text)
        elif mark == "!":
            shop.rows.append(_row(shop, "unanswerable", text, [], abstain))
        elif mark == "?" and draft and draft.rules:
            asked = (text, f"{draft.rules[-1]} [1]", [draft.id])
            shop.rows.append(_row(shop, "answerable", *asked[:1], asked[2], asked[1]))
        elif mark == ">" and draft and draft.rules and asked:
            history = [{"role": "user", "content": asked[0]}, {"role": "assistant", "content": asked[1]}]
            answer = f"{draft.rules[-1]} [1]"
            shop.rows.append(_row(shop, "follow_up", text, [draft.id], answer, history))
        elif mark == "+" and draft and len(draft.rules) > 1:
            answer = " ".join(f"{rule} [1]" for rule in draft.rules[-2:])
            shop.rows.append(_row(shop, "answerable", text, [draft.id], answer))
        else:
            raise DocumentError(
                f'{path}:{number}: "{line}" says nothing here; the head of finetune/written.py tells how.'
            )
    shop.passages = [
        Passage(d.id, d.id.partition("#")[0], d.title, d.heading, "\n".join(f"- {r}" for r in d.rules), language)
        for d in drafts
    ]
    return shop


def _row(
    shop: WrittenShop,
    kind: str,
    text: str,
    passages: list[str],
    answer: str,
    history: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    return {
        "id": f"{shop.name}-{len(shop.rows):03}", "language": shop.language, "kind": kind, "history": history or [],
        "text": text, "passages": passages, "answer": answer,
    }  # fmt: skip


def _counts() -> Iterator[str]:
    for language in LANGUAGES:
        for shop in read_shops(language):
            rules = sum(len(passage.text.splitlines()) for passage in shop.passages)
            yield f"{shop.name}: {len(shop.passages)} passages, {rules} rules, {len(shop.rows)} questions"


if __name__ == "__main__":
    print("\n".join(_counts()))
