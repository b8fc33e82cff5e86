"""What a server tells, held to the frames' models: every client of the tests reads through here."""

from __future__ import annotations

import json
from typing import Any

from bot.asyncapi import FRAMES


def read(raw: str | bytes, path: str) -> dict[str, Any]:
    """A frame that came on the socket at this path (`/v1/chat`, `/v1/agent`).

    Raises:
        ValueError: nothing says that it is sent, or it has a field more, less or other than is said.
    """
    frame = json.loads(raw)
    model = FRAMES[path.removeprefix("/v1/")]["send"].get(frame["type"])
    if model is None:
        raise ValueError(f"No model says that `{frame['type']}` is sent on {path}.")
    model.model_validate_json(raw, strict=True, extra="forbid")
    return frame
