"""How much one shopper, one address and all together may ask of this process.

Counts only: what is said to who asks for more is for the doors.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import Literal

WINDOW_S = 60.0
FRAMES = 20
"""Frames of any kind that one socket may send for each message that a shopper may."""


class Rate:
    """Counts what each key did in the last minute.

    Args:
        now: a clock for tests; seconds.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._now = per_minute, now
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._swept = now()

    def room(self, key: str | None) -> bool:
        """Whether this key did less in the last minute than it may; then this counts too. None always may."""
        if key is None:
            return True
        now = self._now()
        if now > self._swept + WINDOW_S:
            self._swept = now
            for old in [k for k, times in self._recent.items() if times[-1] < now - WINDOW_S]:
                del self._recent[old]
        times = self._recent[key]
        while times and times[0] < now - WINDOW_S:
            times.popleft()
        if len(times) >= self._per_minute:
            return False
        times.append(now)
        return True

    def __len__(self) -> int:
        return len(self._recent)


class Limits:
    """The limits of one process, and how far they are used.

    Args:
        connections: sockets open at once.
        per_address: of these, from one address.
        messages_per_minute: of one shopper, of each kind of frame.
        address_per_minute: of one address, new conversations and frames of any kind together.
    """

    def __init__(
        self,
        *,
        connections: int = 10_000,
        per_address: int = 1_000,
        messages_per_minute: int = 30,
        address_per_minute: int = 600,
    ) -> None:
        self.connections, self.per_address = connections, per_address
        self.frames_per_minute = FRAMES * messages_per_minute
        """Of one socket, whatever they are."""
        self.shopper = Rate(messages_per_minute)
        self.address = Rate(address_per_minute)
        self._open: dict[str, int] = {}
        self._all = 0

    def enter(self, address: str | None) -> Literal["try_later", "too_fast"] | None:
        """One more socket; or why not. Each that got in must leave."""
        if self._all >= self.connections:
            return "try_later"
        if address is not None:
            if self._open.get(address, 0) >= self.per_address:
                return "too_fast"
            self._open[address] = self._open.get(address, 0) + 1
        self._all += 1
        return None

    def leave(self, address: str | None) -> None:
        """One socket less."""
        self._all -= 1
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


def address_of(host: str) -> str | None:
    """Whose limits a socket counts for; None on this machine, where a proxy that names nobody speaks for all."""
    try:
        return None if ip_address(host).is_loopback else host
    except ValueError:  # a Unix socket, or a proxy that says something else
        return host or None
