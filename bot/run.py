"""uvicorn around the app: how it listens, what it lets in, and how it ends.

Knows nothing of the bot but its app and its drain.
"""

from __future__ import annotations

import gc
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import uvicorn

from bot.errors import PortInUse
from bot.websocket import WebSocket

SIGNALS = (signal.SIGTERM, signal.SIGINT)
KERNEL_BYTES = 64 * 1024
"""What the kernel holds for one reader; Linux doubles it."""
STALLED_MS = 30_000
"""A reader that takes nothing for so long is cut off (Linux)."""
UVICORN_S = 3
"""How long connections that did not close may take once all is drained."""
SWITCH_S = 0.0002
"""How long a thread may keep the interpreter while another asks for it. The database's thread asks at every statement:
with Python's own 5 ms it writes half as much beside a busy event loop (`python -m tests.bench.writes`)."""
COLLECT = (20_000, 10, 10)
"""When garbage in circles is looked for (`gc.set_threshold`). With Python's own 700 an eighth of the time went there,
over objects that live as long as the program or the connection does."""
MAX_MESSAGE_BYTES = 70_000
"""More than wire.MAX_FRAME_BYTES, so that a frame a little too large is answered; beyond, 1009 and nothing is kept."""


def settle() -> None:
    """Set this process up for one busy event loop beside threads; call it once all that lasts is loaded.

    It may open as many files as the system allows: each connection is one.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # macOS names a limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*COLLECT)
    gc.collect()
    gc.freeze()


def listen(host: str, port: int) -> socket.socket:
    """Take the port before the models are loaded, so that a wrong one is told at once.

    Raises:
        PortInUse: the address is not ours, or another program listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Every connection inherits these: a slow reader holds little, and not for ever.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise PortInUse(
            f"{host}:{port} cannot be listened on: {error.strerror}. Stop what runs there, or choose another with `--port`."
        ) from None
    return listening


class Server(uvicorn.Server):
    """The first signal drains, then ends with status 0; a second one ends at once.

    Args:
        drain: awaited before uvicorn closes its connections.
        trusted_proxies: whose `X-Forwarded-For` is believed, comma-separated.
    """

    def __init__(self, app: Any, drain: Callable[[], Awaitable[None]], *, trusted_proxies: str = "") -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                ws=WebSocket,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                ws_ping_interval=None,  # the protocol has a ping of its own
                forwarded_allow_ips=trusted_proxies,
                timeout_graceful_shutdown=UVICORN_S,
            )
        )
        self._drain = drain

    async def main_loop(self) -> None:
        """Serve until a signal comes, then drain."""
        await super().main_loop()
        await self._drain()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Ask to end; from now on a signal does what it does by default."""
        self.should_exit = True
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
