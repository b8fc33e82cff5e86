"""Opening a store."""

from __future__ import annotations

import inspect
import time

import pytest

from bot.errors import SettingsError
from bot.protocols import Store
from bot.store.sql import SqlStore, open_store, steady_clock


@pytest.mark.parametrize("url", ["", "bot.db", "postgresql://user:hunter2@host:port/db"])
def test_address_that_cannot_be_read_is_refused_without_printing_it(url):
    with pytest.raises(SettingsError, match="sqlite:///folder/file.db") as refusal:
        open_store(url)
    assert "hunter2" not in str(refusal.value)


def test_other_databases_are_refused():
    with pytest.raises(SettingsError, match="'mysql'"):
        open_store("mysql://root@localhost/shop")


def test_store_has_the_methods_of_the_protocol_and_no_others():
    def methods(of: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(method)
            for name, method in vars(of).items()
            if inspect.isfunction(method) and not name.startswith("_")
        }

    assert methods(SqlStore) == methods(Store)


def test_clock_does_not_follow_the_system_clock(monkeypatch):
    now = steady_clock(time.time())
    before = now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert now() >= before > 1_700_000_000
