"""What both doors share: who may open a socket, how frames are received, sent and refused, and how it ends.

Knows nothing of conversations.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import WebSocket, WebSocketDisconnect

from bot import tokens, wire
from bot.errors import (
    AlreadyClaimed,
    AtCapacity,
    ConversationClosed,
    FrameError,
    IdempotencyConflict,
    NotFound,
    NotQueued,
    StaleEpoch,
    StoreError,
)
from bot.live import Live

log = logging.getLogger(__name__)

PING_S = 15.0
HELLO_S = 10.0

H = TypeVar("H", bound=wire.Frame)


@dataclass(frozen=True)
class Door:
    """What a door needs to open."""

    live: Live
    tokens: tokens.Tokens
    origins: frozenset[str]
    """Origins that may open the chat besides the server's own; `*` is any."""
    messages_per_minute: int = 30
    ping_s: float = PING_S


class Closed(Exception):
    """Ends a socket's session with a close code."""

    def __init__(self, code: str) -> None:
        self.code = wire.CLOSE[code]
        super().__init__(code)


def origin_allowed(origin: str | None, host: str | None, origins: frozenset[str]) -> bool:
    """A browser names its origin; it must be the server's own or a listed one. Others name none."""
    if origin is None or "*" in origins or origin in origins:
        return True
    return host is not None and origin.split("://", 1)[-1] == host


async def serve(ws: WebSocket, door: Door, session: Callable[[Socket], Awaitable[None]]) -> None:
    """One socket from its start to its end, closed with the code that says why."""
    await ws.accept()
    if not origin_allowed(ws.headers.get("origin"), ws.headers.get("host"), door.origins):
        return await ws.close(wire.CLOSE["origin_refused"], "origin refused")
    sock = Socket(ws, door.ping_s)
    try:
        await session(sock)
    except Closed as closed:
        await _quietly(ws.close(closed.code, str(closed)))
    except (WebSocketDisconnect, RuntimeError):
        pass  # The other side has gone; starlette raises RuntimeError for a send after that.
    except StoreError as error:
        log.error("socket closed: %s", error)
        await _quietly(sock.send("error", error_data("try_later", "Please try again.", True)))
        await _quietly(ws.close(wire.CLOSE["try_later"], "try later"))


async def _quietly(sending: Awaitable[Any]) -> None:
    try:
        await sending
    except (WebSocketDisconnect, RuntimeError):
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


class Socket:
    """An open socket: frames in and out, and its heartbeat.

    Raises:
        WebSocketDisconnect: from every method, once the other side has gone.
    """

    def __init__(self, ws: WebSocket, ping_s: float) -> None:
        self._ws, self._ping_s = ws, ping_s
        self._unanswered_pings = 0
        self.conversation_id: str | None = None
        """The one that a shopper's frames are about."""

    async def send(self, type: str, data: Mapping[str, Any], conversation_id: str | None = None) -> None:
        """A frame that is not in the log."""
        await self.frame(wire.envelope(type, conversation_id or self.conversation_id, data))

    async def frame(self, frame: Mapping[str, Any]) -> None:
        """One frame as JSON text; half a character, which UTF-8 cannot carry, becomes a question mark."""
        text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
        await self._ws.send_text(text.encode("utf-8", "replace").decode("utf-8"))

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
                        bad = await self._bad(error, bad)
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
                bad = await self._bad(error, bad)
                continue
            bad = 0
            try:
                await asyncio.shield(act(frame))
            except FrameError as error:
                await self.send("error", frame_error(error))
            except StoreError as error:
                status, data = refusal(error)
                if status >= 500:
                    log.error("frame not carried out: %s", error)
                client_id = getattr(frame, "client_id", None)
                about = {"client_id": client_id} if client_id else {}
                await self.send("error", {**data, **about}, getattr(frame, "conversation_id", None))

    async def ping(self) -> None:
        """Ping for ever.

        Raises:
            Closed: two pings in a row went unanswered.
        """
        while True:
            await asyncio.sleep(self._ping_s)
            if self._unanswered_pings >= 2:
                raise Closed("going_away")
            self._unanswered_pings += 1
            await self.send("ping", {"t": time.time()})

    async def _receive(self) -> str | bytes:
        message = await self._ws.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        self._unanswered_pings = 0
        return message.get("text") or message.get("bytes") or ""

    async def _bad(self, error: FrameError, bad: int) -> int:
        """Answer a frame that cannot be read; how many came in a row. A type that is only unknown does not count."""
        bad += error.code != "unknown_type"
        await self.send("error", frame_error(error))
        if bad >= wire.MAX_BAD_FRAMES:
            raise Closed("bad_frames")
        return bad


def frame_error(error: FrameError) -> dict[str, Any]:
    """A frame's fault as the data of an `error`."""
    about = {"client_id": error.client_id} if error.client_id else {}
    return error_data(error.code, str(error), False, error.field, **about)


def error_data(code: str, message: str, retryable: bool, field: str | None = None, **more: str) -> dict[str, Any]:
    """The data of an `error`."""
    data = {"code": code, "message": message, "retryable": retryable, "request_id": uuid.uuid4().hex[:12], **more}
    return {**data, "field": field} if field else data


def refusal(error: StoreError) -> tuple[int, dict[str, Any]]:
    """Why something was not done: an HTTP status, and the data of an `error`."""
    match error:
        case NotFound():
            return 404, error_data("not_found", "There is no such conversation.", False)
        case ConversationClosed():
            return 409, error_data("closed", "This conversation is closed; start a new one.", False)
        case AlreadyClaimed():
            return 409, error_data("already_claimed", str(error), False, agent_id=error.agent_id)
        case NotQueued():
            return 409, error_data("not_queued", "This conversation does not wait for a human agent.", False)
        case AtCapacity():
            return 409, error_data(
                "at_capacity", "You hold as many conversations as allowed; finish one first.", False
            )
        case StaleEpoch():
            return 409, error_data("stale_epoch", "This conversation is not yours any more.", False)
        case IdempotencyConflict():
            return 409, error_data(
                "idempotency_conflict", "This `client_id` was used for another text.", False, "client_id"
            )
    return 503, error_data("try_later", "Nothing was saved; please try again.", True)
