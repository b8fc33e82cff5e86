"""Documents to passages: one `##` heading of a Markdown file is one passage.

A document is `<folder>/<lang>/<category>/<name>.md`: front matter (`title`, `language`; optional `url`, `cite`),
then headings with their rules, one a line. Knows nothing of indexes or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bot.errors import DocumentError
from bot.types import LANGUAGES, Passage

_FENCE = "---"
_HEADING = re.compile(r"##\s+(?P<heading>.*\S)\s*")


@dataclass(frozen=True, slots=True)
class _Section:
    """A heading and the lines below it."""

    heading: str
    line: int
    """Of the heading, from 1."""
    rules: list[str] = field(default_factory=list)


def load_documents(folder: Path) -> list[Passage]:
    """Every passage of every document below the folder, in the order of paths and headings.

    Raises:
        DocumentError: some documents cannot be read. One message lists every problem with its file, its line
            and what to do.
    """
    paths = sorted(folder.glob("*/*/*.md"))
    if not paths:
        raise DocumentError(f"{folder} holds no document; put Markdown files in {folder}/<lang>/<category>/.")
    passages: list[Passage] = []
    problems: list[str] = []
    for path in paths:
        found, wrong = _read_document(path, folder)
        passages += found
        problems += wrong
    if problems:
        raise DocumentError("\n".join(problems))
    return passages


def _read_document(path: Path, folder: Path) -> tuple[list[Passage], list[str]]:
    """One document's passages, and what is wrong with it."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        return [], [f"{path}:{line} is not UTF-8; save the file as UTF-8."]
    facts, body_starts, problems = _read_front_matter(path, lines)
    problems += _check_front_matter(path, facts) if facts is not None else []
    sections = list(_sections(lines, body_starts))
    if not sections:
        problems.append(f'{path}:{body_starts + 1} has no "## " heading; write one above each passage.')
    seen: dict[str, int] = {}
    for section in sections:
        where = f"{path}:{section.line}"
        if first := seen.get(section.heading):
            problems.append(f'{where} repeats the heading "{section.heading}" of line {first}; reword one of them.')
        seen.setdefault(section.heading, section.line)
        if not section.rules:
            problems.append(f'{where} has no text below "{section.heading}"; write some, or delete the heading.')
    if problems or facts is None:
        return [], problems
    doc_id = path.relative_to(folder).with_suffix("").as_posix()
    return [
        Passage(
            id=f"{doc_id}#{section.heading}",
            doc_id=doc_id,
            title=facts["title"],
            heading=section.heading,
            text="\n".join(section.rules),
            language=facts["language"],
            url=facts.get("url"),
            cite=facts.get("cite", True),
        )
        for section in sections
    ], []


def _read_front_matter(path: Path, lines: list[str]) -> tuple[dict[str, Any] | None, int, list[str]]:
    """The front matter (None if broken), how many lines it takes, and what is wrong with it."""
    ends = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if not lines or lines[0].rstrip() != _FENCE or ends is None:
        what = f'{path}:1 has no front matter; begin with "---", `title` and `language`, and close with "---".'
        return None, 0, [what]
    try:
        facts = yaml.safe_load("\n".join(lines[1:ends]))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        what = f"{path}:{line} is not YAML ({getattr(error, 'problem', error)}); put values with a colon in quotes."
        return None, ends + 1, [what]
    if not isinstance(facts, dict):
        return None, ends + 1, [f"{path}:2 is not `key: value` lines; write at least `title` and `language`."]
    return facts, ends + 1, []


def _check_front_matter(path: Path, facts: dict[str, Any]) -> Iterator[str]:
    """What is wrong with readable front matter."""
    if not isinstance(facts.get("title"), str) or not facts["title"].strip():
        yield f"{path}:1 lacks a `title` in words; write `title: ...` in the front matter."
    known = " or ".join(f"`language: {language}`" for language in LANGUAGES)
    if (language := facts.get("language")) not in LANGUAGES:
        named = "lacks `language`" if language is None else f"has the unknown language {language!r}"
        yield f"{path}:1 {named}; write {known} in the front matter."
    elif language != path.parent.parent.name:
        yield f"{path}:1 says `language: {language}` in folder {path.parent.parent.name}; move the file or correct it."
    if not isinstance(facts.get("url", ""), str):
        yield f"{path}:1 has a `url` that is not text; write it as `url: /help/...`, or delete the line."
    if not isinstance(facts.get("cite", True), bool):
        yield f"{path}:1 has `cite: {facts['cite']}`; write `cite: true` or `cite: false`."


def _sections(lines: list[str], start: int) -> Iterator[_Section]:
    """Headings with the lines below them; what stands before the first heading is an intro and no passage."""
    section = None
    for number, line in enumerate(lines[start:], start + 1):
        if match := _HEADING.fullmatch(line):
            if section is not None:
                yield section
            section = _Section(match["heading"], number)
        elif section is not None and line.strip():
            section.rules.append(line.strip())
    if section is not None:
        yield section
