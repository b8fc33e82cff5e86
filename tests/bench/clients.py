"""Shoppers by the thousand: a WebSocket client that does as little as it can, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import time
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import create_engine, text

WITHOUT_LIMITS = {"BOT_MESSAGES_PER_MINUTE": 10**9, "BOT_CONNECTIONS": 10**6, "BOT_TURN_TIMEOUT_S": 600}
"""Settings of a server whose own limits are not what is measured."""
AT_ONCE = 100
"""Connections opened at the same time."""
PATIENCE_S = 120.0
"""No shopper waits longer for anything: a frame that never comes ends the run instead of holding it up."""
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = bytes(4)  # masked with nothing: servers must unmask all the same
TEXT, CLOSE = 0x81, 0x88
PONG = '{"type":"pong"}'


class Wire(asyncio.Protocol):
    """Frames in and out."""

    def __init__(self) -> None:
        self.buffer = b""
        self.open = False
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open:
            if b"\r\n\r\n" not in self.buffer:
                return
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            if b" 101 " not in head:
                return self.transport.abort()
            self.open = True
            self.got.put_nowait(b"")
        while len(self.buffer) >= 2:
            size, start = self.buffer[1], 2
            if size > 125:
                start = 4 if size == 126 else 10
                if len(self.buffer) < start:
                    return
                size = int.from_bytes(self.buffer[2:start], "big")
            if len(self.buffer) < start + size:
                return
            opcode, payload = self.buffer[0], self.buffer[start : start + size]
            self.buffer = self.buffer[start + size :]
            if opcode == CLOSE:
                if not self.closed.done():
                    self.closed.set_result((int.from_bytes(payload[:2], "big"), payload[2:].decode()))
                self.transport.close()
            elif b'"type":"ping"' in payload[:20]:
                self.write(PONG)
            elif opcode == TEXT:
                self.got.put_nowait(payload)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result((1006, ""))
        self.got.put_nowait(b"")

    def write(self, text: str | bytes) -> None:
        payload = text.encode() if isinstance(text, str) else text
        size = len(payload)
        head = bytes([TEXT, 0x80 | size]) if size < 126 else bytes([TEXT, 0xFE]) + size.to_bytes(2, "big")
        self.transport.write(head + MASK + payload)


class Gone(Exception):
    """The connection ended."""


class Refused(Exception):
    """The server cannot do what was asked for: what came is no figure."""


class Shopper:
    """One shopper, who keeps what is needed to come back."""

    def __init__(self) -> None:
        self.again: dict[str, Any] = {}
        self.seqs: list[int] = []
        self.sent = 0
        self.waits_for = ""

    async def connect(self, port: int, path: str = "/v1/chat", *, holds: int = 0) -> None:
        """Open, up to the end of the handshake."""
        own = socket.socket()
        own.setblocking(False)
        if holds:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, holds)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await loop.sock_connect(own, ("127.0.0.1", port))
        except OSError:
            own.close()
            raise
        _, self.wire = await loop.create_connection(Wire, sock=own)
        self.wire.transport.write(HANDSHAKE.format(path=path, host="127.0.0.1", port=port).encode())
        await self.raw("the handshake")
        if not self.wire.open:
            raise Gone

    async def hello(self) -> int:
        """Begin or resume; the log's last `seq`."""
        resume = {**self.again, "last_seq": self.seqs[-1] if self.seqs else 0} if self.again else {}
        self.send("hello", **resume)
        data = (await self.until("welcome"))["data"]
        self.again = {key: data[key] for key in ("conversation_id", "resume_token")}
        return data["seq"]

    def send(self, type: str, **data: Any) -> None:
        self.wire.write(json.dumps({"type": type, "data": data}))

    async def raw(self, what: str) -> bytes:
        """What came next; empty once the connection is open, and once it has ended."""
        got, self.waits_for = self.wire.got, what
        if not got.empty():
            return got.get_nowait()
        if self.wire.closed.done():
            return b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await got.get()
        except TimeoutError:
            raise TimeoutError(f"{what} did not come within {PATIENCE_S:g} s") from None

    async def next(self, what: str = "any frame") -> dict[str, Any]:
        """The next frame."""
        raw = await self.raw(what)
        if not raw:
            raise Gone
        frame = json.loads(raw)
        if frame["type"] == "error":
            raise Refused(frame["data"]["code"])
        if "seq" in frame:
            self.seqs.append(frame["seq"])
        return frame

    async def until(self, type: str, **data: Any) -> dict[str, Any]:
        """The next frame of this type whose data has these values."""
        while True:
            frame = await self.next(type)
            if frame["type"] == type and all(frame["data"].get(k) == v for k, v in data.items()):
                return frame

    async def say(self, text: str = "How long does standard delivery take?", *, again: bool = False) -> float:
        """Send a message, or the last one again; seconds until its ack."""
        self.sent += not again
        client_id = str(self.sent)
        began = time.perf_counter()
        self.send("message.send", client_id=client_id, text=text)
        await self.until("ack", client_id=client_id)
        return time.perf_counter() - began

    def close(self) -> None:
        self.wire.transport.abort()


@asynccontextmanager
async def shoppers(port: int, count: int):
    """So many, all welcomed; gone at the end."""
    all_of_them = [Shopper() for _ in range(count)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def come(shopper: Shopper) -> None:
        async with gate:
            await shopper.connect(port)
            await shopper.hello()

    await asyncio.gather(*(come(shopper) for shopper in all_of_them))
    try:
        yield all_of_them
    finally:
        for shopper in all_of_them:
            shopper.close()


def hold_all(url: str) -> None:
    """Have a human agent hold every conversation: messages go into the log, and nobody answers."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE conversations SET owner = 'human:bench'"))
    engine.dispose()


def rss_kib(pid: int) -> int:
    """Memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def cpu_s(pid: int) -> float:
    """Processor time that a process has used: what a busy machine does not change."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """The median and the slowest hundredth."""
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    return {"p50_ms": round(1000 * cuts[49], 1), "p99_ms": round(1000 * cuts[98], 1)}
