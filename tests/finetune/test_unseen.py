import random
import re
from collections import Counter

import pytest

from bot import prompt
from bot.errors import DocumentError
from bot.retrieval.documents import load_documents
from bot.types import LANGUAGES
from finetune.__main__ import main
from finetune.data import read_rows
from finetune.shops import FOLDER as PRACTICE
from finetune.unseen import PROMPTS, make_shop
from finetune.unseen_kinds import SLOT, Style, draw, fill, options, read_templates
from finetune.unseen_questions import COUNTS

KINDS = {language: read_templates(language) for language in LANGUAGES}
ABSTAIN = {language: found.say("abstain") for language, found in prompt.load_templates(PROMPTS).items()}
SHOPS = {
    language: [make_shop(language, n, 0, KINDS[language], ABSTAIN[language]) for n in range(20)]
    for language in LANGUAGES
}


def kinds_of(language):
    return [kind for topic in KINDS[language].topics for section in topic.sections for kind in section.kinds]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unseen")
    assert main(["unseen", "--out", str(folder), "--shops", "3", "--seed", "7"]) == 0
    return folder


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_ninety_kinds_in_twelve_topics(language):
    assert len(kinds_of(language)) >= 90
    assert len(KINDS[language].topics) >= 12


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(out, tmp_path):
    assert main(["unseen", "--out", str(tmp_path / "again"), "--shops", "3", "--seed", "7"]) == 0
    assert main(["unseen", "--out", str(tmp_path / "other"), "--shops", "3", "--seed", "8"]) == 0

    def read(folder):
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert read(out) == read(tmp_path / "again") != read(tmp_path / "other")


@pytest.mark.parametrize("language", LANGUAGES)
def test_written_documents_and_rows_are_read_as_the_product_reads_them(out, language):
    for number in range(3):
        folder = out / f"{language}-{number:02}"
        passages = load_documents(folder / "knowledge")
        rows = read_rows(folder / "test.jsonl", {p.id: p for p in passages})
        texts = {p.id: p.text.splitlines() for p in passages}

        assert {p.language for p in passages} == {language}
        assert Counter(row.kind for row in rows) == COUNTS
        for row in rows:
            if row.kind != "unanswerable":
                said = re.split(r" ?\[\d\] ?", row.answer)[:-1]
                assert len(said) == len(row.passages) > 0
                assert all(f"- {rule}" in texts[id] for rule, id in zip(said, row.passages, strict=True))
            else:
                assert (row.answer, row.passages) == (ABSTAIN[language], ())
            assert bool(row.history) == (row.kind == "follow_up")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_shop_has_the_size_it_should_and_no_rule_twice(language):
    for shop in SHOPS[language]:
        passages = [rules for _, found in shop.documents.values() for rules in found.values()]
        assert 8 <= len(shop.documents) <= 12
        assert {len(found) for _, found in shop.documents.values()} <= {3, 4, 5}
        assert {len(rules) for rules in passages} <= {3, 4, 5}
        assert max(Counter(rule for rules in passages for rule in rules).values()) == 1
    assert len({shop.name for shop in SHOPS[language]}) == 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_rules_and_questions_are_filled_sentences(language):
    for shop in SHOPS[language]:
        texts = [rule.text for rule in shop.rules] + [row["text"] for row in shop.rows]
        assert not [text for text in texts if re.search(r"[{}@|]|\d/\d|\b1 \w+s\b(?<!was)(?<!is)", text)]
        assert not [rule.text for rule in shop.rules if rule.text[-1] not in ".。"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_question_about_one_of_several_values_names_it(language):
    for shop in SHOPS[language]:
        by_text = {rule.text: rule for rule in shop.rules}
        for row in shop.rows:
            if row["kind"] in ("answerable", "follow_up"):
                rule = by_text[re.sub(r" ?\[1\]$", "", row["answer"])]
                assert rule.kind and (rule.value.lower() in row["text"].lower() or rule.kind.after)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_in_a_shop_answers_its_unanswerable_questions(language):
    for shop in SHOPS[language]:
        assert len(shop.missing) >= 4
        for kind, value in shop.missing:
            for wording in kind.rules:
                parts = [
                    re.escape(value)
                    if name == "e"
                    else re.escape(value[:1].upper() + value[1:])
                    if name == "E"
                    else ".+"
                    for name in SLOT.findall(wording)
                ]
                pattern = "".join(
                    re.escape(text) + part
                    for text, part in zip(SLOT.sub("\0", wording).split("\0"), [*parts, ""], strict=True)
                )
                assert not [rule.text for rule in shop.rules if re.fullmatch(pattern, rule.text)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_wording_is_one_that_the_base_practises_on(language):
    def bare(text):
        return re.sub(r"[^\w]", "", SLOT.sub("", text)).lower()

    practised = {bare(line[2:]) for line in (PRACTICE / f"{language}.txt").read_text("utf-8").splitlines()}
    ours = {bare(text) for kind in kinds_of(language) for text in kind.rules + kind.questions}
    assert ours & practised <= {""}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_can_be_filled_for_every_trade(language):
    for kind in kinds_of(language):
        for trade in KINDS[language].trades.values():
            values = options(kind, trade)
            assert len({value for value, _ in values}) == len(values)


def test_a_value_is_written_in_the_units_of_the_shop():
    metric = Style("en", "€", ".90", True, True, " to ")
    other = Style("en", "$", ".95", False, False, " to ")

    assert [draw(random.Random(1), spec, metric) for spec in ("kg 9-9", "$ 4-4", "time 17-17")] == [
        "9 kg", "€4.90", "17:00",
    ]  # fmt: skip
    assert [draw(random.Random(1), spec, other) for spec in ("kg 9-9", "$ 4-4", "time 17-17")] == [
        "20 lb", "$4.95", "5 pm",
    ]  # fmt: skip


def test_one_day_is_no_days():
    assert fill("Within {n} working days.", {"n": "1"}) == "Within 1 working day."
    assert fill("Within {n} days.", {"n": "11"}) == "Within 11 days."


def test_a_broken_kind_is_named_with_its_line(tmp_path):
    text = "== a | faq | A\n## B\n- Only {n} rule.\n? why\n\nno mark\n== b | rules | B\n"
    (tmp_path / "en.txt").write_text(text, encoding="utf-8")

    with pytest.raises(DocumentError) as error:
        read_templates("en", tmp_path)

    assert 'en.txt:6: "no mark" begins with none of' in str(error.value)
    assert 'en.txt:7: "== b | rules | B" is no document' in str(error.value)
    assert "en.txt:3: the kind needs three rules" in str(error.value)
    assert "en.txt:3: the kind uses {n}" in str(error.value)


def test_wrong_flags_are_told_and_nothing_is_overwritten(out, tmp_path, capsys):
    assert main(["unseen"]) == 2
    assert main(["unseen", "--out", str(tmp_path), "--shops", "0"]) == 2
    assert main(["unseen", "--out", str(out), "--shops", "9"]) == 2

    said = capsys.readouterr().err
    assert "`--out` is missing" in said
    assert "`--shops` is 0" in said
    assert "exists already; delete it" in said
    assert not (out / "en-03").exists()


def test_show_prints_a_shop_to_read(capsys):
    assert main(["unseen", "--show", "--language", "zh"]) == 0

    shown = capsys.readouterr().out
    assert all(word in shown for word in (SHOPS["zh"][0].name, "\n## ", "answerable: ", "unanswerable: "))
