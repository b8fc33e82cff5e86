"""A live uvicorn in the test's own event loop, and clients for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial

import httpx
from websockets.asyncio.client import connect

from bot import desk, run, server, tokens
from bot.bus.memory import MemoryBus
from bot.drain import drain
from bot.limits import Limits
from bot.live import Live
from bot.sockets import Door
from tests import told
from tests.parts import make_bot


class Client:
    """A socket that keeps what it receives, once it is held to its model."""

    def __init__(self, ws):
        self.ws, self.got = ws, []

    async def send(self, type, **data):
        await self.ws.send(json.dumps({"v": 1, "type": type, "data": data}))

    async def next(self, timeout=20):
        frame = told.read(await asyncio.wait_for(self.ws.recv(), timeout), self.ws.request.path)
        self.got.append(frame)
        return frame

    async def until(self, type, timeout=20, **data):
        """The next frame of this type whose data has these values."""
        async with asyncio.timeout(timeout):
            while True:
                frame = await self.next(timeout)
                if frame["type"] == type and all(frame["data"].get(k) == v for k, v in data.items()):
                    return frame


class House:
    """A running server and what it stands on."""

    def __init__(self, url, live, signer, door, uvicorn_server=None):
        self.url, self.live, self.signer, self.door = url, live, signer, door
        self._uvicorn = uvicorn_server

    def stop(self):
        """As a signal would."""
        self._uvicorn.should_exit = True

    @asynccontextmanager
    async def chat(self, **hello):
        async with connect(self.url.replace("http", "ws") + "/v1/chat") as ws:
            client = Client(ws)
            await client.send("hello", **hello)
            yield client

    @asynccontextmanager
    async def agent(self, name="anna", token=None, **hello):
        async with connect(self.url.replace("http", "ws") + "/v1/agent") as ws:
            client = Client(ws)
            await client.send("hello", token=token or await self.sign_in(name), **hello)
            yield client

    async def sign_in(self, name="anna"):
        async with httpx.AsyncClient(base_url=self.url, timeout=20) as http:
            body = {"code": self.signer.code(name), "name": name.title()}
            return (await http.post("/v1/agent/session", json=body)).json()["token"]

    @asynccontextmanager
    async def rest(self, name="anna", token=None):
        headers = {"Authorization": f"Bearer {token or await self.sign_in(name)}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20) as http:
            yield http


@asynccontextmanager
async def house(
    folder, *, grace_s=15.0, lease_s=60.0, ping_s=15.0, capacity=2, per_minute=100, limits=None,
    trusted_proxies="127.0.0.1", engine=None, **values
):  # fmt: skip
    """A server on a free port, as `bot serve` runs it, drained and stopped at the end."""
    live = Live(make_bot(folder, engine=engine, **values), MemoryBus(), grace_s=grace_s, retry_s=0.01)
    signer = tokens.Tokens("k" * 48)
    door = Door(live, signer, frozenset(), limits or Limits(messages_per_minute=per_minute), ping_s)
    app = server.create_app(live, door, desk.Desk(live, capacity=capacity, lease_s=lease_s))
    listening = run.listen("127.0.0.1", 0)
    uvicorn_server = run.Server(app, partial(drain, door, answers_s=0.0), trusted_proxies=trusted_proxies)
    task = asyncio.create_task(uvicorn_server.serve(sockets=[listening]))
    try:
        while not uvicorn_server.started:
            await asyncio.sleep(0.005)
        yield House(f"http://127.0.0.1:{listening.getsockname()[1]}", live, signer, door, uvicorn_server)
    finally:
        uvicorn_server.should_exit = True
        await task
