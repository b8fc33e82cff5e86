"""What both doors share: who may open a socket, how frames are received, sent and refused, and how it ends.

Knows nothing of conversations.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse

from bot import limits, tokens, wire
from bot.errors import FrameError, StoreError
from bot.live import Live
from bot.outbox import Full, Outbox
from bot.refusals import error_data, frame_error, refusal

log = logging.getLogger(__name__)

PING_S = 15.0
HELLO_S = 10.0
PAGE = 100
"""Events read from the log at once, for one reader."""
CLOSE_S = 2.0
"""How long a socket that ends waits for its reader to take the last frames."""

H = TypeVar("H", bound=wire.Frame)


@dataclass(frozen=True)
class Door:
    """What a door needs to open."""

    live: Live
    tokens: tokens.Tokens
    origins: frozenset[str]
    """Origins that may open the chat besides the server's own; `*` is any."""
    limits: limits.Limits = field(default_factory=limits.Limits)
    ping_s: float = PING_S
    open: set[Socket] = field(default_factory=set)
    """The sockets of this process."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once this process is about to end."""


class Closed(Exception):
    """Ends a socket's session with a close code; with `retry_after_ms` the client is told when to come back."""

    def __init__(self, code: str, retry_after_ms: int | None = None) -> None:
        self.code = wire.CLOSE[code]
        super().__init__(code if retry_after_ms is None else f"{code} retry_after_ms={retry_after_ms}")


def origin_allowed(origin: str | None, host: str | None, origins: frozenset[str]) -> bool:
    """A browser names its origin; it must be the server's own or a listed one. Others name none."""
    if origin is None or "*" in origins or origin in origins:
        return True
    return host is not None and origin.split("://", 1)[-1] == host


async def serve(ws: WebSocket, door: Door, session: Callable[[Socket], Awaitable[None]]) -> None:
    """One socket from its start to its end, closed with the code that says why."""
    if door.draining.is_set() and "x-forwarded-for" in ws.headers:  # The proxy asks another replica.
        return await ws.send_denial_response(PlainTextResponse("draining", 503))
    await ws.accept()
    if not origin_allowed(ws.headers.get("origin"), ws.headers.get("host"), door.origins):
        return await ws.close(wire.CLOSE["origin_refused"], "origin refused")
    address = limits.address_of(ws.client.host if ws.client else "")
    if refused := "try_later" if door.draining.is_set() else door.limits.enter(address):
        return await ws.close(wire.CLOSE[refused], str(Closed(refused, pause_ms(door))))
    sock = Socket(ws, address, door)
    door.open.add(sock)
    try:
        await session(sock)
    except Closed as closed:
        await sock.close(closed)
    except Full:
        await sock.close(Closed("try_later", pause_ms(door)))
    except (WebSocketDisconnect, RuntimeError):
        pass  # The other side has gone; starlette raises RuntimeError for a send after that.
    except StoreError as error:
        log.error("socket closed: %s", error)
        with suppress(Full, WebSocketDisconnect, RuntimeError):
            sock.send("error", error_data("try_later", "Please try again.", True))
        await sock.close(Closed("try_later", pause_ms(door)))
    except asyncio.CancelledError:
        if sock.ended is None:
            raise
        await sock.close(sock.ended)
    finally:
        door.open.discard(sock)
        door.limits.leave(address)


def pause_ms(door: Door) -> int:
    """When to come back: spread so that a process that starts again meets some thousand sockets a second."""
    return 500 + random.randrange(500 + len(door.open))


async def _quietly(sending: Awaitable[Any]) -> None:
    try:
        await sending
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        pass


