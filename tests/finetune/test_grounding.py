import json

import pytest

from bot.errors import DocumentError
from bot.prompt import load_templates
from bot.retrieval.documents import load_documents
from bot.settings import ROOT
from finetune.data import Library
from finetune.formats import Pair
from finetune.grounding import abstains, ground, read_splits
from tests.finetune.small import make_shop, write_rows

TEMPLATES = load_templates(ROOT / "prompts")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    rows = make_shop(folder)
    return folder, rows, Library(load_documents(folder / "knowledge"))


def asked(answer, text="how long does pickup take"):
    return Pair("en", (), text, answer, system=False)


def test_the_passage_that_holds_the_numbers_is_found(place):
    _, _, library = place

    found = ground(asked("Standard delivery takes 5 days."), library)

    assert found.passages == ("en/policy/pickup#Times",)
    assert found.answer == "Standard delivery takes 5 days. [1]"


def test_sentences_cite_their_own_passages_and_old_marks_go(place):
    _, _, library = place

    found = ground(asked("Hello there! Standard delivery takes 5 days [7]. Delivery costs $5.95. [3]"), library)

    assert found.passages == ("en/policy/pickup#Times", "en/policy/pickup#Costs")
    assert found.answer == "Standard delivery takes 5 days. [1] Delivery costs $5.95. [2]"
    assert found.left_out == 1


@pytest.mark.parametrize("answer", ["Standard delivery takes 44 days.", "Thanks for asking!",
                                    "Standard delivery takes 5 days. Gold costs $99."])  # fmt: skip
def test_an_answer_that_no_passage_holds_wholly_is_not_placed(place, answer):
    assert ground(asked(answer), place[2]) is None


def test_a_passage_that_is_not_cited_to_shoppers_is_found_too(tmp_path):
    path = tmp_path / "knowledge/en/policy/inside.md"
    path.parent.mkdir(parents=True)
    path.write_text("---\ntitle: Inside\nlanguage: en\ncite: false\n---\n## Hours\n- The desk opens at 9:30.\n")

    found = ground(asked("The desk opens at 9:30."), Library(load_documents(tmp_path / "knowledge")))

    assert found.passages == ("en/policy/inside#Hours",)


@pytest.mark.parametrize(
    ("answer", "says_no"),
    [("Sorry, I don't know.", True), ("I could not find that.", True), ("抱歉，没有找到相关内容。", True),
     ("You can't return food.", False), ("Delivery takes 3 days.", False), ("I don't know, maybe 3 days.", False)],
)  # fmt: skip
def test_answers_that_say_no_are_told_from_others(answer, says_no):
    assert abstains(answer) == says_no


def read(place, data):
    return read_splits(data, place[2], TEMPLATES)


def test_pairs_become_rows_and_the_rest_is_counted(place, tmp_path):
    (tmp_path / "pairs.csv").write_text(
        "question,answer\nhow long,Standard delivery takes 5 days.\ncars?,Sorry I don't know.\n"
        "gold?,Gold costs $99.\nfee?,Delivery costs $7.95.\n",
        encoding="utf-8",
    )

    splits = read(place, tmp_path / "pairs.csv")
    train, valid = splits["train"], splits["valid"]

    rows = {row.where.split(":")[1]: row for row in (*train.rows, *valid.rows)}
    assert (train.placed, train.abstaining) == (2, 1)
    assert train.not_found == ["pairs.csv:4: no passage holds the answer 'Gold costs $99.'."]
    assert (rows["3"].passages, rows["3"].kind) == ((), "unanswerable")
    assert rows["3"].answer == TEMPLATES["en"].say("abstain")
    assert rows["5"].passages == ("en/policy/returns#Costs",)
    assert len(valid.rows) >= 1 and not {r.answer for r in train.rows} & {r.answer for r in valid.rows}


def test_a_row_whose_passage_is_gone_is_skipped_and_listed(place, tmp_path):
    _, rows, _ = place
    write_rows(tmp_path / "train.jsonl", [rows[0], rows[1] | {"passages": ["en/policy/shiping#Times"]}])

    splits = read(place, tmp_path)

    assert len(splits["train"].rows) == 1
    assert splits["train"].gone == [
        "train.jsonl:2: no passage has the id 'en/policy/shiping#Times'; the nearest is 'en/policy/shipping#Times'."
    ]


def test_all_that_is_broken_is_named_at_once_in_the_order_of_lines(place, tmp_path):
    _, rows, _ = place
    gone = rows[1] | {"passages": ["en/policy/none#X"]}
    twice = {"conversations": [{"from": "function_call", "value": "x"}]}
    (tmp_path / "train.jsonl").write_text("\n".join([json.dumps(twice), "{", json.dumps(gone)]), encoding="utf-8")
    write_rows(tmp_path / "valid.jsonl", [rows[0], rows[0]])

    with pytest.raises(DocumentError) as caught:
        read(place, tmp_path)

    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "2", "3"]
    assert "`from` is 'function_call'" in lines[0] and "not JSON" in lines[1]
    assert lines[2].startswith(f"{tmp_path / 'valid.jsonl'}:2: the id shipping-0 stands above already")
    assert "no passage has the id" in lines[3] and "skipped" in lines[3]


def test_a_folder_without_rows_names_what_is_there(place, tmp_path):
    (tmp_path / "faq.csv").write_text("question,answer\n")

    with pytest.raises(DocumentError) as caught:
        read(place, tmp_path)

    assert f"--data {tmp_path / 'faq.csv'}" in str(caught.value)


def test_rows_of_which_none_can_be_learnt_stop_the_run(place, tmp_path):
    (tmp_path / "train.csv").write_text("question,answer\ngold?,Gold costs $99.\n")

    with pytest.raises(DocumentError, match="no row to learn from; 1 were skipped"):
        read(place, tmp_path)
