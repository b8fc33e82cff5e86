from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.errors import DocumentError
from bot.retrieval.questions import read_questions

ROW = {"id": "1", "language": "en", "text": "and express?", "passages": ["a", "b"], "history": [
    {"role": "user", "content": "how long does delivery take"}, {"role": "assistant", "content": "3 days. [1]"},
]}  # fmt: skip


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


def test_a_follow_up_carries_the_message_before_it(tmp_path: Path) -> None:
    (question,) = read_questions(write(tmp_path / "q.jsonl", ROW, ""), {"a", "b"})
    assert question.context == ("how long does delivery take",)
    assert question.full_text == "how long does delivery take and express?"


def test_passages_that_are_gone_are_left_out_and_a_question_that_had_only_such(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", ROW, {**ROW, "passages": ["gone"]}, {**ROW, "passages": []})
    assert [q.passages for q in read_questions(path, {"a"})] == [("a",), ()]


def test_no_file_means_no_questions(tmp_path: Path) -> None:
    assert read_questions(None, {"a"}) == []
    assert read_questions(tmp_path / "none.jsonl", {"a"}) == []


@pytest.mark.parametrize("row", ["{", "[]", '{"language": "en"}', "7", {**ROW, "history": [{}]}])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, row: object) -> None:
    path = write(tmp_path / "q.jsonl", ROW, row)
    with pytest.raises(DocumentError, match=r"q\.jsonl:2 is not a known question"):
        read_questions(path, {"a"})
