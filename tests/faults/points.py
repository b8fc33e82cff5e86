"""Named crash points: places in the running server where the process kills itself at the n-th pass.

The product knows nothing of them: `arm` wraps its functions in the process that is to die.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.websockets import WebSocket

from bot.live import Live
from bot.news import News
from bot.store import log, queue, turns
from bot.store.sql import SqlStore


class Point(NamedTuple):
    """A function, and when to die: on entering it or once it has returned."""

    owner: Any
    name: str
    after: bool
    here: Callable[[tuple[Any, ...], Any], Any] = lambda args, result: True
    """Whether this call counts, by its arguments and its result (None on entering)."""


def _called_by(name: str) -> Callable[[tuple[Any, ...], Any], bool]:
    return lambda args, result: sys._getframe(3).f_code.co_name == name  # 1 and 2 are `passed` and `around`


POINTS = {
    # a shopper's message
    "before_message_commit": Point(log, "append_message", True),
    "after_commit_before_ack": Point(SqlStore, "append_message", True),
    "before_turn": Point(Live, "start", False),
    "after_ack": Point(WebSocket, "send_text", True, lambda args, result: '"type":"ack"' in args[1]),
    # its answer
    "after_turn_taken": Point(SqlStore, "take_turn", True, lambda args, result: result),
    "at_delta": Point(News, "publish", False, lambda args, result: args[2] == "message.delta"),
    "before_completed_commit": Point(turns, "complete", True),
    "after_completed_before_telling": Point(SqlStore, "complete", True),
    # the queue, between the statements of one transaction and after its commit
    "in_hand_off": Point(queue, "_change_owner", True, _called_by("hand_off")),
    "in_claim": Point(queue, "_change_owner", True, _called_by("claim")),
    "in_release": Point(queue, "_change_owner", True, _called_by("release")),
    "in_expire": Point(queue, "_change_owner", True, _called_by("expire")),
    "after_hand_off_commit": Point(SqlStore, "hand_off", True),
    "after_claim_commit": Point(SqlStore, "claim", True),
    "after_release_commit": Point(SqlStore, "release", True),
    "after_expire_commit": Point(SqlStore, "expire", True, lambda args, result: result),
    # a human agent's message, and a start
    "before_reply_commit": Point(log, "append_reply", True),
    "after_reply_commit": Point(SqlStore, "append_reply", True),
    "in_recovery": Point(Live, "recover", True),
}


def arm(spec: str) -> None:
    """Die at `point:n`, the n-th pass; an empty text arms nothing."""
    if not spec:
        return
    name, _, nth = spec.partition(":")
    point, left = POINTS[name], int(nth or 1)
    inside = getattr(point.owner, point.name)

    def passed(args: tuple[Any, ...], result: Any) -> None:
        nonlocal left
        if point.here(args, result):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    # Written out twice: a frame between would hide who called.
    if inspect.iscoroutinefunction(inside):

        @functools.wraps(inside)
        async def around(*args: Any, **named: Any) -> Any:
            if not point.after:
                passed(args, None)
            result = await inside(*args, **named)
            if point.after:
                passed(args, result)
            return result
    else:

        @functools.wraps(inside)
        def around(*args: Any, **named: Any) -> Any:
            if not point.after:
                passed(args, None)
            result = inside(*args, **named)
            if point.after:
                passed(args, result)
            return result

    setattr(point.owner, point.name, around)
