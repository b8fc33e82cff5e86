"""The whole story in headless Chromium, on the real server with the built-in models.

Ask in English, ask in Chinese, open a citation, get angry, be claimed at the desk, talk to the human agent,
be handed back, and be answered by the bot again.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import expect, sync_playwright

from bot.settings import ROOT

CHROMIUM = os.environ.get("SHOPTALK_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="needs Debian's package chromium")

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`bot serve` as people start it: (address, the desk's sign-in address)."""
    folder = tmp_path_factory.mktemp("data")
    environment = {**os.environ, "BOT_DATA": str(folder), "BOT_PORT": "0", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "serve"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    address = desk = ""
    for line in process.stdout:
        if match := re.search(r"Shop page +(http\S+)", line):
            address = match[1]
        if match := re.search(r"desk +(http\S+)", line):
            desk = match[1]
        if "API documentation" in line:
            break
    assert address and desk, "the server did not say where to look"
    yield address, desk
    process.terminate()
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser):
    """Makes pages that may talk to this machine only, and fail on a script error."""
    contexts, wrong = [], []

    def make(**values):
        context = browser.new_context(**values)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda r: wrong.append(r.url) if not re.match(r"(https?|wss?)://127\.|data:|blob:", r.url) else None,
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert not wrong


def say(page, text):
    page.get_by_test_id("input").fill(text)
    page.get_by_test_id("send").click()


def test_the_whole_story(server, new_page):
    address, desk_address = server
    shopper, desk = new_page(locale="en-US"), new_page(locale="en-US")

    shopper.goto(address)
    shopper.get_by_test_id("launcher").click()
    log = shopper.get_by_test_id("log")

    say(shopper, "How much does express delivery cost?")
    expect(log).to_contain_text("$14.95")
    say(shopper, "多少钱可以包邮？")
    expect(log).to_contain_text("99元")

    shopper.get_by_test_id("citation").first.click()
    expect(shopper.get_by_test_id("source")).to_be_visible()
    expect(shopper.get_by_test_id("source")).to_contain_text("$14.95")
    shopper.keyboard.press("Escape")
    expect(shopper.get_by_test_id("source")).to_be_hidden()

    say(
        shopper,
        "THIS IS OUTRAGEOUS! You thieves lied to me, I am furious, worst company ever, I want my money back NOW!!!",
    )
    expect(shopper.get_by_test_id("queue")).to_contain_text("1")

    desk.goto(desk_address)
    desk.get_by_test_id("name").fill("Robin")
    desk.get_by_test_id("signin").click()
    assert "code=" not in desk.url
    expect(desk.get_by_test_id("queue-item")).to_have_count(1)
    desk.get_by_test_id("claim").click()
    expect(desk.get_by_test_id("conversation")).to_contain_text("express delivery")

    expect(log).to_contain_text("Robin")
    desk.get_by_test_id("reply").fill("I am sorry. I have sent the refund.")
    desk.get_by_test_id("send").click()
    expect(log).to_contain_text("I am sorry. I have sent the refund.")
    say(shopper, "Thank you Robin")
    expect(desk.get_by_test_id("conversation")).to_contain_text("Thank you Robin")

    desk.get_by_test_id("release").click()
    if desk.get_by_test_id("confirm").is_visible():
        desk.get_by_test_id("confirm").click()
    expect(log).to_contain_text("assistant again")
    say(shopper, "How many days do I have to return something?")
    expect(log).to_contain_text("30 days")

    shopper.reload()
    if shopper.get_by_test_id("launcher").get_attribute("aria-expanded") != "true":
        shopper.get_by_test_id("launcher").click()
    expect(shopper.get_by_test_id("log")).to_contain_text("I have sent the refund.")
    expect(shopper.get_by_test_id("log")).to_contain_text("30 days")


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
