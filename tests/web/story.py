"""The whole story in a browser: a shopper's page and the desk's."""

from playwright.sync_api import expect


def say(page, text):
    page.get_by_test_id("input").fill(text)
    page.get_by_test_id("send").click()


def tell(new_page, address, desk_address, *, meanwhile=lambda shopper: None):
    """Ask in both languages, open a citation, get angry, be served by a human agent, be handed back and answered again.

    Args:
        meanwhile: what happens after the first question was sent.
    """
    shopper, desk = new_page(locale="en-US"), new_page(locale="en-US")

    shopper.goto(address)
    shopper.get_by_test_id("launcher").click()
    log = shopper.get_by_test_id("log")

    say(shopper, "How much does express delivery cost?")
    meanwhile(shopper)
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
