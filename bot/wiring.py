"""Settings -> Bot: the only file that names concrete classes.

Each heavy import stands inside its branch, so that a command pays for what it uses only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bot import claims, evidence, prompt, reading, tokens, turn
from bot.errors import SettingsError
from bot.parts import Bot
from bot.protocols import Bus, Engine, Orders, Retriever, SentimentModel, Store
from bot.settings import ROOT, Settings
from bot.types import Language, Order, Release

SHOP_NAMES: dict[Language, str] = {"en": "Fernhill", "zh": "蕨岭"}
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def templates(settings: Settings) -> dict[Language, prompt.Templates]:
    """The templates of both languages."""
    return prompt.load_templates(settings.prompts)


def engine(settings: Settings, with_templates: dict[Language, prompt.Templates]) -> Engine:
    """What generates, by `BOT_ENGINE`."""
    match settings.engine:
        case "local":
            from bot.engine import local

            return local.load(
                settings.model, settings.adapter_folder, with_templates,
                device=settings.device, dtype=settings.dtype, quantize=settings.quantize,
            )  # fmt: skip
        case "http":
            from bot.engine.http import HttpEngine

            key = settings.engine_key.get_secret_value() if settings.engine_key else None
            return HttpEngine(settings.engine_url, settings.model, with_templates, key=key)
        case "scripted":
            from bot.engine.scripted import ScriptedEngine

            return ScriptedEngine(with_templates)


def retriever(settings: Settings, *, progress: bool = False) -> Retriever:
    """The index over the documents, built if they have changed."""
    from bot.retrieval.hybrid import build_or_load

    return build_or_load(settings.knowledge, settings.data / "index", settings.questions, progress=progress)


def sentiment() -> SentimentModel:
    """The built-in classifier."""
    from bot.sentiment.classifier import load

    return load(ROOT / "bot/models/sentiment")


def orders(settings: Settings) -> Orders:
    """The shop's orders, by what `BOT_ORDERS` looks like."""
    if settings.orders.startswith(("http://", "https://")):
        from bot.orders.http import HttpOrders

        key = settings.orders_key.get_secret_value() if settings.orders_key else None
        return HttpOrders(settings.orders, key=key)
    if settings.orders:
        from bot.orders.sample import SampleOrders

        return SampleOrders(Path(settings.orders))
    return _NoOrders()


class _NoOrders:
    """A shop that shares no orders."""

    def lookup(self, number: str, shopper_id: str) -> Order | None:
        return None

    def recent(self, shopper_id: str, limit: int = 3) -> list[Order]:
        return []


def store(settings: Settings) -> Store:
    """The log and the queue."""
    from bot.store.sql import open_store

    if settings.database.startswith("sqlite:///"):
        try:
            Path(settings.database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{settings.data} cannot be made: {error.strerror}. Set `BOT_DATA` to a folder that can be written."
            ) from None
    return open_store(settings.database)


def bus(settings: Settings) -> Bus:
    """Who tells whom: in this process, or over Redis between replicas."""
    if settings.redis_url:
        from bot.bus.redis import RedisBus

        return RedisBus(settings.redis_url)
    from bot.bus.memory import MemoryBus

    return MemoryBus()


def bot(settings: Settings, *, progress: bool = False) -> Bot:
    """All parts of a turn."""
    with_templates = templates(settings)
    try:
        # ASCII: a Han character beside a number is no part of its word.
        order_pattern = re.compile(settings.order_pattern, re.IGNORECASE | re.ASCII)
    except re.error as error:
        raise SettingsError(f"`BOT_ORDER_PATTERN` is no regular expression: {error}.") from None
    the_store = store(settings)
    the_retriever = retriever(settings, progress=progress)
    the_engine = engine(settings, with_templates)
    return Bot(
        engine=the_engine,
        retriever=the_retriever,
        sentiment=sentiment(),
        orders=orders(settings),
        store=the_store,
        templates=with_templates,
        release=release(settings, the_engine, the_retriever),
        shop_names={**SHOP_NAMES, **({"en": settings.shop, "zh": settings.shop} if settings.shop else {})},
        order_pattern=order_pattern,
        top_k=settings.top_k,
        min_score=settings.min_score,
        min_rule=settings.min_rule,
        min_overlap=settings.min_overlap,
        model_may_abstain=settings.model_may_abstain,
        prompt_tokens=settings.prompt_tokens,
        max_tokens=settings.max_tokens,
        turn_timeout_s=settings.turn_timeout_s,
    )


