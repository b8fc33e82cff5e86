"""Which orders a message asks about, and their facts as a passage.

Pure but for the Orders that it is handed: who may see an order is decided by them alone.
"""

from __future__ import annotations

import re

from bot.protocols import Orders
from bot.types import Language, Order, Passage

_MY_ORDER = re.compile(
    r"\b(?:where(?:'?s| is| are)?|track|status of|when (?:will|does|is))\b[^.?!]{0,30}\bmy\b[^.?!]{0,20}"
    r"\b(?:orders?|parcels?|packages?|stuff|delivery|things?)\b|\b(?:has|did|is) my (?:order|parcel|package)\b|\bmy (?:last|latest|recent) order\b"
    r"|\border status\b|(?:我的?|查一?下?)(?:订单|快递|包裹|货|东西)[^。？?]{0,8}(?:哪|到|发|状态|物流|多久|呢|啥)|查(?:一?下)?(?:我的)?(?:订单|物流|快递)",
    re.IGNORECASE,
)


def find_orders(
    orders: Orders, pattern: re.Pattern[str], shopper_id: str | None, text: str
) -> tuple[list[Order], bool]:
    """The orders that a message is about, and whether it names one that is none of this shopper's.

    An anonymous shopper has no orders, so a number gets the same words as one that does not exist.
    """
    if numbers := {match.group().upper() for match in pattern.finditer(text)}:
        found = [orders.lookup(number, shopper_id) for number in sorted(numbers)] if shopper_id else []
        own = [order for order in found if order is not None]
        return own, not own
    if shopper_id and _MY_ORDER.search(text):
        return orders.recent(shopper_id, 1), False
    return [], False


def order_passage(order: Order, language: Language) -> Passage:
    """An order's facts, as the model reads and cites them."""
    title = {"en": "Order", "zh": "订单"}[language]
    return Passage(
        id=f"order:{order.number}", doc_id=f"order:{order.number}", title=title, heading=order.number,
        text="\n".join(f"- {fact}" for fact in order.facts[language]), language=language,
    )  # fmt: skip
