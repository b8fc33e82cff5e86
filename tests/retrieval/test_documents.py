from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import DocumentError
from bot.retrieval.documents import load_documents

GOOD = """---
title: Shipping
category: policy
language: en
updated: 2026-10-01
url: /help/shipping
---
An intro that is no passage.

## Costs and times
- Standard delivery costs $5.95.

- Standard delivery takes 3 to 5 business days.

## Where we ship
- We ship to the 50 states.
"""


def write(folder: Path, text: str | bytes, where: str = "en/policy/shipping.md") -> Path:
    path = folder / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(folder: Path) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        load_documents(folder)
    return str(caught.value).splitlines()


def test_each_heading_is_a_passage_with_one_rule_a_line(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    first, second = load_documents(tmp_path)
    assert first.id == "en/policy/shipping#Costs and times"
    assert first.doc_id == "en/policy/shipping"
    assert (first.title, first.heading, first.language, first.url) == (
        "Shipping", "Costs and times", "en", "/help/shipping",
    )  # fmt: skip
    assert first.text == "- Standard delivery costs $5.95.\n- Standard delivery takes 3 to 5 business days."
    assert first.cite
    assert second.text == "- We ship to the 50 states."


def test_cite_false_is_carried_to_the_passages(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("url: /help/shipping", "cite: false"))
    passages = load_documents(tmp_path)
    assert [(p.cite, p.url) for p in passages] == [(False, None)] * 2


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    write(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert len(load_documents(tmp_path)) == 2


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD.replace("## ", ""), 8, 'no "## " heading'),
        (GOOD.replace("title: Shipping", "title: Shipping: all"), 2, "not YAML"),
        (GOOD.replace("---\n", "", 1), 1, "no front matter"),
        ("", 1, "no front matter"),
        (GOOD.replace("language: en\n", ""), 1, "lacks `language`"),
        (GOOD.replace("language: en", "language: fr"), 1, "unknown language 'fr'"),
        (GOOD.replace("language: en", "language: zh"), 1, "in folder en"),
        (GOOD.replace("title: Shipping\n", ""), 1, "lacks a `title`"),
        (GOOD.replace("url: /help/shipping", "cite: perhaps"), 1, "`cite: perhaps`"),
        (GOOD.replace("Where we ship", "Costs and times"), 15, 'repeats the heading "Costs and times" of line 10'),
        (GOOD.replace("- We ship to the 50 states.\n", ""), 15, 'no text below "Where we ship"'),
        (GOOD.encode() + b"- Caf\xe9.\n", 17, "not UTF-8"),
    ],
)
def test_a_broken_document_is_named_with_its_line(tmp_path: Path, text: str | bytes, line: int, says: str) -> None:
    path = write(tmp_path, text)
    message = problems(tmp_path)[0]
    assert message.startswith(f"{path}:{line} ")
    assert says in message


def test_every_problem_of_every_document_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("language: en\n", "").replace("Where we ship", "Costs and times"))
    write(tmp_path, GOOD.replace("## ", ""), "en/faq/other.md")
    write(tmp_path, GOOD, "en/faq/right.md")
    assert len(problems(tmp_path)) == 3


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    assert "holds no document" in problems(tmp_path)[0]
