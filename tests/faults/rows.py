"""The third view: raw SQL over the server's database, read without any of its code."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.faults.oracle import TOLD, Oracle

Log = list[tuple[int, str, int, dict[str, Any]]]
PRIVATE = ("mood", "note", "passage_ids", "client_id")


class Rows(NamedTuple):
    """Every row that the promises are about."""

    owners: dict[str, tuple[str, int]]
    """(owner, last seq) of each conversation."""
    logs: dict[str, Log]
    messages: list[tuple[str, str, str, int, str | None]]
    """Shoppers': (conversation, message id, client id, seq, outcome)."""
    handoffs: list[tuple[str, str | None, float | None]]
    """(conversation, who holds it, when it was closed)."""


def read(where: str | Path, *, dead: bool = False) -> Rows:
    """Read a SQLite file or a PostgreSQL address.

    Args:
        dead: the server is dead: copy the file first, so that what it left is recovered by the server alone.
    """
    if not isinstance(where, Path):
        with psycopg.connect(where) as postgres:
            postgres.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ  # one moment for all tables
            return _rows(lambda sql: postgres.execute(sql).fetchall())  # pyright: ignore
    if not dead:
        with closing(sqlite3.connect(f"file:{where}?mode=ro", uri=True, timeout=30)) as sqlite:
            sqlite.execute("BEGIN")
            return _rows(lambda sql: sqlite.execute(sql).fetchall())
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            if (left := Path(f"{where}{suffix}")).exists():
                shutil.copy(left, folder)
        return read_file(Path(folder) / where.name)


def read_file(path: Path) -> Rows:
    """Read a SQLite file that nobody else uses, once it has proved to be whole.

    Raises:
        sqlite3.DatabaseError: it is no whole database.
    """
    with closing(sqlite3.connect(path)) as sqlite:
        if (found := sqlite.execute("PRAGMA integrity_check").fetchone()) != ("ok",):
            raise sqlite3.DatabaseError(found)
        return _rows(lambda sql: sqlite.execute(sql).fetchall())


def _rows(query: Any) -> Rows:
    logs: dict[str, Log] = defaultdict(list)
    for id, seq, type, epoch, data in query(
        "SELECT conversation_id, seq, type, epoch, data FROM events ORDER BY conversation_id, seq"
    ):
        logs[id].append((seq, type, epoch, json.loads(data) if isinstance(data, str) else data))
    return Rows(
        {id: (owner, seq) for id, owner, seq in query("SELECT id, owner, seq FROM conversations")},
        logs,
        query("SELECT conversation_id, message_id, client_id, seq, outcome FROM messages"),
        query("SELECT conversation_id, agent_id, closed_at FROM handoffs"),
    )


def as_shopper_sees(log: Log) -> Log:
    """A log without what only the desk may read."""
    return [(seq, type, epoch, _public(data)) for seq, type, epoch, data in log]


def _public(data: dict[str, Any]) -> dict[str, Any]:
    data = {key: value for key, value in data.items() if key not in PRIVATE}
    return {**data, "owner": data["owner"].partition(":")[0]} if "owner" in data else data


def check_acks(oracle: Oracle, rows: Rows) -> None:
    """Right after a death: all that was acknowledged or told is there."""
    for id, known in oracle.conversations.items():
        there = {seq: data for seq, _, _, data in rows.logs.get(id, [])}
        for client_id, (message_id, seq) in list(known.acked.items()):
            if there.get(seq, {}).get("message_id") != message_id:
                oracle.breaks(f"P1 {id} {client_id}: acked at seq {seq}, lost")
        if lost := [seq for seq in known.seen if seq not in there]:
            oracle.breaks(f"P1 {id}: told of seq {lost}, lost")


def check(oracle: Oracle, rows: Rows, *, capacity: int) -> None:
    """At rest: the logs hold what is known, every message has ended, and the queue agrees with the owners."""
    logs = {id: rows.logs.get(id, []) for id in oracle.conversations}
    for id, log in logs.items():
        oracle.check_log(id, as_shopper_sees(log))
        for fault in _authors(log):
            oracle.breaks(f"{fault} ({id})")
        if id not in rows.owners or rows.owners[id][1] != len(log):
            oracle.breaks(f"P3 {id}: the head says {rows.owners.get(id)}, the log has {len(log)} events")
    _check_outcomes(oracle, rows, logs)
    _check_queue(oracle, rows, logs, capacity)


def _authors(log: Log) -> list[str]:
    """With ids, which shoppers are not told: who speaks is who holds."""
    owner, faults = "bot", []
    for seq, type, _, data in log:
        if type == "owner.changed":
            owner = data["owner"]
        if data.get("author") and owner != f"human:{data['author'].lower()}":
            faults.append(f"P9 seq {seq}: {data['author']} speaks while {owner} is the owner")
    return faults


def _check_outcomes(oracle: Oracle, rows: Rows, logs: dict[str, Log]) -> None:
    for id, message_id, client_id, seq, outcome in rows.messages:
        if id not in logs:
            continue
        log = logs[id]
        ends = [data["outcome"] for _, type, _, data in log
                if type == "message.completed" and data["reply_to"] == message_id]  # fmt: skip
        owners = ["bot"] + [data["owner"] for at, type, _, data in log if type == "owner.changed" and at < seq]
        later = {data["owner"] for at, type, _, data in log if type == "owner.changed" and at > seq}
        match outcome:
            case None:
                fine = False
            case "handed_off":
                fine = not ends and bool(later)
            case "relayed":
                fine = not ends and bool({owners[-1], *later} - {"bot"})
            case "cancelled":
                fine = ends == ["truncated"] or (not ends and bool({owners[-1], *later} - {"bot"}))
            case _:
                fine = outcome in TOLD and ends == [outcome]
        if not fine:
            oracle.breaks(f"P6 {id} {client_id}: outcome {outcome}, answers {ends}, owners {owners[-1]}, then {later}")


def _check_queue(oracle: Oracle, rows: Rows, logs: dict[str, Log], capacity: int) -> None:
    open_ones = [(id, agent) for id, agent, closed_at in rows.handoffs if closed_at is None and id in logs]
    for id, n in Counter(id for id, _ in open_ones).items():
        if n > 1:
            oracle.breaks(f"P8 {id} has {n} open handoffs")
    for agent, n in Counter(agent for _, agent in open_ones if agent).items():
        if n > capacity:
            oracle.breaks(f"P11 {agent} holds {n} conversations of {capacity}")
    held = dict(open_ones)
    for id in logs:
        owner = rows.owners.get(id, ("bot", 0))[0]
        should = None if owner in ("bot", "closed") else owner.removeprefix("human:") if owner != "queued" else ""
        if (should is None) != (id not in held) or (should is not None and (held[id] or "") != should):
            oracle.breaks(f"P8 {id} belongs to {owner}, the queue says {held.get(id, 'nothing')}")
