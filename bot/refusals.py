"""Why something was not done, in the words of both doors and of the REST routes.

Tells what the other side may know; what the operator needs stands in the log.
"""

from __future__ import annotations

import uuid
from typing import Any

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
    return 503, error_data("try_later", "Please try again.", True)
