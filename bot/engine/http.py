"""Generates over HTTP: vLLM and whatever else speaks its chat completions API.

Knows nothing of turns. Closing the iterator closes the upstream connection, which stops the generation there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

import httpx

from bot import prompt
from bot.errors import EngineError
from bot.types import Language, Message


class HttpEngine:
    """A chat completions endpoint.

    Args:
        url: up to and including `/v1`.
        model: the name that the endpoint serves; with vLLM also a LoRA adapter's.
        key: sent as a bearer token if there is one.
    """

    def __init__(
        self,
        url: str,
        model: str,
        templates: Mapping[Language, prompt.Templates],
        *,
        key: str | None = None,
        timeout_s: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = model
        self.fingerprint = prompt.fingerprint(templates, None)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, transport=transport
        )

    def count(self, messages: Sequence[Message]) -> int:
        """An upper estimate, since the tokenizer lives elsewhere: a token a Han character, one per three others."""
        text = "".join(m.content for m in messages)
        han = sum(c >= "\u2e80" for c in text)
        return han + (len(text) - han + 2) // 3 + 8 * len(messages)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, only: Sequence[str] = ()
    ) -> AsyncGenerator[str, None]:
        """Text as it arrives.

        Raises:
            EngineError: the endpoint is away, refuses, or breaks off.
        """
        body = {
            "model": self.name,
            # "<|" begins the special tokens of most models: nobody ends their own message by typing one.
            "messages": [{"role": m.role, "content": m.content.replace("<|", "< |")} for m in messages],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
        }
        try:
            async with self._client.stream("POST", "/chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise EngineError(
                        f"The engine answered {response.status_code}; see its log, and `BOT_ENGINE_URL`."
                    )
                async for data in _events(response):
                    if data == "[DONE]":
                        return
                    if text := (json.loads(data)["choices"] or [{}])[0].get("delta", {}).get("content"):
                        yield str(text)
                raise EngineError("The engine broke off in mid-answer.")
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineError(f"The engine cannot be used: {type(error).__name__}: {error}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """The `data` of each server-sent event. `aiter_lines` would also end lines at U+2028, which JSON may hold."""
    rest = b""
    async for block in response.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if data := _data(line):
                yield data
    if data := _data(rest):
        yield data


def _data(line: bytes) -> str:
    return line.removeprefix(b"data:").strip().decode() if line.startswith(b"data:") else ""
