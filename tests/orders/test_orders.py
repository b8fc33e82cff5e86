"""One contract for every backend of Orders, and what is particular to each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.errors import SettingsError
from bot.orders.http import HttpOrders
from bot.orders.sample import SampleOrders
from bot.protocols import Orders


def record(number: str, shopper: str, placed: str) -> dict[str, Any]:
    facts = {"en": [f"Order {number} was placed on {placed}."], "zh": [f"订单{number}于{placed}提交。"]}
    return {"number": number, "shopper_id": shopper, "placed": placed, "facts": facts, "total": "9.00"}


RECORDS = [
    record("FH50000001", "shopper-1", "2026-10-01"),
    record("FH50000002", "shopper-1", "2026-11-02"),
    record("FH50000003", "shopper-2", "2026-11-03"),
    record("FH50000004", "shopper-1", "2026-10-20"),
]


def shop(request: httpx.Request) -> httpx.Response:
    """The shop's side of the API, as bot/orders/http.py describes it."""
    if request.headers.get("authorization") != "Bearer key":
        return httpx.Response(401)
    shopper = request.url.params["shopper"]
    own = [r for r in sorted(RECORDS, key=lambda r: r["placed"], reverse=True) if r["shopper_id"] == shopper]
    match request.url.path.split("/")[2:]:
        case ["orders"]:
            return httpx.Response(200, json=own[: int(request.url.params["limit"])])
        case ["orders", number]:
            found = [r for r in own if r["number"] == number]
            return httpx.Response(200, json=found[0]) if found else httpx.Response(404)
    return httpx.Response(500)


@pytest.fixture(params=["sample", "http"])
def orders(request: pytest.FixtureRequest, tmp_path: Path) -> Orders:
    if request.param == "http":
        return HttpOrders("https://shop.example/api/", key="key", transport=httpx.MockTransport(shop))
    path = tmp_path / "orders.json"
    path.write_text(json.dumps(RECORDS), "utf-8")
    return SampleOrders(path)


def test_a_shopper_finds_an_own_order_in_both_languages(orders: Orders) -> None:
    found = orders.lookup("FH50000002", "shopper-1")
    assert found is not None
    assert (found.number, found.shopper_id) == ("FH50000002", "shopper-1")
    assert found.facts["en"] == ("Order FH50000002 was placed on 2026-11-02.",)
    assert found.facts["zh"] == ("订单FH50000002于2026-11-02提交。",)


def test_an_order_number_is_found_in_small_letters(orders: Orders) -> None:
    found = orders.lookup("fh50000002", "shopper-1")
    assert found is not None and found.number == "FH50000002"


def test_anothers_order_looks_like_none_at_all(orders: Orders) -> None:
    assert orders.lookup("FH50000003", "shopper-1") is None
    assert orders.lookup("FH99999999", "shopper-1") is None


def test_recent_orders_come_newest_first_and_no_more_than_asked(orders: Orders) -> None:
    assert [o.number for o in orders.recent("shopper-1")] == ["FH50000002", "FH50000004", "FH50000001"]
    assert [o.number for o in orders.recent("shopper-1", limit=1)] == ["FH50000002"]
    assert orders.recent("shopper-9") == []


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> HttpOrders:
    return HttpOrders("https://shop.example", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("answer", [
    httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(200, json={"number": "FH50000001"}),
    httpx.Response(200, json=[1]), httpx.Response(200, json=7),
])  # fmt: skip
def test_a_shop_that_answers_nonsense_has_no_orders(answer: httpx.Response) -> None:
    orders = answering(lambda request: answer)
    assert orders.lookup("FH50000001", "shopper-1") is None
    assert orders.recent("shopper-1") == []


def test_a_shop_that_does_not_answer_has_no_orders_and_the_log_holds_no_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("too late", request=request)

    assert answering(silent).lookup("FH50000001", "shopper-1") is None
    assert "ConnectTimeout" in caplog.text
    assert "FH50000001" not in caplog.text and "shopper-1" not in caplog.text


def test_an_order_of_another_shopper_is_dropped_whatever_the_shop_says() -> None:
    orders = answering(lambda request: httpx.Response(200, json=RECORDS[2]))
    assert orders.lookup("FH50000003", "shopper-1") is None
    orders = answering(lambda request: httpx.Response(200, json=RECORDS))
    assert {o.shopper_id for o in orders.recent("shopper-1", limit=9)} == {"shopper-1"}


def test_another_order_than_asked_for_is_dropped() -> None:
    orders = answering(lambda request: httpx.Response(200, json=RECORDS[0]))
    assert orders.lookup("FH50000002", "shopper-1") is None


def test_a_number_cannot_leave_its_place_in_the_path() -> None:
    asked = []
    answering(lambda request: asked.append(request.url.raw_path) or httpx.Response(404)).lookup("../x?y", "a")
    assert asked == [b"/orders/..%2FX%3FY?shopper=a"]


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(SettingsError, match="BOT_ORDERS"):
        HttpOrders("shop.example")


@pytest.mark.parametrize("content", [None, "", "7", '[{"number": "FH1"}]', "[1]"])
def test_a_file_that_is_not_orders_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "orders.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match="orders.json"):
        SampleOrders(path)


def test_the_sample_shop_has_forty_orders_in_whole_sentences_of_every_state() -> None:
    path = Path(__file__).parents[2] / "knowledge" / "orders.json"
    records = json.loads(path.read_text("utf-8"))
    products = {p["sku"] for p in json.loads(path.with_name("products.json").read_text("utf-8"))}
    assert len({r["number"] for r in records}) == 40
    assert len({r["state"] for r in records}) == 14
    assert {item["sku"] for r in records for item in r["items"]} <= products
    sample = SampleOrders(path)
    for r in records:
        order = sample.lookup(r["number"], r["shopper_id"])
        assert order is not None
        assert len(order.facts["en"]) == len(order.facts["zh"]) >= 4
        assert all(fact[0].isupper() and fact.endswith(".") for fact in order.facts["en"])
        assert all(fact.endswith("。") for fact in order.facts["zh"])
