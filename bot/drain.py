"""How a process goes: no new turns, running answers to their end, and every socket told when to come back."""

from __future__ import annotations

import asyncio
import logging

from bot.sockets import Closed, Door, pause_ms

log = logging.getLogger(__name__)

ANSWERS_S = 18.0
"""How long running answers may take; then they are recorded as they stand."""
SOCKETS_S = 6.0
"""How long the sockets may take to close. With what uvicorn needs, all ends within 30 s."""


async def drain(door: Door, *, answers_s: float = ANSWERS_S) -> None:
    """From now on not ready; returns once no answer is being written and the sockets are closed."""
    door.draining.set()
    live = door.live
    log.info("draining: %d sockets", len(door.open))
    for sock in list(door.open):
        if sock.conversation_id is None or not live.busy(sock.conversation_id):
            sock.end(Closed("going_away", pause_ms(door)))
    await live.aclose(answers_s)
    await asyncio.sleep(0)  # for the listeners to hear the last events
    for sock in list(door.open):
        sock.end(Closed("going_away", pause_ms(door)))
    try:
        async with asyncio.timeout(SOCKETS_S):
            while door.open:
                await asyncio.sleep(0.02)
    except TimeoutError:
        log.warning("%d sockets did not close", len(door.open))
