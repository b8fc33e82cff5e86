"""uvicorn's WebSocket over the `websockets` library, without its three faults.

Chosen by measurement (tests/bench/README.md): wsproto needs nearly twice the work for a message, and ends a
connection that breaks the protocol without a close code. As it comes, this one fails Autobahn's case 7.1.5,
logs a traceback for each message that is no UTF-8, and keeps any number of empty pieces of a message.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

MOST_PIECES = 1024
"""Frames of one message."""


class WebSocket(WebSocketsSansIOProtocol):
    """One connection."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.conn.__class__ = _Protocol

    def handle_cont(self, event: Frame) -> None:
        """One more piece of a message."""
        if len(self.frames) >= MOST_PIECES:
            return self._fail(1009, "too many pieces")
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Hand a whole message on."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                return self._fail(1007, "no UTF-8")
        super().send_receive_event_to_app()

    def _fail(self, code: int, reason: str) -> None:
        self.frames = []
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()


class _Protocol(ServerProtocol):
    """Takes a close within a message for what it is."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)
