"""Every engine, each reciting the same text: scripted, over HTTP from a live server, and a checkpoint on this machine."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from bot.engine import local
from bot.engine.bounded import BoundedEngine
from bot.engine.http import HttpEngine
from bot.engine.scripted import ScriptedEngine
from tests.parts import TEMPLATES
from tests.small_model import RECITED, save_model


class FakeCompletions:
    """A chat completions endpoint that recites `tokens`, or sends `lines` as they are, and counts who still listens."""

    def __init__(self, tokens, *, lines=None, gap="\n\n", status=200, ends=True, for_ever=False):
        self.tokens, self.lines, self.gap, self.status = tokens, lines, gap, status
        self.ends, self.for_ever = ends, for_ever
        self.running, self.asked, self.headers = 0, [], []
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.answer)

    async def answer(self, request: Request):
        self.asked.append(await request.json())
        self.headers.append(request.headers)
        if self.status != 200:
            return JSONResponse({"error": "out of memory at /srv/secret"}, self.status)
        return StreamingResponse(self.stream(self.asked[-1]["max_tokens"]), media_type="text/event-stream")

    async def stream(self, max_tokens):
        self.running += 1
        try:
            if self.lines is not None:
                for line in self.lines:
                    yield line + self.gap
                return
            yield f"data: {json.dumps({'choices': [{'delta': {'role': 'assistant'}}]})}\n\n"
            for token in self.tokens[:max_tokens]:
                yield f"data: {json.dumps({'choices': [{'delta': {'content': token}}]}, ensure_ascii=False)}\n\n"
                await asyncio.sleep(0)
            while self.for_ever:
                yield f"data: {json.dumps({'choices': [{'delta': {'content': ' again'}}]})}\n\n"
                await asyncio.sleep(0.005)
            yield f"data: {json.dumps({'choices': [], 'usage': {}})}\n\n"
            if self.ends:
                yield "data: [DONE]\n\n"
        finally:
            self.running -= 1


@asynccontextmanager
async def served(fake):
    """The endpoint's address while it is served."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(fake.app, log_config=None, timeout_graceful_shutdown=1))
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await task


class Broken:
    """A model without memory left."""

    device = "cpu"

    def generate(self, **_):
        raise RuntimeError("out of memory")


@pytest.fixture(params=["scripted", "bounded", "http", "local"])
async def make(request, tmp_path):
    """Builds an engine that recites `RECITED`: `for_ever`, or one that is `broken`."""
    async with AsyncExitStack() as stack:

        async def build(*, for_ever=False, broken=False):
            match request.param:
                case "scripted" | "bounded":
                    text = (RECITED + " again" * 10_000) if for_ever else RECITED
                    engine = ScriptedEngine(TEMPLATES, lambda _: text, fail_after=0 if broken else None)
                    if request.param == "bounded":
                        engine = BoundedEngine(engine, 1)
                case "http":
                    fake = FakeCompletions(
                        [RECITED[n : n + 4] for n in range(0, len(RECITED), 4)],
                        for_ever=for_ever, status=500 if broken else 200,
                    )  # fmt: skip
                    url = await stack.enter_async_context(served(fake))
                    engine = HttpEngine(url, "m", TEMPLATES)
                case "local":
                    engine = local.load(str(save_model(tmp_path / "model", ends=not for_ever)), None, TEMPLATES)
                    if broken:
                        engine._model = Broken()
            stack.push_async_callback(engine.aclose)
            return engine

        yield build
