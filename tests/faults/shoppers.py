"""Shoppers: each talks in a conversation over as many sockets as it takes, and tells the oracle.

A message is sent one to five times, over one tab or two, until it is acknowledged; sockets are cut at random.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, WebSocketException

from tests import told
from tests.faults.oracle import Known, Oracle

SAYINGS = (
    *["How long does standard delivery take? [{}]"] * 6,
    *["What does express delivery cost? [{}]"] * 3,
    "现货商品多久发货？ [{}]",
    "Zebras and xylophones? [{}]",
    "I want to talk to a person. [{}]",
    "This is terrible!!! [{}]",
)
AWAY = (OSError, WebSocketException, TimeoutError)
NO_CONVERSATION = 4404


class Gone(Exception):
    """The server knows nothing of a conversation that it opened."""


class Tab:
    """One socket; checks that what it is told has neither gap nor double."""

    def __init__(self, oracle: Oracle, ws: ClientConnection, conversation_id: str, last_seq: int) -> None:
        self.oracle, self.ws, self.id, self.last_seq = oracle, ws, conversation_id, last_seq
        self.news = asyncio.Event()
        """Set at each frame, and at the end."""
        self.next_index: dict[str, int] = {}
        self.ended: set[str] = set()
        self.refusals = 0
        self.owner = "bot"
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for raw in self.ws:
                self._heard(told.read(raw, "/v1/chat"))
                self.news.set()
        except (OSError, WebSocketException):
            pass
        except ValueError as error:
            self.oracle.breaks(f"{self.id}: a frame that no model describes: {error}")
        finally:
            self.news.set()

    def _heard(self, frame: dict[str, Any]) -> None:
        oracle, type, data = self.oracle, frame["type"], frame["data"]
        if (seq := frame.get("seq")) is not None:
            if seq != self.last_seq + 1:
                oracle.breaks(f"P4 {self.id}: seq {seq} came after {self.last_seq} on one socket")
            self.last_seq = seq
            oracle.saw(self.id, frame)
            if type == "owner.changed":
                self.owner = data["owner"]
            elif type == "message.completed":
                self.ended.add(data["message_id"])
        match type:
            case "ack":
                oracle.acked(self.id, data["client_id"], data["message_id"], data["seq"])
            case "message.delta":
                self._delta(data["message_id"], data["index"])
            case "resync_required":
                oracle.breaks(f"P4 {self.id}: told to start anew, though it told seq {self.last_seq} itself")
                self.last_seq = 0
            case "error":
                self.refusals += 1
                if not data["retryable"] and data["code"] != "closed":
                    oracle.breaks(f"P17 {self.id}: refused for good: {data}")

    def _delta(self, message_id: str, index: int) -> None:
        if index != self.next_index.get(message_id, 0):
            self.oracle.breaks(f"P5 {self.id}: delta {index} of {message_id}, {self.next_index} awaited")
        if message_id in self.ended:
            self.oracle.breaks(f"P5 {self.id}: delta {index} after the end of {message_id}")
        if self.owner != "bot":
            self.oracle.breaks(f"P12 {self.id}: a delta while {self.owner} is the owner")
        self.next_index[message_id] = index + 1

    async def send(self, type: str, **data: Any) -> None:
        await self.ws.send(json.dumps({"v": 1, "type": type, "data": data}))

    @property
    def closed(self) -> bool:
        return self.reading.done()

    async def close(self) -> None:
        """Cut the connection without a word."""
        self.ws.transport.abort()
        await asyncio.wait([self.reading], timeout=5)


async def open_tab(url: str, oracle: Oracle, conversation_id: str | None = None, last_seq: int = 0) -> Tab:
    """A socket that has said hello; a new conversation if none is named.

    Raises:
        OSError, WebSocketException, TimeoutError: the server is away.
    """
    async with asyncio.timeout(10):
        ws = await connect(
            url.replace("http", "ws") + "/v1/chat", open_timeout=10, close_timeout=0.2, ping_interval=None,
            compression=None, proxy=None,
        )  # fmt: skip
        hello: dict[str, Any] = {"last_seq": last_seq}
        if conversation_id is not None:
            token = oracle.conversations[conversation_id].resume_token
            hello |= {"conversation_id": conversation_id, "resume_token": token}
        await ws.send(json.dumps({"v": 1, "type": "hello", "data": hello}))
        welcome = told.read(await ws.recv(), "/v1/chat")
    if welcome["type"] != "welcome":
        await ws.close()
        raise TimeoutError(str(welcome))
    data = welcome["data"]
    oracle.conversations.setdefault(data["conversation_id"], Known(data["resume_token"]))
    return Tab(oracle, ws, data["conversation_id"], last_seq)


class Shopper:
    """One conversation."""

    def __init__(self, urls: str | list[str], oracle: Oracle, rng: random.Random) -> None:
        self.urls, self.oracle, self.rng = [urls] if isinstance(urls, str) else urls, oracle, rng
        self.id: str | None = None
        self.tabs: list[Tab] = []
        self.told = 0
        """The last seq that any tab was told, which the next one resumes from."""
        self.messages = 0

    @property
    def known(self) -> Known:
        assert self.id is not None
        return self.oracle.conversations[self.id]

    async def connect(self, tabs: int = 1) -> None:
        """Have this many sockets open, however long it takes.

        Raises:
            Gone: the conversation is lost.
        """
        while True:
            for tab in [tab for tab in self.tabs if tab.closed]:
                self._forget(tab)
            if len(self.tabs) >= tabs:
                return
            try:
                resume = self.told if self.rng.random() < 0.7 else self.rng.randint(0, self.told)
                tab = await open_tab(self.rng.choice(self.urls), self.oracle, self.id, resume)
            except AWAY as error:
                if isinstance(error, ConnectionClosedError) and error.rcvd and error.rcvd.code == NO_CONVERSATION:
                    self.oracle.breaks(f"P1 {self.id} was opened, and is lost")
                    raise Gone from None
                await asyncio.sleep(0.05 + 0.1 * self.rng.random())
                continue
            self.id = tab.id
            self.tabs.append(tab)

    def _forget(self, tab: Tab) -> None:
        self.told = max(self.told, tab.last_seq)
        self.tabs.remove(tab)

    async def say(self, text: str | None = None, *, copies: int | None = None, stay: bool = False) -> str:
        """Send one message until it is acknowledged; its `client_id`.

        Args:
            copies: how often at a time; None is one to five times.
            stay: never hang up; who does may rightly find the answer cancelled (P7).
        """
        self.messages += 1
        await self.connect()
        client_id = f"{self.id}-{self.messages}"
        text = text or self.rng.choice(SAYINGS)
        self.known.sent[client_id] = text.format(client_id.removeprefix("c_").replace("-", "x"))
        while client_id not in self.known.acked and self.known.owner != "closed":
            await self.connect(self.rng.choice((1, 1, 2)))
            for tab in self.rng.choices(self.tabs, k=copies or self.rng.randint(1, 5)):
                try:
                    await tab.send("message.send", client_id=client_id, text=self.known.sent[client_id])
                except AWAY:
                    pass
            if not stay and self.rng.random() < 0.1:
                await self.cut()
            await self._wait(lambda: client_id in self.known.acked, 2)
        return client_id

    async def ask_for_person(self) -> None:
        await self.connect()
        try:
            await self.tabs[0].send("handoff.request")
        except AWAY:
            pass

    async def end_of(self, client_id: str, timeout_s: float) -> bool:
        """Wait for an answer to a message, or for another owner; reconnects meanwhile."""

        def ended() -> bool:
            return self.known.owner != "bot" or self.known.answered(self.known.acked.get(client_id, ("", 0))[0])

        until = time.monotonic() + timeout_s
        while not ended() and time.monotonic() < until:
            await self.connect()
            await self._wait(ended, min(1.0, until - time.monotonic()))
        return ended()

    async def cut(self) -> None:
        """Cut one of the sockets."""
        if self.tabs:
            tab = self.rng.choice(self.tabs)
            await tab.close()
            if tab in self.tabs:
                self._forget(tab)

    async def leave(self) -> None:
        """Close every socket."""
        for tab in list(self.tabs):
            await tab.close()
            self._forget(tab)

    async def _wait(self, done: Any, timeout_s: float) -> None:
        """Until something is so, every socket has ended, or time is up."""
        until = time.monotonic() + timeout_s
        while not done() and (left := until - time.monotonic()) > 0 and not all(tab.closed for tab in self.tabs):
            waiting = [asyncio.create_task(tab.news.wait()) for tab in self.tabs]
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task, tab in zip(waiting, self.tabs, strict=True):
                task.cancel()
                tab.news.clear()
