"""Databases of the harness's own: a fresh one in a PostgreSQL that runs, or whole servers that may be killed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

POSTGRES = os.environ.get("SHOPTALK_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")


@contextmanager
def fresh_database() -> Iterator[str]:
    """The address of an empty database, dropped afterwards.

    Raises:
        SystemExit: no PostgreSQL answers.
    """
    name = f"faults_{secrets.token_hex(6)}"
    server = POSTGRES.replace("+psycopg", "")
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # pyright: ignore
    except psycopg.OperationalError as error:
        raise SystemExit(f"No PostgreSQL at {server} ({error}); set SHOPTALK_TEST_POSTGRES.") from None
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # pyright: ignore