async def until_one_ends(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs side by side; once one ends or fails, the others are cancelled."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unheard(acting: asyncio.Task[None]) -> None:
    """A frame was carried out after its socket had ended: only what failed here is worth a line."""
    error = None if acting.cancelled() else acting.exception()
    if error is not None and not isinstance(error, (WebSocketDisconnect, RuntimeError, Closed, Full, FrameError)):
        log.error("frame not carried out: %s", error)


class Socket:
    """An open socket: frames in and out, and its heartbeat.

    Raises:
        WebSocketDisconnect: from every method, once the other side has gone.
        Closed: from every method that reads, if frames come too fast.
        Full: from every method that sends, if the other side reads too slowly.
    """

    def __init__(self, ws: WebSocket, address: str | None, door: Door) -> None:
        self._ws, self._ping_s = ws, door.ping_s
        self._most_frames, self._frames, self._counted_from = door.limits.frames_per_minute, 0, time.monotonic()
        self._outbox = Outbox(ws.send_text)
        self._task = asyncio.current_task()
        self._unanswered_pings = 0
        self.address = address
        """Where the other side is; None on this machine."""
        self.conversation_id: str | None = None
        """The one that a shopper's frames are about."""
        self.ended: Closed | None = None
        """Why it was told to end."""

    def send(self, type: str, data: Mapping[str, Any], conversation_id: str | None = None) -> None:
        """A frame that is not in the log."""
        self.frame(wire.envelope(type, conversation_id or self.conversation_id, data))

    def frame(self, frame: Mapping[str, Any]) -> None:
        """One frame as JSON text; half a character, which UTF-8 cannot carry, becomes a question mark."""
        text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
        self._outbox.put(text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8"))

    def end(self, why: Closed) -> None:
        """Have the session end, from outside."""
        if self.ended is None and self._task is not None:
            self.ended = why
            self._task.cancel()

    async def room(self) -> None:
        """Wait until the reader has taken enough for some more frames."""
        await self._outbox.room()

    async def close(self, why: Closed) -> None:
        """Send what waits, then the close frame, as far as the reader takes them."""
        self._task = None
        await _quietly(asyncio.wait_for(self._outbox.empty(), CLOSE_S))
        await self._outbox.aclose()
        await _quietly(asyncio.wait_for(self._ws.close(why.code, str(why)), CLOSE_S))

    async def hello(self, frames: Mapping[str, type[wire.Frame]], kind: type[H]) -> H:
        """The first frame.

        Raises:
            Closed: it did not come in time, or something else came.
        """
        bad = 0
        try:
            async with asyncio.timeout(HELLO_S):
                while True:
                    try:
                        frame = wire.parse(await self._receive(), frames)
                    except FrameError as error:
                        bad = self._bad(error, bad)
                        continue
                    if isinstance(frame, kind):
                        return frame
                    if not isinstance(frame, wire.Pong):
                        raise Closed("no_hello")
        except TimeoutError:
            raise Closed("no_hello") from None

    async def read(
        self, frames: Mapping[str, type[wire.Frame]], act: Callable[[wire.Frame], Coroutine[Any, Any, None]]
    ) -> None:
        """Hand each frame to `act` until the socket ends; what cannot be read or carried out is refused.

        What was begun is carried to its end, though the socket goes meanwhile: a message that was written is answered.

        Raises:
            Closed: too many bad frames came in a row, or `act` says so.
        """
        bad = 0
        while True:
            try:
                frame = wire.parse(await self._receive(), frames)
            except FrameError as error:
                bad = self._bad(error, bad)
                continue
            bad = 0
            acting = asyncio.create_task(act(frame))
            try:
                await asyncio.shield(acting)
            except asyncio.CancelledError:
                acting.add_done_callback(_unheard)
                raise
            except FrameError as error:
                self.send("error", frame_error(error))
            except StoreError as error:
                status, data = refusal(error)
                if status >= 500:
                    log.error("frame not carried out: %s", error)
                client_id = getattr(frame, "client_id", None)
                about = {"client_id": client_id} if client_id else {}
                await self.room()
                self.send("error", {**data, **about}, getattr(frame, "conversation_id", None))

    async def ping(self) -> None:
        """Ping for ever, but not behind much that is on its way: the kernel ends who takes nothing of that.

        Raises:
            Closed: two pings in a row went unanswered.
        """
        while True:
            await asyncio.sleep(self._ping_s)
            if not self._outbox.has_room():
                continue
            if self._unanswered_pings >= 2:
                raise Closed("going_away")
            self._unanswered_pings += 1
            self.send("ping", {"t": time.time()})

    async def _receive(self) -> str | bytes:
        message = await self._ws.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        self._unanswered_pings = 0
        if (now := time.monotonic()) > self._counted_from + limits.WINDOW_S:
            self._frames, self._counted_from = 0, now
        self._frames += 1
        if self._frames > self._most_frames:
            raise Closed("too_fast")
        return message.get("text") or message.get("bytes") or ""

    def _bad(self, error: FrameError, bad: int) -> int:
        """Answer a frame that cannot be read; how many came in a row. A type that is only unknown does not count."""
        bad += error.code != "unknown_type"
        self.send("error", frame_error(error))
        if bad >= wire.MAX_BAD_FRAMES:
            raise Closed("bad_frames")
        return bad
