"""The written shops: every line counts, and every row can be answered from its own shop."""

from pathlib import Path

import pytest

from bot import evidence
from bot.errors import DocumentError
from bot.types import LANGUAGES
from finetune.reranker_data import right_rules
from finetune.written import read_shops

HEAD = "= Shop | tea\n## policy/shipping | Delivery | Times\n- It takes 3 days.\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_stands_in_its_shop(language) -> None:
    shops = read_shops(language)
    assert len(shops) >= 12
    lost = total = 0
    for shop in shops:
        by_id = {passage.id: passage for passage in shop.passages}
        assert len(by_id) == len(shop.passages), f"{shop.name}: a heading stands twice"
        texts = [(row["text"], len(row["history"])) for row in shop.rows]
        assert len(set(texts)) == len(texts), f"{shop.name}: {[t for t in texts if texts.count(t) > 1][:2]}"
        for row in shop.rows:
            assert set(row["passages"]) <= set(by_id)
            said = " ".join(evidence.sentences(row["answer"]))
            assert not row["passages"] or "[1]" in said
            total += 1
            lost += bool(row["passages"]) and not right_rules(row, by_id)
    assert lost < total / 50, f"{lost} of {total} answers are not found in their passages"


def test_each_mark_becomes_its_row(tmp_path: Path) -> None:
    (tmp_path / "en_1.txt").write_text(
        f"{HEAD}? how long\n> really?\n- It costs $5.\n+ how long and how much\n## none\n! who are you\n"
    )
    [shop] = read_shops("en", tmp_path)
    assert [row["kind"] for row in shop.rows] == ["answerable", "follow_up", "answerable", "unanswerable"]
    assert shop.rows[1]["history"][0] == {"role": "user", "content": "how long"}
    assert shop.rows[2]["answer"] == "It takes 3 days. [1] It costs $5. [1]"
    assert shop.passages[0].id == "en/policy/shipping#Times"
    assert shop.passages[0].text == "- It takes 3 days.\n- It costs $5."


@pytest.mark.parametrize("line", ["how long", "## two | parts", "> a follow-up to nothing", "+ one rule above"])
def test_a_line_that_says_nothing_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "en_1.txt").write_text(f"{HEAD}{line}\n")
    with pytest.raises(DocumentError, match="en_1.txt:4"):
        read_shops("en", tmp_path)
