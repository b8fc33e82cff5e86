"""Orders from a JSON file: the sample shop's, or a shop's own export.

The file is a list of `{"number", "shopper_id", "placed", "facts": {"en": [...], "zh": [...]}}`, where `placed` is a
date and each fact a whole sentence; other keys are ignored. `bot.orders.http` asks a shop for the same records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bot.errors import SettingsError
from bot.types import LANGUAGES, Language, Order


class SampleOrders:
    """Implements `bot.protocols.Orders`; read once, at start-up."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises SettingsError if it is missing or a record is not as above."""
        try:
            records = json.loads(path.read_text("utf-8"))
            newest_first = sorted(records, key=lambda record: (record["placed"], record["number"]), reverse=True)
            self._orders = [order_of(record) for record in newest_first]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"The orders in {path} cannot be read ({type(error).__name__}: {error}); correct `BOT_ORDERS`"
            raise SettingsError(f"{what} or the file, whose form stands in bot/orders/sample.py.") from error

    def lookup(self, number: str, shopper_id: str) -> Order | None:
        """The order if it is this shopper's; None alike for another's and for none at all."""
        return next((o for o in self._orders if o.number == number.upper() and o.shopper_id == shopper_id), None)

    def recent(self, shopper_id: str, limit: int = 3) -> list[Order]:
        """The shopper's orders, newest first."""
        return [order for order in self._orders if order.shopper_id == shopper_id][:limit]


def order_of(record: dict[str, Any]) -> Order:
    """A record as an order.

    Raises:
        KeyError, TypeError, ValueError: it lacks a key, or its facts are not lists of sentences per language.
    """
    facts: dict[Language, tuple[str, ...]] = {language: tuple(record["facts"][language]) for language in LANGUAGES}
    if not all(isinstance(fact, str) for language in LANGUAGES for fact in facts[language]):
        raise ValueError(f"the facts of order {record['number']} are not all text")
    return Order(str(record["number"]).upper(), str(record["shopper_id"]), facts)
