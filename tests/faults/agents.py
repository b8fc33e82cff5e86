"""Human agents over REST: they claim what waits, race for it, speak, give back, close, or just go away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.oracle import Oracle
from tests.faults.process import AGENTS


class Agent:
    """One human agent, who signs in once."""

    def __init__(self, url: str, name: str, oracle: Oracle, rng: random.Random) -> None:
        self.name, self.oracle, self.rng = name, oracle, rng
        self.http = httpx.AsyncClient(base_url=url, timeout=10, trust_env=False)
        self.said = 0

    async def ask(self, method: str, path: str, **body: Any) -> httpx.Response | None:
        """One request; None if the server is away, so that nobody knows whether it was carried out."""
        try:
            if "Authorization" not in self.http.headers:
                key = {"code": AGENTS[self.name], "name": self.name.title()}
                signed_in = await self.http.post("/v1/agent/session", json=key)
                self.http.headers["Authorization"] = f"Bearer {signed_in.json()['token']}"
            answer = await self.http.request(method, path, json=body or None)
        except (httpx.HTTPError, ValueError, KeyError):
            return None
        if answer.status_code >= 500 and answer.status_code != 503:
            self.oracle.breaks(f"P17 {method} {path}: status {answer.status_code}")
        return answer

    async def waiting(self) -> list[str]:
        """Who waits, first served first."""
        answer = await self.ask("GET", "/v1/queue")
        return [h["conversation_id"] for h in answer.json()["waiting"]] if answer and answer.is_success else []

    async def claim(self, conversation_id: str) -> bool:
        """Whether the claim is known to be won."""
        answer = await self.ask("POST", f"/v1/queue/{conversation_id}/claim")
        if answer is None or not answer.is_success:
            return False
        self.oracle.claimed(conversation_id, answer.json()["epoch"], self.name)
        return True

    async def say(self, conversation_id: str) -> bool:
        """Send a message until it is acknowledged or refused."""
        known = self.oracle.conversations.get(conversation_id)
        if known is None:  # its shopper has not heard of it
            return False
        self.said += 1
        client_id = f"{self.name}-{id(self)}-{self.said}"
        known.said[client_id] = f"{self.name} helps. [{client_id}]"
        body = {"client_id": client_id, "text": known.said[client_id]}
        for _ in range(20):
            answer = await self.ask("POST", f"/v1/conversations/{conversation_id}/messages", **body)
            if answer is not None and answer.is_success:
                self.oracle.acked(conversation_id, client_id, answer.json()["message_id"], answer.json()["seq"])
                return True
            if answer is not None and answer.status_code != 503:
                return False
            await asyncio.sleep(0.2)
        return False

    async def let_go(self, conversation_id: str) -> None:
        """Give it to the bot or the queue, close it, or leave it to its lease."""
        match self.rng.choice(("bot", "bot", "queue", "close", "nothing")):
            case "bot" | "queue" as to:
                await self.ask("POST", f"/v1/queue/{conversation_id}/release", to=to, note="n")
            case "close":
                await self.ask("POST", f"/v1/queue/{conversation_id}/close", resolution="done")

    async def serve(self, conversation_id: str) -> None:
        """Claim, speak and let go."""
        if await self.claim(conversation_id):
            for _ in range(self.rng.randint(0, 2)):
                await self.say(conversation_id)
            await self.let_go(conversation_id)

    async def work(self, stopping: Callable[[], bool]) -> None:
        """Serve until told to stop, three at a time of the first in the queue, which others want too."""
        while not stopping():
            first = (await self.waiting())[:8]
            await asyncio.gather(*(self.serve(id) for id in self.rng.sample(first, min(3, len(first)))))
            await asyncio.sleep(0.1 * self.rng.random())
        await self.http.aclose()
