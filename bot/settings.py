"""The settings: the only file that reads the environment (`BOT_*`) and `.env`.

Knows names, defaults and ranges; builds nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Each field is an environment variable with the prefix `BOT_`."""

    model_config = SettingsConfigDict(env_prefix="BOT_", env_file=".env", extra="ignore", frozen=True)

    shop: str = Field(
        "", description="The shop's name as the bot says it; empty: Fernhill in English, 蕨岭 in Chinese."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data: Path = Field(Path(".data"), description="Folder of the state: database, index, signing key.")
    knowledge: Path = Field(ROOT / "knowledge", description="Folder of the documents, `<language>/<category>/*.md`.")
    prompts: Path = Field(ROOT / "prompts", description="Folder of the templates.")
    questions: Path | None = Field(
        ROOT / "finetune/data/train.jsonl", description="Known questions that help retrieval; empty: none."
    )
    database_url: str = Field("", description="SQLAlchemy address; empty: SQLite in `BOT_DATA`.")
    redis_url: str = Field("", description="Redis, needed for more than one replica; empty: none.")
    engine: Literal["local", "http", "scripted"] = Field("local", description="What generates.")
    model: str = Field(str(ROOT / "bot/models/base"), description="Base model: a folder or a name on the hub.")
    adapter: Path | None = Field(
        None, description="LoRA adapter's folder; empty: the built-in one with the built-in base, else none."
    )
    engine_url: str = Field("http://127.0.0.1:8001/v1", description="Chat completions endpoint for `http`.")
    engine_key: SecretStr | None = Field(None, description="Its bearer token.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where `local` generates.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Precision of `local`.")
    quantize: Literal["none", "4bit"] = Field("none", description="`4bit` loads the base as NF4 (bitsandbytes).")
    orders: str = Field(
        str(ROOT / "knowledge/orders.json"),
        description="The shop's orders: a JSON file, an http(s) address, or empty.",
    )
    orders_key: SecretStr | None = Field(None, description="Bearer token of the orders' address.")
    order_pattern: str = Field(r"\bFH\d{8}\b", description="Regular expression of an order number.")
    token_secret: SecretStr | None = Field(
        None,
        description="Key of all signed tokens (JWT, HS256), shared with the shop's server and by replicas; empty: one generated in `BOT_DATA`.",
    )
    agent_keys: SecretStr | None = Field(
        None, description="Human agents' sign-ins, `name:key,name:key`; empty: one-time codes (`bot agent NAME`)."
    )
    origins: str = Field("", description="Sites that may open the chat, comma-separated; empty: the server's own.")
    demo: bool = Field(True, description="Serve the sample shop page at `/` (only for addresses of this machine).")
    top_k: int = Field(3, ge=1, le=10, description="Passages in a prompt.")
    min_score: float = Field(0.5, ge=0, le=1, description="Below it a passage is no evidence.")
    min_rule: float = Field(
        0.4, ge=0, le=1, description="A rule below this probability is quoted beside others, not answered with."
    )
    min_overlap: float = Field(
        1.0,
        ge=0.5,
        le=1,
        description="Share of a sentence's content words that its rule must hold, 0.6 for a large model; "
        "1, for the built-in one, lets it say nothing but whole rules.",
    )
    model_may_abstain: bool = Field(
        False, description="Believe a model that says it does not know; the built-in one says so too often."
    )
    prompt_tokens: int = Field(1024, ge=128, description="Budget of a prompt, in tokens.")
    max_tokens: int = Field(160, ge=8, description="Longest answer, in tokens.")
    turn_timeout_s: float = Field(60.0, gt=0, description="A turn that takes longer becomes a handoff.")
    grace_s: float = Field(15.0, ge=0, description="After a disconnect an answer is still written for so long.")
    capacity: int = Field(5, ge=1, description="Conversations that one human agent may hold.")
    lease_s: float = Field(120.0, ge=1, le=3600, description="A human agent gone for longer loses the conversation.")
    messages_per_minute: int = Field(30, ge=1, description="Messages that one shopper may send.")
    address_per_minute: int = Field(
        600, ge=1, description="Messages and new conversations that may come from one address."
    )
    connections: int = Field(10_000, ge=1, description="Sockets that this process holds open.")
    connections_per_address: int = Field(1_000, ge=1, description="Of these, from one address.")
    generations: int = Field(32, ge=1, description="Answers generated at once; the others wait.")
    trusted_proxies: str = Field(
        "127.0.0.1", description="Addresses or networks whose `X-Forwarded-For` is believed, comma-separated."
    )

    @field_validator("adapter", "questions", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def database(self) -> str:
        """The database's address, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data / 'bot.db'}"

    @property
    def adapter_folder(self) -> Path | None:
        """The adapter to load: the built-in one belongs to the built-in base."""
        if (
            self.adapter is None
            and self.model == str(ROOT / "bot/models/base")
            and "adapter" not in self.model_fields_set
        ):
            return ROOT / "bot/models/adapter"
        return self.adapter


def read(**overrides: object) -> Settings:
    """Settings from the environment, `.env` and flags, flags first.

    Raises:
        SettingsError: names the variable, its value's fault and what would do.
    """
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})  # pyright: ignore
    except ValidationError as error:
        # A secret has no wrong value: what is shown here is none.
        raise SettingsError(
            " ".join(
                f"`BOT_{str(fault['loc'][0]).upper()}` is {fault['input']!r}: "
                f"{fault['msg'][:1].lower()}{fault['msg'][1:]}."
                for fault in error.errors()
            )
        ) from None
