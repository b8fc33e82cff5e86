"""The sample shop around the widget: its page, products, shoppers and help pages; for addresses of this machine only.

No part of a bot in service: `bot serve` leaves it out when others can reach the address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

from bot import tokens
from bot.types import Passage

WEB = Path(__file__).parent / "web"


class SampleShop:
    """What the sample shop's pages show.

    Args:
        passages: of the documents whose `url` leads to this server.
    """

    def __init__(self, products: Path, orders: Path, passages: Sequence[Passage]) -> None:
        self._products, self._orders = products, orders
        linked = sorted((p for p in passages if p.url), key=lambda p: (p.url or "", p.doc_id))
        self._pages = {
            url: list(group) for url, group in groupby(linked, key=lambda p: p.url) if url and url.startswith("/")
        }

    def mount(self, app: FastAPI, signer: tokens.Tokens) -> None:
        """Add the routes."""

        @app.get("/", include_in_schema=False)
        async def page() -> FileResponse:
            return FileResponse(WEB / "demo.html")

        @app.get("/demo/products", include_in_schema=False)
        async def products() -> FileResponse:
            return FileResponse(self._products, media_type="application/json")

        @app.get("/demo/shoppers", include_in_schema=False)
        async def shoppers() -> list[dict[str, Any]]:
            return [{"id": shopper, "orders": numbers} for shopper, numbers in sorted(self._shoppers().items())]

        @app.get("/demo/token", include_in_schema=False)
        async def token(shopper: str) -> dict[str, str]:
            if shopper not in self._shoppers():
                raise HTTPException(404, "No such sample shopper.")
            return {"token": signer.mint(tokens.SHOPPER, shopper, lifetime_s=3600)}

        for url, passages in self._pages.items():
            app.add_api_route(url, _says(_as_html(passages)), include_in_schema=False)

    def _shoppers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for order in json.loads(self._orders.read_text(encoding="utf-8")):
            found.setdefault(order["shopper_id"], []).append(order["number"])
        return found


def _says(text: str) -> Callable[[], HTMLResponse]:
    return lambda: HTMLResponse(text)


def _as_html(passages: Sequence[Passage]) -> str:
    """A document as a plain page; nothing of its text is read as HTML."""
    first = passages[0]
    parts = [
        f'<!doctype html><html lang="{first.language}"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/web/demo.css">',
        f'<title>{escape(first.title)}</title><main class="help"><h1>{escape(first.title)}</h1>',
    ]
    for passage in passages:
        parts.append(f"<h2>{escape(passage.heading)}</h2>")
        for bullet, lines in groupby(passage.text.splitlines(), key=lambda line: line.startswith("- ")):
            texts = [escape(line.removeprefix("- ")) for line in lines if line.strip()]
            if bullet:
                parts.append("<ul>" + "".join(f"<li>{text}</li>" for text in texts) + "</ul>")
            else:
                parts += [f"<p>{text}</p>" for text in texts]
    return "".join(parts) + "</main></html>"
