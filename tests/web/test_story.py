"""The whole story in headless Chromium, on the real server with the built-in models."""

import re

import pytest
from playwright.sync_api import expect

from tests.web import story
from tests.web.conftest import serving
from tests.web.story import say


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, the desk's sign-in address)."""
    with serving(BOT_DATA=str(tmp_path_factory.mktemp("data"))) as (process, address, desk):
        yield address, desk
    assert process.returncode == 0


def test_the_whole_story(server, new_page):
    story.tell(new_page, *server)


def test_a_signed_in_shopper_reads_their_order_and_markup_stays_text(server, new_page):
    shopper = new_page(locale="en-US")
    shopper.goto(server[0])
    options = shopper.get_by_test_id("shopper").locator("option")
    expect(options).not_to_have_count(1)
    shopper.get_by_test_id("shopper").select_option(index=1)
    if shopper.get_by_test_id("launcher").get_attribute("aria-expanded") != "true":
        shopper.get_by_test_id("launcher").click()
    say(shopper, "Where is my order?")
    expect(shopper.get_by_test_id("log")).to_contain_text(re.compile(r"FH\d{8}"))
    say(shopper, "<img src=x onerror=\"document.title='hacked'\"><b>bold</b>")
    expect(shopper.get_by_test_id("log")).to_contain_text("<b>bold</b>")
    assert shopper.title() != "hacked"
