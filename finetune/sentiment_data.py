"""Rows to train the sentiment model on: shop lines of our own, and public sets with other labels.

Maps what each set says onto a mood, or onto "rude" where that is all it can say.
Knows no model. Run `python -m finetune sentiment --data DATA`, which reads them all.
"""

import csv
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bot.errors import DocumentError
from bot.types import LANGUAGES, Language
from finetune.written import read_shops

LABELS = ("calm", "unhappy", "angry")
SHOP = Path(__file__).parent / "data" / "sentiment"

Target = tuple[float, float, float]
CALM: Target = (1.0, 0.0, 0.0)
UNHAPPY: Target = (0.0, 1.0, 0.0)
ANGRY: Target = (0.0, 0.0, 1.0)
TARGETS = dict(zip(LABELS, (CALM, UNHAPPY, ANGRY), strict=True))

# Annoyance and disgust lie between frustrated and angry, and the set does not say where.
GO_EMOTIONS: dict[str, Target] = {
    "anger": ANGRY,
    "annoyance": (0.0, 0.5, 0.5),
    "disgust": (0.0, 0.5, 0.5),
    "disapproval": (0.3, 0.6, 0.1),
} | dict.fromkeys(("disappointment", "sadness", "grief", "remorse", "fear", "nervousness", "embarrassment"), UNHAPPY)
TWEET_EMOTIONS = (ANGRY, CALM, CALM, UNHAPPY)


@dataclass(frozen=True, slots=True)
class Row:
    """One text and what is known of it."""

    text: str
    language: Language
    mood: Target | None = None
    """Probabilities of calm, unhappy, angry; None where the set says nothing of moods."""
    rude: float | None = None
    """1 if insulting, 0 if not; a help in training only, for rude is not angry."""
    civil: bool = False
    """Calm or unhappy, the row does not say which; read only where `mood` is None."""


def read_rows(data: Path | None, *, limit: int | None = None, seed: int = 1) -> list[Row]:
    """Every row to train on: the shop lines several times over, then a share of each public set.

    Raises:
        DocumentError: a file is missing or a line cannot be read.
    """
    rows = shop_rows(held_out=False, limit=limit) * (1 if limit else SHOP_REPEATS)
    if data is None:
        return rows
    if not data.is_dir():
        raise DocumentError(f"`--data` {data} is not a folder; give the one that holds `en/` and `zh/`.")
    chance = random.Random(seed)
    for read, count in SOURCES:
        found = list(read(data))
        rows += chance.sample(found, min(count, limit or count, len(found)))
    return rows


