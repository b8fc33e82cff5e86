import random

import pytest

from bot import prompt
from bot.errors import DocumentError
from bot.settings import ROOT
from bot.types import LANGUAGES
from finetune.shops import FOLDER, fill, load_kinds, shop_item
from finetune.tasks import Scribe
from tests.finetune.small import make_base

KINDS = load_kinds()


@pytest.fixture(scope="module")
def scribe(tmp_path_factory):
    tokenizer, _ = make_base(tmp_path_factory.mktemp("base"))
    return Scribe(tokenizer, prompt.load_templates(ROOT / "prompts"), tokenizer.eos_token)


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_sixty_kinds_and_every_slot_can_be_filled(language):
    assert len(KINDS.kinds[language]) >= 60
    for number, kind in enumerate(KINDS.kinds[language]):
        for value in kind.values:
            rule = fill(random.Random(number), kind, number, value, language)
            assert "{" not in rule.text + "".join(rule.questions)
            assert rule.text[-1] in ".。"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_is_a_rule_of_the_cited_passage_or_the_abstention(scribe, language):
    abstain = scribe.abstain(language)
    seen = set()
    for seed in range(60):
        item = shop_item(random.Random(seed), scribe, KINDS, language, 8)
        for ids, begin in item.branches:
            answer = scribe.tokenizer.decode(ids[begin:]).removesuffix("<|im_end|>")
            context = scribe.tokenizer.decode([*item.prefix, *ids[:begin]])
            seen.add(answer == abstain)
            for part in [] if answer == abstain else answer.replace("] ", "]").split("]")[:-1]:
                sentence, n = part.rsplit("[", 1)
                passage = context.split(f"[{n}] ", 2 if language == "en" else 1)[-1]
                assert sentence.strip() in context and sentence.strip() in passage
    assert seen == {True, False}


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_kinds_are_never_asked_about_in_training(language):
    assert not KINDS.asked[language] & load_kinds(held_out=True).asked[language]


def test_the_same_seed_gives_the_same_item(scribe):
    assert shop_item(random.Random(5), scribe, KINDS, "en", 6) == shop_item(random.Random(5), scribe, KINDS, "en", 6)


def test_a_line_without_a_mark_is_named(tmp_path):
    for language in LANGUAGES:
        (tmp_path / f"{language}.txt").write_text("- A rule.\nno mark\n? why\n", encoding="utf-8")

    with pytest.raises(DocumentError, match='"no mark" begins with none of'):
        load_kinds(tmp_path)


def test_the_files_name_their_format():
    assert all((FOLDER / f"{language}.txt").read_text(encoding="utf-8").startswith("#") for language in LANGUAGES)