def release(settings: Settings, the_engine: Engine, the_retriever: Retriever) -> Release:
    """One id for everything that shapes an answer."""
    rules = b"".join(Path(str(module.__file__)).read_bytes() for module in (claims, evidence, reading, turn))
    adapter = ""
    if settings.engine == "local" and settings.adapter_folder is not None:
        adapter = hashlib.sha256((settings.adapter_folder / "shoptalk.json").read_bytes()).hexdigest()[:12]
    found = Release(
        base=the_engine.name,
        adapter=adapter,
        fingerprint=the_engine.fingerprint,
        index=the_retriever.generation,
        rules=hashlib.sha256(
            rules + str((settings.min_score, settings.min_rule, settings.min_overlap, settings.top_k)).encode()
        ).hexdigest()[:12],
    )
    return Release(**{**asdict(found), "id": hashlib.sha256(json.dumps(asdict(found)).encode()).hexdigest()[:16]})


@dataclass(frozen=True)
class Serving:
    """The app and what its start should print."""

    app: Any
    drain: Callable[[], Awaitable[None]]
    """What comes before its end."""
    code: str | None
    """A one-time sign-in code for the desk; None where fixed keys are set."""
    demo: bool


def signer(settings: Settings) -> tokens.Tokens:
    """What mints and reads tokens."""
    if settings.redis_url and not settings.token_secret:
        raise SettingsError("`BOT_REDIS_URL` is for replicas, which share one key: set `BOT_TOKEN_SECRET` as well.")
    key = settings.token_secret.get_secret_value() if settings.token_secret else tokens.load_key(settings.data)
    if len(key.encode()) < 32:
        raise SettingsError("`BOT_TOKEN_SECRET` needs at least 32 bytes.")
    fixed = tokens.parse_agent_keys(settings.agent_keys.get_secret_value()) if settings.agent_keys else {}
    return tokens.Tokens(key, fixed)


def serving(settings: Settings, *, progress: bool = False) -> Serving:
    """The whole server."""
    from bot import desk, server
    from bot.drain import drain
    from bot.engine.bounded import BoundedEngine
    from bot.limits import Limits
    from bot.live import Live
    from bot.sockets import Door

    signing = signer(settings)
    parts = bot(settings, progress=progress)
    parts = replace(parts, engine=BoundedEngine(parts.engine, settings.generations))
    live = Live(parts, bus(settings), grace_s=settings.grace_s)
    origins = frozenset(filter(None, (origin.strip().rstrip("/") for origin in settings.origins.split(","))))
    limits = Limits(
        connections=settings.connections, per_address=settings.connections_per_address,
        messages_per_minute=settings.messages_per_minute, address_per_minute=settings.address_per_minute,
    )  # fmt: skip
    door = Door(live, signing, origins, limits)
    the_desk = desk.Desk(live, capacity=settings.capacity, lease_s=settings.lease_s)
    sample = settings.knowledge / "products.json", Path(settings.orders)
    demo = None
    if settings.demo and settings.host in LOOPBACK and all(path.is_file() for path in sample):
        from bot.demo import SampleShop
        from bot.retrieval.documents import load_documents

        demo = SampleShop(*sample, load_documents(settings.knowledge))
    app = server.create_app(live, door, the_desk, demo=demo)
    code = None if signing.agent_keys else signing.code("agent-1")
    return Serving(app, partial(drain, door), code, demo is not None)
