"""SQLite: one writer thread, which commits what waits together; a reader beside it.

Knows no table. Work is a function of an open connection. A result is handed back only after
a commit that is synced to disk: write-ahead log, `synchronous=FULL`.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import IO, Any, NamedTuple, TypeVar

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from bot.errors import StoreError

T = TypeVar("T")

GROUP_S = 0.005
"""A commit waits at most this long for the writes that come while it gathers them."""

BUSY_S = 5.0
"""How long a write waits for another process to finish its own."""


class Job(NamedTuple):
    """Work for a thread, and where its result goes."""

    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]


Jobs = SimpleQueue[Job | None]
"""What waits for a thread; None is the end."""


class Sqlite:
    """One database file, or `sqlite://` for one in memory that ends with the program.

    Raises:
        StoreError: the file cannot be opened or written, or is no database.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        in_memory = url.database in (None, "", ":memory:")
        self._lock = None if in_memory else _lock_file(str(url.database).removeprefix("file:"))
        self.alone = self._lock is not None and _is_alone(self._lock)
        self._writer = _engine(url, begin="BEGIN IMMEDIATE", one_connection=in_memory)
        self._jobs: Jobs = SimpleQueue()
        self._threads = [self._until_closed("sqlite-write", self._jobs, self._commit_together)]
        self._reader, self._reads = self._writer, self._jobs  # one in memory is seen by its own connection only
        if not in_memory:
            self._reader, self._reads = _engine(url, begin=None, one_connection=False), SimpleQueue()
            self._threads.append(self._until_closed("sqlite-read", self._reads, self._read_together))
        self._closed = False

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction on the caller's thread, for the start of the program."""
        try:
            with self._writer.begin() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._explain(error) from None

    def time(self, connection: Connection) -> float:
        """The machine's clock: all who have the file open run on it."""
        return time.time()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do the work in the writer thread; returns once it is committed. Nothing is written if it raises."""
        return await self._done(self._jobs, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do the work, each of whose statements sees all that was committed before it, in the reader thread."""
        return await self._done(self._reads, work)

    async def _done(self, jobs: Jobs, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StoreError("The store is closed; this program is going down.")
        job = Job(work, asyncio.get_running_loop().create_future())
        jobs.put(job)
        return await job.future

    def close(self) -> None:
        """Finish what waits, then close the file."""
        if not self._closed:
            self._closed = True
            for jobs in {self._jobs, self._reads}:
                jobs.put(None)
            for thread in self._threads:
                thread.join()
            for engine in {self._writer, self._reader}:
                engine.dispose()
            if self._lock is not None:
                self._lock.close()

    async def aclose(self) -> None:
        """The same, without holding up the event loop."""
        await asyncio.to_thread(self.close)

    def _until_closed(self, name: str, jobs: Jobs, together: Callable[[list[Job]], list[Any]]) -> threading.Thread:
        """A thread that does what waits, and hands the results back in one go: each hand-over takes as long as its work.

        Args:
            together: does these jobs and those that come meanwhile, which it adds to the list.
        """

        def run() -> None:
            while (job := jobs.get()) is not None:
                done = [job]
                try:
                    results = together(done)
                except Exception as error:  # for those who wait for the jobs: this thread must outlive any failure
                    results = [error] * len(done)
                results = [self._explain(r) if isinstance(r, (SQLAlchemyError, sqlite3.Error)) else r for r in results]
                for loop in {job.future.get_loop() for job in done}:
                    with suppress(RuntimeError):  # a loop that is closed waits for nothing
                        loop.call_soon_threadsafe(_hand_back, loop, done, results)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _commit_together(self, jobs: list[Job]) -> list[Any]:
        """One transaction for the first job and all that come meanwhile, each in a savepoint of its own.

        `jobs` grows by those that were taken along. If this raises, none of them was written.
        """
        with self._writer.connect() as connection:
            try:
                transaction = connection.begin()
            except SQLAlchemyError:  # What came meanwhile has waited for it too: each in turn would wait once more.
                while (job := _next(self._jobs)) is not None:
                    jobs.append(job)
                raise
            with transaction:
                until = time.monotonic() + GROUP_S
                results = [_attempt(connection, jobs[0])]
                while time.monotonic() < until and (job := _next(self._jobs)) is not None:
                    jobs.append(job)
                    results.append(_attempt(connection, job))
        return results

    def _read_together(self, jobs: list[Job]) -> list[Any]:
        """On one connection, outside of any transaction."""
        until = time.monotonic() + GROUP_S
        with self._reader.connect() as connection:
            results = [_tried(connection, jobs[0])]
            while time.monotonic() < until and (job := _next(self._reads)) is not None:
                jobs.append(job)
                results.append(_tried(connection, job))
        return results

    def _explain(self, error: Exception) -> BaseException:
        if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
            return error.orig or error  # a value that cannot be written: the caller's mistake
        return StoreError(_advice(str(getattr(error, "orig", None) or error), self._url.database))


def _lock_file(path: str) -> IO[bytes] | None:
    """A file beside the database, only to be locked: closing the database's own would end SQLite's locks on it."""
    try:
        return open(f"{path}-open", "ab")
    except OSError:
        return None  # SQLite says what is wrong there


def _is_alone(lock: IO[bytes]) -> bool:
    """Whether nobody else has the file open; the system lets go of a dead process's lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        fcntl.flock(lock, fcntl.LOCK_SH)


def _next(jobs: Jobs) -> Job | None:
    try:
        job = jobs.get_nowait()
    except Empty:
        return None
    if job is None:
        jobs.put(None)  # the end is for the outer loop
    return job


def _hand_back(loop: asyncio.AbstractEventLoop, jobs: list[Job], results: list[Any]) -> None:
    """Wake all who wait in this loop."""
    for job, result in zip(jobs, results, strict=True):
        if job.future.get_loop() is not loop or job.future.done():
            continue
        if isinstance(result, BaseException):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


def _attempt(connection: Connection, job: Job) -> Any:
    """The job's result, or what it raised, with its own writes undone."""
    if job.future.cancelled():
        return None
    raw: Any = connection.connection.dbapi_connection
    raw.execute("SAVEPOINT job")
    try:
        result = job.work(connection)
    except Exception as error:
        if not raw.in_transaction:  # SQLite gave up the whole transaction (disk full, I/O error)
            raise
        raw.execute("ROLLBACK TO job")
        result = error
    raw.execute("RELEASE job")
    return result


def _tried(connection: Connection, job: Job) -> Any:
    """The job's result, or what it raised."""
    try:
        return job.work(connection)
    except Exception as error:
        return error


def _engine(url: URL, *, begin: str | None, one_connection: bool) -> Engine:
    pool: dict[str, Any] = {"poolclass": StaticPool} if one_connection else {"pool_size": 1}
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_S, "check_same_thread": False}, **pool
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _: Any) -> None:
        raw.isolation_level = None  # transactions begin where we say, not where the driver guesses
        _write_ahead(raw)
        for pragma in ("synchronous=FULL", "fullfsync=ON", "checkpoint_fullfsync=ON", "foreign_keys=ON"):
            raw.execute(f"PRAGMA {pragma}")
        if raw.execute("PRAGMA synchronous").fetchone() != (2,):
            raise StoreError("This SQLite ignores `synchronous=FULL`; use another build of SQLite, or PostgreSQL.")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        if begin:
            connection.exec_driver_sql(begin)

    return engine


def _write_ahead(raw: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself while another start does the same."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            mode = raw.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
            continue
        if mode not in ("wal", "memory"):
            raise StoreError(f"SQLite cannot keep a write-ahead log here (it uses {mode!r}); use a local disk.")
        return


def _advice(problem: str, path: str | None) -> str:
    """What is wrong with the file, and what to do; never what was being written."""
    problem = problem.partition("\n")[0]
    match problem:
        case "unable to open database file":
            return f"{path} cannot be opened; create its folder, and let this program write there."
        case "attempt to write a readonly database":
            return f"{path} cannot be written; give this program the right to write the file and its folder."
        case "database or disk is full":
            return f"The disk that holds {path} is full; free some space. Nothing was written."
        case "disk I/O error":
            return f"The disk that holds {path} failed; check it. What was sent may be lost."
        case "file is not a database" | "database disk image is malformed":
            return f"{path} is no usable SQLite database ({problem}); restore a backup, or name another file."
        case _ if "locked" in problem:
            return f"{path} was locked by another program for {BUSY_S:g} s; close that program. Nothing was written."
    return f"SQLite refused ({problem}). Nothing was written."
