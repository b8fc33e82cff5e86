"""A power cut, replayed: of what a server wrote, only what it had synced survives, and the rest perhaps, perhaps torn.

A run under load is traced; at each of many points of the trace the files are put together as a disk
could hold them, opened, checked, and compared with the acknowledgements that had left by then.
Syncs may fail meanwhile: what they were to sync is then taken for lost, unless it is written and synced anew.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import trace
from tests.faults.oracle import Oracle
from tests.faults.process import Server
from tests.faults.report import Finding
from tests.faults.traffic import Traffic

SOME_SYNCS = "fdatasync:error=EIO:when=30+4"
"""As strace's `inject` names the syncs that fail: each thread's 30th, so that it starts, and every fourth from there."""
SECTOR = 512
"""What a disk writes whole or not at all."""


@dataclass
class Disk:
    """What is safe of each file, and what was written since."""

    safe: dict[str, bytearray] = field(default_factory=dict)
    waiting: dict[str, list[trace.Write | trace.Truncate]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Files whose name in the folder is safe."""
    syncing: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, entry: trace.Entry) -> None:
        """Follow the trace by one entry."""
        match entry:
            case trace.Create(path):
                self.safe.setdefault(path, bytearray())
                self.waiting.setdefault(path, [])
            case trace.Remove(path):  # may come back after a power cut; that it is gone is the harder case
                self.safe.pop(path, None)
                self.waiting.pop(path, None)
                self.names.discard(path)
            case trace.Write(path) | trace.Truncate(path):
                self.waiting[path].append(entry)
            case trace.SyncBegins(path, thread):
                self.syncing[path, thread] = len(self.waiting.get(path, ()))
            case trace.SyncEnds(path, thread) | trace.SyncFails(path, thread):
                count, safe = self.syncing.pop((path, thread)), isinstance(entry, trace.SyncEnds)
                if path in self.safe:
                    for change in self.waiting[path][:count] if safe else ():
                        _apply(self.safe[path], change)
                    del self.waiting[path][:count]
                    for others in [key for key in self.syncing if key[0] == path]:
                        self.syncing[others] = max(0, self.syncing[others] - count)
                elif safe:
                    self.names |= {name for name in self.safe if Path(name).parent == Path(path)}

    def after_a_cut(self, variant: str, rng: random.Random) -> dict[str, bytes]:
        """The files by name, with some of the unsynced writes."""
        match variant:
            case "all":
                return self._files(lambda writes: writes, set(self.safe))
            case "some":
                return self._files(lambda writes: [w for w in writes if rng.random() < 0.5], self.names)
            case "torn":
                return self._files(lambda writes: _torn(writes, rng), self.names)
            case "reordered":
                return self._files(lambda writes: rng.sample(writes, rng.randint(0, len(writes))), self.names)
        return self._files(lambda writes: [], self.names)

    def _files(self, choose, names: set[str]) -> dict[str, bytes]:  # noqa: ANN001
        files = {}
        for path in names:
            content = bytearray(self.safe[path])
            for change in choose(self.waiting[path]):
                _apply(content, change)
            files[Path(path).name] = bytes(content)
        return files


def _apply(content: bytearray, change: trace.Write | trace.Truncate) -> None:
    if isinstance(change, trace.Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
    else:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data


def _torn(writes: list[trace.Write | trace.Truncate], rng: random.Random) -> list[trace.Write | trace.Truncate]:
    """The first so many writes, the last of them only in part."""
    kept = writes[: rng.randint(0, len(writes))]
    if kept and isinstance(last := kept[-1], trace.Write):
        kept = [*kept[:-1], last._replace(data=last.data[: rng.randint(0, len(last.data) // SECTOR) * SECTOR])]
    return kept


def replay(entries: list[trace.Entry], *, points: int, rng: random.Random) -> tuple[list[str], dict[str, object]]:
    """(what is broken, figures) of power cuts at so many places of a trace, from the first ack on.

    A fifth of the places lie in checkpoints, which are rare and write over what was safe.
    """
    first = next((n for n, entry in enumerate(entries) if isinstance(entry, trace.Ack)), len(entries))
    after = range(first, len(entries))
    checkpoints = [n for n in after if getattr(entries[n], "path", "").endswith(".db")]
    places = set(rng.sample(checkpoints, min(points // 5, len(checkpoints))))
    others = [n for n in after if n not in places]
    places |= set(rng.sample(others, min(points - len(places), len(others))))
    variants = itertools.cycle(("all", "some", "torn", "reordered"))
    disk, acked, broken, opened = Disk(), dict[str, int](), list[str](), 0
    for n, entry in enumerate(entries):
        if isinstance(entry, trace.Ack):
            acked[entry.message_id] = entry.seq
        else:
            disk.take(entry)
        if n not in places:
            continue
        for variant in ("none", next(variants)):
            opened += 1
            if fault := _lost(disk.after_a_cut(variant, rng), acked):
                broken.append(f"P1 power cut at entry {n}, unsynced writes kept: {variant}: {fault}")
    return broken, {"points": len(places), "files opened": opened, "acked": len(acked),
                    "checkpoints": sum(isinstance(e, trace.SyncEnds) and e.path.endswith(".db") for e in entries)}  # fmt: skip


def _lost(files: dict[str, bytes], acked: dict[str, int]) -> str | None:
    """What is wrong with the database that these files hold."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            with closing(sqlite3.connect(Path(folder) / "bot.db")) as database:
                if (found := database.execute("PRAGMA integrity_check").fetchone()) != ("ok",):
                    return f"corrupt: {found[0]}"
                there = dict(database.execute("SELECT message_id, seq FROM messages").fetchall())
        except sqlite3.DatabaseError as error:
            return f"corrupt: {error}"
    lost = [id for id, seq in acked.items() if there.get(id) != seq]
    return f"{len(lost)} of {len(acked)} acked messages lost" if lost else None


async def record(folder: Path, seed: int, *, acks: int, inject: str = "", bug: str = "") -> list[trace.Entry]:
    """The trace of a server under load until so many messages are acknowledged."""
    server, oracle = Server(folder, bug=bug), Oracle()
    await server.start_traced(folder / "strace.txt", *(("-e", f"inject={inject}") if inject else ()))
    try:
        async with Traffic([server.url], oracle, random.Random(seed), shoppers=6, agents=1):
            while oracle.acks < acks and server.alive:
                await asyncio.sleep(0.05)
    finally:
        await server.kill()
    assert oracle.acks >= acks, f"The traced server died; see {server.log}."
    return trace.read(folder / "strace.txt", folder)


async def powercut(seed: int, *, points: int, failing: bool = False, bug: str = "") -> Finding:
    """Trace a run, then cut the power at so many points of it.

    Args:
        failing: every few of the syncs fail.
    """
    if shutil.which("strace") is None:
        raise SystemExit("The power-cut replay needs strace; on Debian: apt install strace.")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        entries = await record(Path(folder), seed, acks=max(60, points), inject=SOME_SYNCS * failing, bug=bug)
        broken, figures = replay(entries, points=points, rng=random.Random(seed))
    figures["failed syncs"] = sum(isinstance(entry, trace.SyncFails) for entry in entries)
    if failing and not figures["failed syncs"]:
        broken.append("no sync failed")
    return Finding("power cut after failed syncs" if failing else "power cut", seed, broken, figures)
