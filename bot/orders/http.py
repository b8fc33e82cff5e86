"""Orders from the shop's own API.

The shop answers two requests with JSON, `Authorization: Bearer <key>` on both:

    GET <url>/orders/<number>?shopper=<id>    -> 200 and one record, or 404 if this shopper has no such order
    GET <url>/orders?shopper=<id>&limit=3     -> 200 and a list of records, newest first

A record is `{"number", "shopper_id", "facts": {"en": [...], "zh": [...]}}`; each fact is a whole sentence.
An order whose `shopper_id` is not the one asked for is dropped, whatever the shop says.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import httpx

from bot.errors import SettingsError
from bot.orders.sample import order_of
from bot.types import Order

log = logging.getLogger(__name__)


class HttpOrders:
    """Implements `bot.protocols.Orders`; may be called from any thread."""

    def __init__(
        self, url: str, *, key: str | None = None, timeout_s: float = 3.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Prepare the connection; nothing is asked yet.

        Args:
            url: Everything before `/orders`.
            key: Bearer token; None sends none.
            timeout_s: For each of connecting, sending and reading.
            transport: Where requests go instead of the network, as in tests.

        Raises:
            SettingsError: the address is not one of http or https.
        """
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"`BOT_ORDERS` is {url!r}; write an address with http:// or https://, or a file.")
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout_s,
            transport=transport,
        )

    def lookup(self, number: str, shopper_id: str) -> Order | None:
        """The order if it is this shopper's; None alike for another's, for none at all, and if the shop is silent."""
        record = self._get(f"/orders/{quote(number.upper(), safe='')}", {"shopper": shopper_id})
        found = self._read([record] if record is not None else [], shopper_id)
        return found[0] if found and found[0].number == number.upper() else None

    def recent(self, shopper_id: str, limit: int = 3) -> list[Order]:
        """The shopper's orders, newest first; none if the shop is silent."""
        records = self._get("/orders", {"shopper": shopper_id, "limit": str(limit)})
        return self._read(records if isinstance(records, list) else [], shopper_id)[:limit]

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _get(self, path: str, params: dict[str, str]) -> Any:
        """The JSON of a 200; None for a 404, and for a failure, which is logged without the path."""
        try:
            response = self._client.get(path, params=params)
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            return response.raise_for_status().json()
        except httpx.HTTPStatusError as error:
            log.warning("The shop's orders answered with status %s.", error.response.status_code)
        except (httpx.HTTPError, ValueError) as error:
            log.warning("The shop's orders cannot be read (%s).", type(error).__name__)
        return None

    @staticmethod
    def _read(records: list[Any], shopper_id: str) -> list[Order]:
        """Records as orders of this shopper; what is not a record is left out and logged."""
        orders = []
        for record in records:
            try:
                order = order_of(record)
            except (KeyError, TypeError, ValueError):
                log.warning("The shop sent an order that is not of the form in bot/orders/http.py.")
                continue
            if order.shopper_id == shopper_id:
                orders.append(order)
        return orders
