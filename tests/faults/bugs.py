"""Seeded bugs: each breaks one promise, and the harness must notice.

`seed` patches the product in the process that is to misbehave.
"""

from __future__ import annotations


def seed(name: str) -> None:
    """Break what this bug breaks; an empty name breaks nothing."""
    if name:
        BUGS[name]()


BUGS: dict = {}
