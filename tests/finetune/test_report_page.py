"""The page about an evaluation."""

import re
from html.parser import HTMLParser

from bot.types import Citation
from finetune import report_page
from tests.finetune.results import measured, result

HOSTILE = "<img src=x onerror=alert(1)>\"'&</article><script>alert(2)</script>"


class Tags(HTMLParser):
    """Every tag and its attributes, and the text between."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_hostile_text_stays_text_wherever_it_comes_from():
    hostile = result(
        id=HOSTILE, text=HOSTILE, reference=HOSTILE, shown=HOSTILE, unsupported=(HOSTILE,), history=(HOSTILE,),
        citations=(Citation(1, HOSTILE, HOSTILE, HOSTILE, f"quote {HOSTILE}", HOSTILE),), shop=HOSTILE, kind=HOSTILE,
    )  # fmt: skip
    read = Tags(report_page.page(HOSTILE, [measured(hostile, name=HOSTILE), measured(hostile)]))
    assert not {"img", "script"} & {tag for tag, _ in read.tags}
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert sum(HOSTILE in text for text in read.texts) >= 9


def test_the_page_asks_for_nothing_outside_itself():
    text = report_page.page("Split test", [measured(result())])
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|\bsrc=|<link|@import|url\(", text)


def test_wrong_turns_come_first_and_no_more_than_some_are_shown():
    turns = [*(result(id=f"right-{n}") for n in range(25)), result(id="wrong-1", facts_right=False)]
    chosen = report_page.pick(turns)
    assert [r.id for r in chosen[:2]] == ["wrong-1", "right-0"]
    text = report_page.page("Split test", [measured(*turns)])
    assert text.count("<article") == 20
    assert "26 turns, 1 wrong, 20 shown" in text


def test_bars_say_how_turns_ended():
    turns = [result(), result(outcome="quoted"), result(kind="unanswerable", outcome="abstained")]
    bars = [a["aria-label"] for tag, a in Tags(report_page.page("x", [measured(*turns)])).tags if tag == "svg"]
    assert bars == [
        "answerable: answered 1, quoted 1, abstained 0, handed off 0",
        "unanswerable: answered 0, quoted 0, abstained 1, handed off 0",
    ]


def test_a_quotation_that_was_shown_is_not_shown_again():
    cited = (Citation(1, "d", "p", "Shipping: Costs", "It takes 3 days."), Citation(2, "d", "q", "Late", "Up to 9."))
    text = report_page.page("x", [measured(result(citations=cited))])
    assert "[1] Shipping: Costs\n[2] Late\nUp to 9.</dd>" in text


def test_contenders_stand_side_by_side():
    text = report_page.page("x", [measured(result(), name="new"), measured(result(facts_right=False), name="old")])
    assert "<th>new</th><th>old</th>" in text
    assert "<th>key facts right (answerable)</th><td>1.000</td><td>0.000</td>" in text
