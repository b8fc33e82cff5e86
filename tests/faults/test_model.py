"""Both stores against the pure model: whatever is done to them in whatever order, they answer as it does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.faults import bugs
from tests.faults.machine import explore
from tests.store.conftest import empty_schema


@pytest.fixture
def sqlite_url():
    """A file that no disk slows down: here it is not about durability."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield f"sqlite:///{folder}/bot.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest):
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
    else:
        with empty_schema() as address:
            yield address


def test_the_store_does_as_the_model_does(url):
    explore(url, examples=15)


@pytest.mark.parametrize("bug", ["no_fencing", "claim_without_condition"])
def test_a_store_that_does_not_is_noticed(bug, sqlite_url, monkeypatch):
    for place, name in ((bugs.log, "must_be_current"), (bugs.queue, "claim")):
        monkeypatch.setattr(place, name, getattr(place, name))  # put back afterwards
    bugs.seed(bug)
    with pytest.raises(AssertionError):  # The same ways each time: of those drawn anew, some hundred may all miss it.
        explore(sqlite_url, examples=600, shrink=False, seed=1)
