"""Signed tokens and one-time codes: who a shopper is, who may sit at the desk.

Everything is a JWT (HS256) under one key, with an audience that keeps the uses apart.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import jwt
from jwt.types import Options

from bot.errors import SettingsError

SHOPPER, AGENT, CODE = "shopper", "agent", "desk-code"
AGENT_HOURS = 12
CODE_MINUTES = 60

Spend = Callable[[str], Awaitable[bool]]


def load_key(folder: Path) -> str:
    """The signing key kept in `<folder>/key`, generated on the first start, readable by its owner only."""
    path = folder / "key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with NamedTemporaryFile("w", dir=folder, encoding="ascii") as made, suppress(FileExistsError):
                made.write(secrets.token_urlsafe(48))
                made.flush()
                os.fsync(made.fileno())
                os.link(made.name, path)  # Whole or not at all, and never over another's.
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(f"{path} cannot be used: {error.strerror}. Set `BOT_DATA` to a folder of yours.") from None


def new_secret() -> tuple[str, str]:
    """A random token, and the hash under which it is stored."""
    token = secrets.token_urlsafe(24)
    return token, hashed(token)


def hashed(token: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(token: str, stored_hash: str) -> bool:
    """Whether a token has this hash, in constant time."""
    return hmac.compare_digest(hashed(token), stored_hash)


@dataclass(frozen=True)
class Tokens:
    """Mints and reads tokens."""

    key: str
    agent_keys: Mapping[str, str] = field(default_factory=dict)
    """Fixed sign-ins: name to key."""

    def mint(self, audience: str, subject: str, *, lifetime_s: float, **claims: str) -> str:
        """A token for `subject`."""
        now = time.time()
        body = {"sub": subject, "aud": audience, "iat": int(now), "exp": int(now + lifetime_s)}
        return jwt.encode({**body, **claims}, self.key, algorithm="HS256")

    def read(self, audience: str, token: str) -> str | None:
        """The subject of a valid token, else None. A shopper's token needs no audience: the shop signs it."""
        claims = self._claims(audience, token)
        return claims["sub"] if claims else None

    def _claims(self, audience: str, token: str) -> Mapping[str, Any] | None:
        try:
            # When it was made is nobody's limit: the clock of the machine that made it may be ahead of ours.
            options: Options = {"require": ["sub", "exp"], "verify_aud": audience != SHOPPER, "verify_iat": False}
            claims = jwt.decode(token, self.key, algorithms=["HS256"], audience=audience, options=options)
        except (jwt.PyJWTError, UnicodeError, RecursionError):  # the last two of text that only looks like a token
            return None
        if audience == SHOPPER and claims.get("aud", SHOPPER) != SHOPPER:
            return None
        subject = claims["sub"]
        return claims if isinstance(subject, str) and 0 < len(subject) <= 128 else None

    def code(self, name: str) -> str:
        """A one-time sign-in code for the desk."""
        return self.mint(CODE, name, lifetime_s=CODE_MINUTES * 60, jti=secrets.token_hex(8))

    async def sign_in(self, code: str, name: str, spend: Spend) -> tuple[str, str] | None:
        """(agent id, token) for a code or a fixed key; None if it is wrong, too old or used.

        Args:
            spend: marks the id of a code as used; False if it was already.
        """
        agent = self._by_key(code)
        if agent is None:
            claims = self._claims(CODE, code)
            if claims is None or "jti" not in claims or not await spend(claims["jti"]):
                return None
            agent = claims["sub"]
        return agent, self.mint(AGENT, agent, lifetime_s=AGENT_HOURS * 3600, name=name or agent)

    def _by_key(self, code: str) -> str | None:
        given = code.encode("utf-8", "replace")
        return next((a for a, key in self.agent_keys.items() if hmac.compare_digest(key.encode(), given)), None)

    def agent(self, token: str) -> tuple[str, str] | None:
        """(agent id, name) of a desk token, else None."""
        claims = self._claims(AGENT, token)
        return (claims["sub"], str(claims.get("name") or claims["sub"])[:64]) if claims else None


def parse_agent_keys(text: str) -> dict[str, str]:
    """`name:key,name:key` as a mapping.

    Raises:
        SettingsError: a part lacks its key, or a key is shorter than 16 characters.
    """
    keys: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, colon, key = part.partition(":")
        if not colon or not name or len(key) < 16:
            raise SettingsError("`BOT_AGENT_KEYS` needs `name:key` with keys of at least 16 characters.")
        keys[name] = key
    return keys
