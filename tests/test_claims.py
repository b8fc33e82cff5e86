"""What a text claims, in both languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.claims import Claim, claims, holds, read


def said(text):
    return {(claim.value, claim.unit) for claim in claims(text)}


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("$5.95", "5.95", "USD"), ("$1,299.00", "1299", "USD"), ("US$49", "49", "USD"), ("5 dollars", "5", "USD"),
        ("$.50", "0.5", "USD"), ("¥99", "99", "CNY"), ("99元", "99", "CNY"), ("99.00元", "99", "CNY"),
        ("９９元", "99", "CNY"), ("两百元", "200", "CNY"), ("一百二十元", "120", "CNY"), ("一千元", "1000", "CNY"),
        ("2千元", "2000", "CNY"), ("3万元", "30000", "CNY"), ("5 thousand dollars", "5000", "USD"),
        ("a hundred dollars", "100", "USD"), ("two hundred dollars", "200", "USD"),
        ("10%", "10", "%"), ("10％", "10", "%"), ("ten percent", "10", "%"), ("10 per cent", "10", "%"),
        ("百分之十五", "15", "%"), ("百分之5", "5", "%"),
        ("七天无理由", "7", "day"), ("二十天", "20", "day"), ("30 days", "30", "day"), ("a 30-day window", "30", "day"),
        ("forty-five days", "45", "day"), ("3个工作日", "3", "workday"), ("3 working days", "3", "workday"),
        ("24-month", "24", "month"), ("6个月", "6", "month"), ("11月", "11", "month-of-year"), ("两年", "2", "year"),
        ("一年半", "1.5", "year"), ("2小时半", "2.5", "hour"), ("48h", "48", "hour"), ("48 hrs", "48", "hour"),
        ("within a week", "1", "week"), ("one week", "1", "week"),
        ("2pm", "14:00", "time"), ("2:30 p.m.", "14:30", "time"), ("12 am", "00:00", "time"), ("noon", "12:00", "time"),
        ("14:00", "14:00", "time"), ("14：00", "14:00", "time"), ("下午2点", "14:00", "time"),
        ("晚上10点", "22:00", "time"), ("上午九点半", "09:30", "time"), ("中午1点", "13:00", "time"),
        ("到22:00", "22:00", "time"), ("晚上12点", "00:00", "time"),
        ("November 18", "-11-18", "date"), ("Nov. 18th, 2026", "2026-11-18", "date"),
        ("18 November 2026", "2026-11-18", "date"), ("Sept 3", "-09-03", "date"), ("2026-11-18", "2026-11-18", "date"),
        ("2026年11月18日", "2026-11-18", "date"), ("11月18日", "-11-18", "date"),
        ("Sundays", "7", "weekday"), ("Mon", "1", "weekday"), ("周日", "7", "weekday"), ("星期天", "7", "weekday"),
        ("FH50213877", "FH50213877", "code"), ("1Z999AA10123456784", "1Z999AA10123456784", "code"),
        ("error E3", "E3", "code"), ("SF-1234", "SF1234", "code"),
        ("八折", "8", "折"), ("九五折", "95", "折"), ("220V", "220", "V"), ("1,500 W", "1500", "W"), ("1.5L", "1.5", "l"),
        ("twice", "2", ""), ("双倍积分", "2", ""), ("half price", "0.5", ""), ("半价", "0.5", ""), ("a dozen", "12", ""),
        ("三张优惠券", "3", "count"), ("2个", "2", "count"), ("five photos", "5", ""), ("2nd", "2", ""),
        ("same-day", "0", "days later"), ("当天", "0", "days later"), ("the next business day", "1", "days later"),
        ("次日", "1", "days later"), ("delivery is free", "free", "price"), ("包邮", "free", "price"),
        ("9000 unheard-of things", "9000", ""), ("7qqq", "7", "qqq"),
    ],
)  # fmt: skip
def test_a_claim_is_read(text, value, unit):
    assert (value, unit) in said(text)


@pytest.mark.parametrize(
    ("texts", "claim"),
    [
        (("3 to 5 business days", "3–5 business days", "3-5 working days", "three to five business days",
          "3到5个工作日", "三至五个工作日", "3～5个工作日"), {("3", "workday"), ("5", "workday")}),
        (("9 am to 10 pm", "9:00–22:00", "早上9点到晚上10点", "9:00到22:00", "上午9点至晚上十点"),
         {("09:00", "time"), ("22:00", "time")}),
        (("$1,299.00", "$1299", "US$1299.0", "1,299 dollars"), {("1299", "USD")}),
        (("Monday to Saturday", "Mon–Sat", "周一至周六", "星期一到星期六"), {("1", "weekday"), ("6", "weekday")}),
    ],
)  # fmt: skip
def test_all_ways_to_write_it_claim_the_same(texts, claim):
    for text in texts:
        assert said(text) == claim, text


@pytest.mark.parametrize(
    "text",
    [
        "", "Yes, gladly.", "Use it like [1].", "One of our colleagues will help.", "You may open it.",
        "feel free to ask", "一个包裹里", "晚一点送", "一般会先联系", "十分满意", "点击按钮", "万一坏了", "每周一次", "第一次",
        "a second look", "in the second drawer", "He sat in the sun.", "1. Open the page",
    ],
)  # fmt: skip
def test_idioms_claim_nothing(text):
    assert said(text) - {("1", "week")} == set()


def test_no_digit_escapes():
    for text in ("0", "7x", "x7y", "№7", "7️⃣", "#7", "7/7", "7e7", "v7.1", "七7", "7⁄8", "（7）", "٧"):
        assert said(text), text


def test_a_claim_is_counted_as_often_as_it_is_made():
    assert [claim.value for claim in read("5 to 5 days")] == ["5", "5"]


@pytest.mark.parametrize(
    ("there", "claim", "held"),
    [
        ("within 30 days", Claim("30", "day"), True), ("within 30 days", Claim("30"), True),
        ("within 30 days", Claim("30", "workday"), False), ("$30", Claim("30", "day"), False),
        ("on 2026-11-18", Claim("-11-18", "date"), True), ("on 11月18日", Claim("2026-11-18", "date"), False),
        ("on December 18", Claim("-11-18", "date"), False), ("2 pm", Claim("02:00", "time"), False),
    ],
)  # fmt: skip
def test_a_claim_is_held_if_value_and_unit_agree(there, claim, held):
    assert holds(claims(there), claim) == held


PIECES = [
    *"0 7 ٣ ９ ½ . , : - – $ ¥ % 月 日 年 点 半 折 千 万 百分之 三 五 两 〇 元 天 个工作日 下午 晚上 周 星期".split(), " ",
    *"ſept sept May 18th 2026 a am p.m. noon one two hundred thousand and to buſiness day weeK E3 FH US$ twice".split(),
]  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_whatever_is_written_is_read_without_an_error_and_the_same_again(text):
    assert read(text) == read.__wrapped__(text)
    if any(c in "0123456789" for c in text) and "[" not in text:
        assert read(f"so {text}")
