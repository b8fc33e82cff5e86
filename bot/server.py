"""The FastAPI app: lifespan, routes, health. Takes no decisions.

Run it with `bot serve`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline

from bot import __version__, asyncapi, chat, desk, desk_socket, refusals
from bot.demo import SampleShop
from bot.errors import StoreError
from bot.health import Health
from bot.live import Live
from bot.sockets import Door

log = logging.getLogger(__name__)
WEB = Path(__file__).parent / "web"
POLICY = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; object-src 'none'; base-uri 'none'"


ANEW_S = 1.0
"""After a failure that nobody foresaw a job begins anew."""


async def _keep(job: Callable[[], Awaitable[None]]) -> None:
    """Have a job run for ever: without it turns would be left, or human agents not told, and nobody would know."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("begun anew: %s", getattr(job, "__qualname__", job))
        await asyncio.sleep(ANEW_S)


def create_app(live: Live, door: Door, the_desk: desk.Desk, *, demo: SampleShop | None = None) -> FastAPI:
    """The app over parts that stand; it owns their life from start to end."""

    health = Health(live.bot, door)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        taken_up = await live.recover()
        if taken_up:
            log.info("took up %d unfinished turns", taken_up)
        jobs = (live.sweep, live.hear, live.news.tell_queue, the_desk.sweep, the_desk.seats.keep, health.watch)
        ongoing = [asyncio.create_task(_keep(job)) for job in jobs]
        try:
            yield
        finally:
            await live.aclose()
            for task in ongoing:
                task.cancel()
            await live.bot.engine.aclose()
            await live.bus.aclose()
            await live.bot.store.aclose()

    # The documentation page with its scripts, so that it asks nothing of other hosts.
    app = FastAPIOffline(title="Shoptalk", version=__version__, lifespan=lifespan, openapi_url="/v1/openapi.json")
    app.include_router(desk.router(the_desk, door))

    @app.exception_handler(StoreError)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StoreError)
        status, body = refusals.refusal(error)
        if status >= 500:
            log.error("request failed: %s", error)
        return JSONResponse(body, status)

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if request.url.path.startswith(("/web/", "/widget.js")):
            # A shop's page loads the widget's modules from here; they hold nothing secret.
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Cache-Control"] = "no-cache"
        if request.url.path in ("/", "/desk") or request.url.path.startswith("/web/"):
            response.headers["Content-Security-Policy"] = POLICY
            response.headers["X-Frame-Options"] = "DENY"
        return response

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        why = await health.why_not()
        return JSONResponse({"ready": not why, "why": why, **health.figures()}, 503 if why else 200)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> PlainTextResponse:
        lines = ["# TYPE shoptalk_turns_total counter"]
        lines += [f'shoptalk_turns_total{{outcome="{o}"}} {n}' for o, n in sorted(live.outcomes.items())]
        lines += ["# TYPE shoptalk_queue_waiting gauge", f"shoptalk_queue_waiting {len(await live.news.positions())}"]
        return PlainTextResponse("\n".join(lines) + "\n")

    @app.get("/v1/schema.json", tags=["chat"])
    async def schema() -> JSONResponse:
        """JSON Schema of every frame that the sockets read and send."""
        return JSONResponse(asyncapi.json_schema())

    @app.get("/v1/asyncapi.json", tags=["chat"])
    async def sockets_document() -> JSONResponse:
        """AsyncAPI 3.0 document of both sockets."""
        return JSONResponse(asyncapi.document("Shoptalk chat", __version__))

    @app.get("/widget.js", include_in_schema=False)
    async def widget() -> FileResponse:
        return FileResponse(WEB / "widget.js", media_type="text/javascript")

    @app.get("/desk", include_in_schema=False)
    async def desk_page() -> FileResponse:
        return FileResponse(WEB / "desk.html")

    app.mount("/web", StaticFiles(directory=WEB), name="web")
    if demo is not None:
        demo.mount(app, door.tokens)
    app.add_middleware(
        Sockets,
        doors={
            "/v1/chat": lambda ws: chat.serve(ws, door),
            "/v1/agent": lambda ws: desk_socket.serve(ws, the_desk, door),
        },
    )
    return app


class Sockets:
    """Leads sockets past the layers of FastAPI, each of which costs an open connection memory and a frame time.

    Args:
        doors: who serves a socket, by path.
    """

    def __init__(self, app: Any, doors: Mapping[str, Callable[[WebSocket], Awaitable[None]]]) -> None:
        self._app, self._doors = app, doors

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One connection or request."""
        if scope["type"] == "websocket" and (door := self._doors.get(scope["path"])) is not None:
            await door(WebSocket(scope, receive, send))
        else:
            await self._app(scope, receive, send)
