import random

import pytest

from bot import prompt
from bot.errors import DocumentError
from bot.retrieval.documents import load_documents
from bot.settings import ROOT
from bot.types import Message
from finetune.config import Config
from finetune.data import Library, examples, read_rows, renumber, shaken, shown
from finetune.tasks import Question, Scribe, nearest
from tests.finetune.small import make_base, make_shop, write_rows


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    rows = make_shop(folder)
    tokenizer, _ = make_base(folder / "base")
    library = Library(load_documents(folder / "knowledge"))
    scribe = Scribe(tokenizer, prompt.load_templates(ROOT / "prompts"), tokenizer.eos_token)
    return folder, rows, library, scribe


def test_citations_follow_their_passages_to_the_shown_order():
    assert renumber("A. [1] B. [2] C. [1]", [3, 1]) == "A. [3] B. [1] C. [3]"


def test_the_own_passage_is_always_shown_and_found_again(shop):
    folder, _, library, _ = shop
    rows = read_rows(folder / "data/train.jsonl", library.by_id)
    places = []
    for seed in range(40):
        passages, numbers = shown(random.Random(seed), rows[:1], library, Config())
        assert passages[numbers[0] - 1].id == "en/policy/shipping#Times"
        assert len({p.id for p in passages}) == len(passages) <= 3
        places += numbers
    assert places.count(1) > 20 and set(places) > {1}


def test_rows_without_passages_are_shown_others_or_none(shop):
    folder, _, library, _ = shop
    row = read_rows(folder / "data/train.jsonl", library.by_id)[-1]

    counts = {len(shown(random.Random(seed), [row], library, Config())[0]) for seed in range(30)}

    assert 0 in counts and max(counts) == 3


def test_every_prompt_is_the_one_that_is_served(shop):
    folder, _, library, scribe = shop
    rows = read_rows(folder / "data/train.jsonl", library.by_id)
    made = examples(rows, library, scribe, Config(), "0", fold=True)
    whole = {(*item.prefix, *ids[:begin]) for item in made.items for ids, begin in item.branches}
    for item in made.items:
        for ids, begin in item.branches:
            text = scribe.tokenizer.decode([*item.prefix, *ids[:begin]])
            assert text.endswith("<|im_start|>assistant\n") and text.startswith("<|im_start|>system\n")
            assert scribe.tokenizer.decode(ids[begin:]).endswith("<|im_end|>")
    passages, _ = shown(random.Random("0"), rows[:1], library, Config(gold_first=1.0))
    served = prompt.build(
        scribe.templates["en"],
        shop="Fernhill",
        history=[],
        text=rows[0].text,
        passages=passages[:1],
        nearest=nearest(random.Random(f"1 {rows[0].text}"), Question(rows[0].text, rows[0].answer), passages[:1]),
    )
    only = examples(rows[:1], library, scribe, Config(passages=1, gold_first=1.0), "1", fold=False).items[0]
    assert prompt.render(scribe.tokenizer, served) == [*only.prefix, *only.branches[0][0][: only.branches[0][1]]]
    assert len(whole) == len(rows)


def test_folding_changes_no_example(shop):
    folder, _, library, scribe = shop
    rows = read_rows(folder / "data/train.jsonl", library.by_id)
    folded = examples(rows, library, scribe, Config(), "0", fold=True)

    assert folded.rows == len(rows)
    assert len(folded.items) < len(rows) / 2
    assert all(begin >= 1 for item in folded.items for _, begin in item.branches)


def test_long_rows_are_skipped_and_counted(shop):
    folder, _, library, scribe = shop
    rows = read_rows(folder / "data/train.jsonl", library.by_id)

    made = examples(rows, library, scribe, Config(longest=20), "0", fold=False)

    assert (made.items, made.rows, len(made.too_long)) == ([], 0, len(rows))


def test_a_base_that_need_not_abstain_learns_answers_only(shop):
    folder, _, library, scribe = shop
    rows = read_rows(folder / "data/train.jsonl", library.by_id)
    answered = [row for row in rows if row.passages]

    assert 0 < len(answered) < len(rows)
    assert examples(rows, library, scribe, Config(abstain=False), "0", fold=False).rows == len(answered)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"language": "fr"}, "`language` is 'fr'"),
        ({"answer": "Three days. [2]"}, "cites [2], but the row has 1 passages"),
        ({"passages": ["en/policy/none#X"]}, "no passage has the id 'en/policy/none#X'"),
        ({"text": " "}, "`text` must be a text"),
        ({"id": "shipping-0"}, "stands above already"),
    ],
)
def test_a_broken_row_is_named_with_file_line_and_reason(shop, tmp_path, change, reason):
    _, rows, library, _ = shop
    write_rows(tmp_path / "train.jsonl", [rows[0], {**rows[1], **change}])

    with pytest.raises(DocumentError) as caught:
        read_rows(tmp_path / "train.jsonl", library.by_id)

    assert f"{tmp_path / 'train.jsonl'}:2: " in str(caught.value) and reason in str(caught.value)


def test_all_broken_rows_are_named_at_once(shop, tmp_path):
    _, rows, library, _ = shop
    (tmp_path / "train.jsonl").write_text('{"id": 1}\nnot json\n', encoding="utf-8")

    with pytest.raises(DocumentError) as caught:
        read_rows(tmp_path / "train.jsonl", library.by_id)

    assert "train.jsonl:1: the row lacks `language`" in str(caught.value)
    assert "train.jsonl:2: " in str(caught.value)


def test_history_is_rendered(shop):
    folder, _, library, scribe = shop
    row = read_rows(folder / "data/train.jsonl", library.by_id)[0]
    asked = type(row)(row.id, "en", "follow_up", (Message("user", "and then?"), Message("assistant", "No. [1]")),
                      row.text, row.passages, row.answer)  # fmt: skip

    item = examples([asked], library, scribe, Config(), "0", fold=False).items[0]

    assert "and then?<|im_end|>" in scribe.tokenizer.decode(item.prefix)
    assert "No.<|im_end|>" in scribe.tokenizer.decode(item.prefix)


def test_shaken_numbers_are_alike_everywhere_and_citations_stay(shop):
    _, _, library, _ = shop
    passage = library.by_id["en/policy/shipping#Times"]
    asked = Question("is it 3 days?", "Standard delivery takes 3 days. [1] Express delivery takes 1 days. [1]")

    (new,), (question,) = shaken(random.Random(1), [passage], [asked])

    assert new.text != passage.text
    for sentence in question.answer.replace("[1]", "").split(". "):
        assert sentence.strip(" .") in new.text
    assert question.answer.count("[1]") == 2
