"""Known questions: rows of a JSON Lines file that say which passages answer a question, or that none does.

A row is `{"language", "text", "passages": [ids], "history": [{"role", "content"}], "answer"}`; other keys are ignored.
An answer that says a passage's lines as they stand tells which of them answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.errors import DocumentError
from bot.types import LANGUAGES, Language


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose passages are known."""

    text: str
    language: Language
    passages: tuple[str, ...]
    """Ids; empty if no passage answers it."""
    context: tuple[str, ...] = ()
    """The shopper's earlier messages, oldest first."""
    answer: str = ""

    @property
    def full_text(self) -> str:
        """The question under the message before it: what a follow-up can be understood by."""
        return join(self.context, self.text)


def join(context: Collection[str], text: str) -> str:
    """A text with the last message before it."""
    return " ".join([*list(context)[-1:], text])


def read_questions(path: Path | None, known_ids: Collection[str]) -> list[Question]:
    """The file's questions; none if there is no file.

    Passages that are no longer there are left out, and so is a question that had only such.

    Raises:
        DocumentError: a line is not a row; names file and line.
    """
    if path is None or not path.is_file():
        return []
    questions = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            question = question_of(json.loads(line))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            what = "write a JSON object with `language`, `text` and `passages` on each line"
            raise DocumentError(f"{path}:{number} is not a known question; {what}.") from None
        kept = tuple(id for id in question.passages if id in known_ids)
        if question.language in LANGUAGES and (kept or not question.passages):
            questions.append(replace(question, passages=kept))
    return questions


def question_of(row: dict[str, Any]) -> Question:
    """A row as a question."""
    context = tuple(str(m["content"]) for m in row.get("history") or () if m["role"] == "user")
    passages = tuple(map(str, row["passages"]))
    return Question(str(row["text"]), row["language"], passages, context, str(row.get("answer") or ""))


def said_lines(answer: str, text: str) -> list[int]:
    """Which lines of a passage's text an answer says, whole or cut short; numbers from 0."""
    said = [part.strip().rstrip("。.") for part in _ENDS.split(answer)]
    return [n for n, line in enumerate(text.splitlines()) if any(len(part) > 3 and part in line for part in said)]


_ENDS = re.compile(r"\s*\[\d+\]\s*")
