"""Files of questions and answers, in the shapes that people have them, to records with file and line.

JSON lines, a JSON list, or a CSV. A record is a row of ours, `messages`, `prompt` and `completion`,
`instruction`, `input` and `output` (Alpaca), or `conversations` (ShareGPT); the shape is told by its keys.
Knows no documents and no model: `finetune.data` finds the passages.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.errors import DocumentError
from bot.types import LANGUAGES, Language, Message, Role

SUFFIXES = (".jsonl", ".json", ".csv")
SHAPES = "`text` and `passages`, `messages`, `prompt` and `completion`, `instruction` and `output`, or `conversations`"
ROLES: dict[str, Role] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
}  # fmt: skip
"""What files call a role, and what it is."""
COLUMNS = {"question": "question", "问题": "question", "answer": "answer", "答案": "answer", "回答": "answer",
           "language": "language", "语言": "language"}  # fmt: skip
HAN = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read."""

    where: str
    """`<file>:<line>`."""
    data: Any


@dataclass(frozen=True, slots=True)
class Pair:
    """A question with its answer, of which no passage is known yet."""

    language: Language
    history: tuple[Message, ...]
    text: str
    answer: str
    system: bool
    """A system message was left out; the bot has its own."""


def find_split(data: Path, split: str) -> Path | None:
    """The file of a split: `data` itself for `train` if it is a file, else `<data>/<split>.jsonl`, `.json` or `.csv`.

    Raises:
        DocumentError: there are two.
    """
    if data.is_file():
        return data if split == "train" else None
    found = [path for suffix in SUFFIXES if (path := data / f"{split}{suffix}").is_file()]
    if len(found) > 1:
        raise DocumentError(f"{data} holds {' and '.join(p.name for p in found)}; keep one of them.")
    return found[0] if found else None


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """Every record of a file, and what is wrong with the others, each with its line."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [f"{path}:{raw[: error.start].count(10) + 1}: the file is not UTF-8; save it as UTF-8."]
    if path.suffix == ".csv":
        return _read_csv(path, text)
    if text.startswith("{\n"):
        return [], [
            f"{path}:1: the file is one object over many lines; write a list of records, or one record a line."
        ]
    return _read_list(path, text) if text.lstrip().startswith("[") else _read_lines(path, text)


def _read_lines(path: Path, text: str) -> tuple[list[Record], list[str]]:
    records, problems = [], []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would also cut at U+2028 inside a text.
        if not line.strip():
            continue
        try:
            records.append(Record(f"{path}:{number}", json.loads(line)))
        except ValueError as error:
            problems.append(f"{path}:{number}: the line is not JSON ({error}).")
    return records, problems


def _read_list(path: Path, text: str) -> tuple[list[Record], list[str]]:
    """A JSON list, element by element, so that each has its line."""
    records, decoder, at = [], json.JSONDecoder(), text.index("[") + 1
    blank = re.compile(r"[\s,]*")
    while True:
        at = blank.match(text, at).end()  # type: ignore[union-attr]
        line = text.count("\n", 0, at) + 1
        if text[at : at + 1] == "]":
            return records, []
        try:
            data, at = decoder.raw_decode(text, at)
        except ValueError as error:
            line = getattr(error, "lineno", line)
            return records, [f"{path}:{line}: the list is not JSON from here on ({error})."]
        records.append(Record(f"{path}:{line}", data))


def _read_csv(path: Path, text: str) -> tuple[list[Record], list[str]]:
    first = text.split("\n", 1)[0].strip()
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records, problems, begins = [], [], 1
    header: list[str | None] | None = None
    try:
        for cells in rows:
            where, begins = f"{path}:{begins}", rows.line_num + 1
            if header is None:
                header = [COLUMNS.get(cell.strip().lower()) for cell in cells]
                if not {"question", "answer"} <= set(header):
                    return [], [
                        f"{where}: the first line must name the columns, `question{delimiter}answer`; "
                        f"it reads {first[:60]!r}."
                    ]
            elif any(cell.strip() for cell in cells):
                if len(cells) == len(header):
                    named = zip(header, cells, strict=True)
                    records.append(Record(where, {name: cell for name, cell in named if name}))
                else:
                    problems.append(
                        f"{where}: the line has {len(cells)} columns and the first has {len(header)}; "
                        "put a text with commas into quotes."
                    )
    except csv.Error as error:
        problems.append(f"{path}:{begins}: the line is not CSV ({error}).")
    return records, problems


def is_row(data: Any) -> bool:
    """Whether a record is a row of ours, which names its passages."""
    return isinstance(data, dict) and ("passages" in data or "text" in data or not shape_of(data))


def shape_of(data: dict[str, Any]) -> str | None:
    """Which other shape a record has: the first of its telling keys."""
    return next((k for k in ("messages", "conversations", "prompt", "instruction", "question") if k in data), None)


def pairs(data: Any) -> Iterator[Pair]:
    """The questions of a record that is no row: one for every answer of a conversation.

    Raises:
        ValueError: the record is broken; the text says how.
    """
    if not isinstance(data, dict):
        raise ValueError("a record is an object in braces")
    match shape_of(data):
        case "messages":
            messages = _messages(data["messages"], "role", "content")
        case "conversations":
            messages = _messages(data["conversations"], "from", "value")
        case "prompt":
            messages = _asked(data, "prompt", "completion")
        case "instruction":
            messages = [m for turn in data.get("history") or [] for m in _exchange(turn)]
            asked = "\n".join(filter(None, (_text(data, "instruction"), str(data.get("input") or "").strip())))
            messages += _turn(asked, _text(data, "output"))
        case "question":
            messages = _turn(_text(data, "question"), _text(data, "answer"))
        case _:
            raise ValueError(f"the record has none of the known shapes: {SHAPES}")
    told = data.get("language") or None
    if told is not None and told not in LANGUAGES:
        raise ValueError(f"`language` is {told!r}; it must be one of {', '.join(LANGUAGES)}, or left out")
    yield from _cut(messages, told)


def _asked(data: dict[str, Any], question: str, answer: str) -> list[Message]:
    if isinstance(data.get(question), list) and isinstance(data.get(answer), list):
        return _messages(data[question] + data[answer], "role", "content")
    return _turn(_text(data, question), _text(data, answer))


def _cut(messages: list[Message], told: Language | None) -> Iterator[Pair]:
    """One pair for every answer; a greeting before the first question is left out."""
    system = any(m.role == "system" for m in messages)
    said = [m for m in messages if m.role != "system"]
    if said and said[0].role == "assistant":
        said = said[1:]
    if len(said) < 2:
        raise ValueError("the conversation holds no answer to a question")
    for n, message in enumerate(said):
        if message.role != ("user", "assistant")[n % 2]:
            raise ValueError(f"two messages of the role {message.role} follow each other; join them into one")
    for n in range(1, len(said), 2):
        text, answer = said[n - 1].content, said[n].content
        yield Pair(told or ("zh" if HAN.search(text) else "en"), tuple(said[: n - 1]), text, answer, system)


def _messages(listed: Any, role: str, content: str) -> list[Message]:
    if not isinstance(listed, list):
        raise ValueError("the messages must be a list")
    found = []
    for message in listed:
        if not isinstance(message, dict) or role not in message:
            raise ValueError(f"a message is an object with `{role}` and `{content}`, not {str(message)[:40]!r}")
        if message[role] not in ROLES:
            raise ValueError(f"`{role}` is {message[role]!r}; it must be one of {', '.join(ROLES)}")
        found.append(Message(ROLES[message[role]], _text(message, content)))
    return found


def _exchange(turn: Any) -> list[Message]:
    if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)):
        raise ValueError(f"a turn of `history` is a list of two texts, not {str(turn)[:40]!r}")
    return _turn(*turn)


def _turn(question: str, answer: str) -> list[Message]:
    return [Message("user", question), Message("assistant", answer)]


def _text(data: dict[str, Any], key: str) -> str:
    if not isinstance(data.get(key), str) or not data[key].strip():
        raise ValueError(f"`{key}` must be a text that is not empty")
    return data[key].strip()
