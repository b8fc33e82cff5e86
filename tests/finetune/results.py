"""Hand-made turns for what counts and draws them."""

from bot.types import Release
from finetune.measure import Measured, Result

RELEASE = Release("base", "", "f", "words", "r", "release-1")


def result(**values):
    """An answered question, all right."""
    return Result(
        **{
            "id": "en-1", "language": "en", "kind": "answerable", "text": "How long?", "reference": "3 days. [1]",
            "shown": "It takes 3 days. [1]", "outcome": "answered", "rank": 1, "facts_right": True, "unsupported": (),
            "right_language": True, "seconds": 0.5, **values,
        }
    )  # fmt: skip


def measured(*results, name="mine", general=None):
    """One contender's turns."""
    return Measured(name, RELEASE, tuple(results), general or {})