def shop_rows(*, held_out: bool, limit: int | None = None) -> list[Row]:
    """The shop lines in `data/sentiment`: a fifth, chosen by hash, is held out from training."""
    rows: list[Row] = []
    for language in ("en", "zh"):
        found: list[Row] = []
        for path in sorted(SHOP.glob(f"{language}*.jsonl")):
            for number, line in enumerate(_lines(path), 1):
                try:
                    item = json.loads(line)
                    row = Row(item["text"], language, TARGETS[item["label"]])
                except (ValueError, KeyError, TypeError) as error:
                    raise DocumentError(f"{path}:{number} is not a row with `text` and `label`: {error}.") from error
                if _is_held_out(row.text) == held_out:
                    found.append(row)
        # From all over the file, for it is sorted by label.
        rows += found if limit is None else found[:: max(1, len(found) // limit)][:limit]
    return rows


def go_emotions(data: Path, split: str = "train") -> Iterator[Row]:
    """GoEmotions (Reddit); a comment with several emotions gets their mean."""
    for text, names in _go_emotions(data, split):
        moods = [GO_EMOTIONS.get(name, CALM) for name in names]
        calm, unhappy, angry = (sum(part) / len(moods) for part in zip(*moods, strict=True))
        yield Row(text, "en", (calm, unhappy, angry))


def strong_go_emotions(data: Path) -> Iterator[Row]:
    """Those of GoEmotions that are not simply calm, some seven in twenty."""
    return (row for row in go_emotions(data) if row.mood != CALM)


def calm_go_emotions(data: Path) -> Iterator[Row]:
    """Those of GoEmotions that are simply calm."""
    return (row for row in go_emotions(data) if row.mood == CALM)


def go_emotions_anger(data: Path) -> list[tuple[str, bool]]:
    """GoEmotions' test comments, with whether they are labelled anger or annoyance; to measure on."""
    return [(text, not {"anger", "annoyance"}.isdisjoint(names)) for text, names in _go_emotions(data, "test")]


def weibo_anger(path: Path) -> list[tuple[str, bool]]:
    """A labelled file of SMP2020-EWECT, with whether each post is angry; to measure on."""
    try:
        return [(item["content"], item["label"] == "angry") for item in json.loads("\n".join(_lines(path)))]
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(f"{path} is not a list of rows with `content` and `label`: {error}.") from error


def tweets(data: Path) -> Iterator[Row]:
    """TweetEval emotion."""
    folder = data / "en/tweeteval_emotion/emotion"
    labels = _lines(folder / "train_labels.txt")
    for text, label in zip(_lines(folder / "train_text.txt"), labels, strict=True):
        yield Row(text.replace("@user", "").strip(), "en", TWEET_EMOTIONS[int(label)])


def davidson(data: Path) -> Iterator[Row]:
    """Davidson et al.: offensive or not; much of it swears without anger, so only `rude` is read."""
    for item in _table(data / "en/davidson_offensive/labeled_data.csv"):
        yield Row(item["tweet"], "en", rude=float(item["class"] != "2"))


def cold(data: Path) -> Iterator[Row]:
    """COLD: offensive or not, in Chinese; toxic is not angry, so only `rude` is read."""
    for item in _table(data / "zh/coldataset/train.csv"):
        text = item["TEXT"].replace(" ", "")
        if len(text) <= 40:  # half of them; the long ones cost the most time
            yield Row(text, "zh", rude=float(item["label"]))


def shop_questions(_: Path) -> Iterator[Row]:
    """The sample shop's questions: worried or cross at times, but none calls for a human agent by its tone."""
    for line in _lines(SHOP.parent / "train.jsonl"):
        item = json.loads(line)
        yield Row(item["text"], item["language"], rude=0.0, civil=True)


def other_shops_questions(_: Path) -> Iterator[Row]:
    """The same of the written shops."""
    for language in LANGUAGES:
        for shop in read_shops(language):
            yield from (Row(row["text"], language, rude=0.0, civil=True) for row in shop.rows)


def bitext(data: Path) -> Iterator[Row]:
    """Bitext's shop questions, all of them calm, also those that ask how to complain."""
    for item in _table(data / "en/bitext_llm_support/bitext_short_responses.csv"):
        if item["instruction"]:
            yield Row(item["instruction"], "en", CALM, rude=0.0)


def crosswoz(data: Path) -> Iterator[Row]:
    """What people say to a travel desk, all of it calm."""
    for line in _lines(data / "zh/crosswoz_dialogues.jsonl"):
        for turn in json.loads(line)["turns"]:
            if turn["role"] == "usr":
                yield Row(turn["text"], "zh", CALM, rude=0.0)


def kdconv(data: Path) -> Iterator[Row]:
    """People chatting about films, music and journeys, all of it calm: without it, small talk read as anger."""
    for line in _lines(data / "prose/zh/kdconv_dialogues_zh.txt"):
        if line:
            yield Row(line.removeprefix("甲：").removeprefix("乙："), "zh", CALM, rude=0.0)


def chatterbot(data: Path) -> Iterator[Row]:
    """Greetings and questions to a bot, all of them calm."""
    for topic in ("botprofile", "conversations", "greetings"):  # the rest is odd, and partly hostile
        for line in _lines(data / f"zh/chatterbot_zh/{topic}.yml"):
            if line.startswith("- - "):
                yield Row(line[4:].strip(), "zh", CALM, rude=0.0)


SHOP_REPEATS = 2
SOURCES = (
    (strong_go_emotions, 15000),
    (calm_go_emotions, 9000),
    (tweets, 1500),
    (davidson, 300),
    (cold, 3000),
    (shop_questions, 5000),
    (other_shops_questions, 2000),
    (bitext, 400),
    (crosswoz, 500),
    (kdconv, 1500),
    (chatterbot, 50),
)
"""Each with how many of its rows an epoch sees."""


def glosses() -> dict[str, list[str]]:
    """English words for a Chinese character: those of every word in `glosses.txt` that it stands in."""
    found: dict[str, list[str]] = {}
    for line in _lines(SHOP / "glosses.txt"):
        word, gloss = line.split(" ", 1)
        for character in word:
            found.setdefault(character, []).append(gloss)
    return found


def _go_emotions(data: Path, split: str) -> Iterator[tuple[str, list[str]]]:
    folder = data / "en/goemotions/original"
    names = _lines(folder / "labels.txt")
    for line in _lines(folder / f"{split}.tsv"):
        text, ids, _ = line.split("\t")
        yield text.replace("[NAME]", "Sam"), [names[int(id)] for id in ids.split(",")]


def _is_held_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < 256 // 5


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise DocumentError(
            f"{path} cannot be read ({error.strerror}); see finetune/README.md for the data."
        ) from error


def _table(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    except OSError as error:
        raise DocumentError(
            f"{path} cannot be read ({error.strerror}); see finetune/README.md for the data."
        ) from error
