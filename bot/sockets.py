"""What both doors share: who may open a socket, how frames are received, sent and refused.

Knows nothing of conversations.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from bot import tokens, wire
from bot.errors import FrameError
from bot.live import Live

PING_S = 15.0


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


async def receive(ws: WebSocket) -> str | bytes:
    """The next frame's payload."""
    message = await ws.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message.get("text") or message.get("bytes") or ""


async def send(ws: WebSocket, frame: Mapping[str, Any]) -> None:
    """One frame as JSON text."""
    await ws.send_text(json.dumps(frame, ensure_ascii=False, separators=(",", ":")))


async def quietly(sending: Awaitable[Any]) -> None:
    try:
        await sending
    except (WebSocketDisconnect, RuntimeError):
        pass


def frame_error(error: FrameError) -> dict[str, Any]:
    """A frame's fault as the data of an `error`."""
    return error_data(error.code, str(error), False, error.field, **about(error.client_id))


def about(client_id: str | None) -> dict[str, str]:
    """What names the message that an `error` is about."""
    return {"client_id": client_id} if client_id else {}


def error_data(code: str, message: str, retryable: bool, field: str | None = None, **more: str) -> dict[str, Any]:
    data = {"code": code, "message": message, "retryable": retryable, "request_id": uuid.uuid4().hex[:12], **more}
    return {**data, "field": field} if field else data
