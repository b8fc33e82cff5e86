"""The tables' history: Alembic revisions in versions/, applied whenever a store is opened.

A new revision is a new file there that names the one before it; never change one that was released.
Add columns in one release and drop the old ones in a later one, so that two releases can run side by side.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, text

from bot.errors import StoreError

_LOCK = 7_305_417_201
"""PostgreSQL's advisory lock that starting programs take in turn; SQLite's write lock does the same."""


def upgrade(connection: Connection) -> None:
    """Bring the tables to this program's revision, within the transaction of `connection`.

    Raises:
        StoreError: the tables were made by a newer program; they are left as they are.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except (CommandError, ResolutionError) as error:
        raise StoreError(
            f"The database was written by a newer release ({error}); start that release, or restore an older backup."
        ) from None
