"""Who left before the answer came may ask again."""

from playwright.sync_api import expect

from tests.web.completions import Completions
from tests.web.conftest import serving
from tests.web.story import say


def opened(page, address):
    page.goto(address)
    if page.get_by_test_id("launcher").get_attribute("aria-expanded") != "true":
        page.get_by_test_id("launcher").click()
    return page.get_by_test_id("log")


def test_a_question_whose_answer_was_never_begun_may_be_asked_again(endpoint, tmp_path, new_page):
    with serving(
        BOT_DATA=str(tmp_path),
        BOT_ENGINE="http",
        BOT_MODEL="rules",
        BOT_ENGINE_URL=endpoint,
        BOT_ENGINE_KEY="a",
        BOT_GRACE_S="0",
    ) as (_, address, _):
        page = new_page(locale="en-US")
        opened(page, address)
        say(page, "How much does express delivery cost?")
        expect(page.get_by_test_id("draft")).to_contain_text("$14.95")
        say(page, "How long does standard delivery take?")
        expect(page.locator(".state")).to_have_count(0)
        context = page.context
        page.close()

        Completions.go.set()
        page = context.new_page()
        log = opened(page, address)
        again = page.get_by_test_id("ask-again")
        expect(again).to_have_count(1)
        expect(again).to_contain_text("How long does standard delivery take?")
        again.click()
        expect(log).to_contain_text("3 to 5 business days")
        expect(again).to_have_count(0)
        page.reload()
        expect(opened(page, address)).to_contain_text("3 to 5 business days")
        expect(again).to_have_count(0)
