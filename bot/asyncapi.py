"""What both sockets read and send, as JSON Schema and as an AsyncAPI document, made from the frames' models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from bot import wire, wire_desk, wire_sent

FRAMES: dict[str, dict[str, Mapping[str, type[BaseModel]]]] = {
    "chat": {"receive": wire.SHOPPER_FRAMES, "send": wire_sent.TO_SHOPPERS},
    "agent": {"receive": wire.AGENT_FRAMES, "send": wire_desk.TO_AGENTS},
}
"""By socket, and by what the server does with them."""


@cache
def json_schema() -> dict[str, Any]:
    """JSON Schema of every frame, by socket and direction; each stands alone."""
    return {
        socket: {action: {name: _schema(model) for name, model in frames.items()} for action, frames in both.items()}
        for socket, both in FRAMES.items()
    }


@cache
def document(title: str, version: str) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of both sockets, from where the server stands."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for socket, both in json_schema().items():
        channels[socket] = channel = {"address": f"/v1/{socket}", "messages": {}}
        for action, frames in both.items():
            for name, payload in frames.items():
                messages[f"{socket}.{action}.{name}"] = {
                    "name": name, "summary": payload["description"], "payload": payload
                }  # fmt: skip
                channel["messages"][f"{action}.{name}"] = {
                    "$ref": f"#/components/messages/{socket}.{action}.{name}"
                }  # fmt: skip
            operations[f"{socket}.{action}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{socket}"},
                "messages": [{"$ref": f"#/channels/{socket}/messages/{action}.{name}"} for name in frames],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema without references, which would lead elsewhere inside a larger document."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def filled(part: Any) -> Any:
        match part:
            case {"$ref": str(name), **beside}:
                return {**filled(definitions[name.removeprefix("#/$defs/")]), **beside}
            case dict():
                return {key: filled(value) for key, value in part.items()}
            case list():
                return [filled(value) for value in part]
        return part

    return filled(schema)
