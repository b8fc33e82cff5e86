"""What the base model practises on natural text: repeat, find the sentence that is meant, say it, cite it.

Every task is rendered by `bot.prompt`, so that practice looks like service.
Questions about one context share it (`Item`): its tokens are read once and asked about many times.
Knows no model and no files; `finetune.corpus` reads texts, `finetune.shops` invents shops.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot import evidence, prompt
from bot.prompt import cited
from bot.types import Language, Message, Passage
from finetune.tokenizer import END, TEXT


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a context, with the answer to learn."""

    text: str
    answer: str
    history: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """Tokens read once, and branches that each continue them alone."""

    prefix: list[int]
    branches: list[tuple[list[int], int]]
    """Ids after the prefix, and the position among them where learning begins (1 at least)."""

    def __len__(self) -> int:
        return len(self.prefix) + sum(len(ids) for ids, _ in self.branches)


@dataclass(frozen=True, slots=True)
class Scribe:
    """What it takes to write an item down: the tokenizer and the templates of service."""

    tokenizer: prompt.Tokenizer
    templates: Mapping[Language, prompt.Templates]
    end: str = END
    """Text of the token that ends a turn."""

    def write(
        self,
        shop: str,
        passages: Sequence[Passage],
        questions: Sequence[Question],
        language: Language,
        seed: str = "",
    ) -> Item:
        """Render every question as it would be served, and fold what their prompts share.

        Args:
            seed: decides, with the question, in which order the search seems to have brought the nearest rules.
        """
        rendered = []
        for question in questions:
            rng = random.Random(f"{seed} {question.text}")
            messages = prompt.build(
                self.templates[language], shop=shop, history=question.history, text=question.text, passages=passages,
                nearest=nearest(rng, question, passages),
            )  # fmt: skip
            ids, labels = prompt.example(self.tokenizer, messages, question.answer, self.end)
            rendered.append((ids, sum(label == -100 for label in labels)))
        shared = min(begin for _, begin in rendered) - 1
        for ids, _ in rendered[1:]:
            first = rendered[0][0]
            shared = next((i for i in range(shared) if ids[i] != first[i]), shared)
        return Item(rendered[0][0][:shared], [(ids[shared:], begin - shared) for ids, begin in rendered])

    def abstain(self, language: Language) -> str:
        """What the bot says when no passage answers."""
        return self.templates[language].say("abstain")


def nearest(rng: random.Random, question: Question, passages: Sequence[Passage]) -> list[tuple[int, str]]:
    """What the search would call the nearest rules: those of the answer, seldom with another behind or among them.

    Of a question without an answer such as share words with it; in one of fifty nothing was rated.
    """
    lines = [(n, line) for n, p in enumerate(passages, 1) for line in p.text.splitlines() if line.strip()]
    own = []
    for sentence, n in _CITED.findall(question.answer):
        there = [(number, line) for number, line in lines if number == int(n)]
        own += [max(there, key=lambda rule: (sentence.strip() in rule[1], evidence.overlap(sentence, rule[1])))]
    own = list(dict.fromkeys(own))
    rest = [
        (evidence.overlap(question.text, line) + rng.random(), n, line) for n, line in lines if (n, line) not in own
    ]
    others = [(n, line) for _, n, line in sorted(rest, reverse=True)]
    draw = rng.random()
    if draw < 0.02:
        return []
    if not own:
        return others[: rng.randint(1, prompt.NEAREST)]
    found = [*own, *others[: draw < 0.08]][: prompt.NEAREST]
    if draw < 0.05:
        rng.shuffle(found)
    return found


_CITED = re.compile(r"(.+?)\s*\[(\d+)\]", re.DOTALL)


def plain_text(tokenizer: prompt.Tokenizer, text: str, limit: int) -> Item:
    """Natural text, learnt word by word."""
    ids = tokenizer.encode(text + TEXT, add_special_tokens=False)[: limit + 1]
    return Item(ids[:1], [(ids[1:], 1)])


def repeated_noise(rng: random.Random, vocabulary: int, length: int) -> Item:
    """A random sequence, then parts of it again: nothing but copying helps here."""
    noise = [rng.randrange(300, vocabulary) for _ in range(length)]
    branches = []
    for _ in range(4):
        begin = rng.randrange(length - 6)
        part = noise[begin : begin + rng.randint(6, 30)]
        branches.append((part, 1))
    return Item(noise, branches)


SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])|(?<=[。！？；])")
WORDS = {"en": re.compile(r"[A-Za-z][A-Za-z'-]*|\d[\d.,]*"), "zh": re.compile(r"[\u4e00-\u9fff]|[A-Za-z]+|\d+")}
SPEAKERS = re.compile(r"(?:Customer|Agent|User|Assistant|用户|客服|[甲乙])\s?[:：]\s*")
LENGTHS = {"en": (30, 190), "zh": (10, 60)}
"""Characters of a sentence worth asking about."""

FRAMES: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "{}", "{}", "{}?", "{}?", "what about {}?", "how about {}", "tell me about {}", "hi, question about {}",
        "I would like to know {}", "is there anything on {}?", "what does it say about {}", "{} - what are the rules?",
        "can you help me with {}", "not sure about {}, can you check?", "What is said about {}?",
    ),
    "zh": (
        "{}", "{}", "{}？", "{}？", "请问{}", "请问{}怎么规定的？", "{}是怎么回事", "想问一下{}", "关于{}",
        "{}，能说说吗？", "你好，{}", "亲，{}呢？", "我想了解{}", "{}怎么说的",
    ),
}  # fmt: skip


def sentences(text: str, language: Language) -> list[str]:
    """The sentences of a text that are worth asking about."""
    low, high = LENGTHS[language]
    found = (s.strip() for line in SPEAKERS.sub("\n", text).split("\n") for s in SENTENCE_END.split(line))
    return [s for s in found if low <= len(s) <= high and s[-1] in ".!?。！？；"]


def blur(rng: random.Random, sentence: str, language: Language, near: Callable[[str], str]) -> str:
    """A question that means `sentence`: a cut of it, some of its words, perhaps others in their place."""
    words = WORDS[language].findall(sentence)
    kind = rng.random()
    if kind < 0.3 or len(words) < 5:
        size = min(len(words), rng.randint(3, 8) if language == "en" else rng.randint(4, 12))
        begin = rng.randrange(len(words) - size + 1)
        picked = words[begin : begin + size]
    else:
        share = rng.uniform(0.3, 0.7)
        picked = [w for w in words if rng.random() < share] or words[:3]
        if language == "zh" and kind < 0.7:  # whole pieces of a sentence rather than single characters
            cuts = sorted(rng.sample(range(len(words)), min(4, len(words))))
            picked = words[cuts[0] : cuts[1]] + words[cuts[-2] : cuts[-1]] or words[:4]
        if kind > 0.75:
            rng.shuffle(picked)
    if language == "en":
        if max(map(len, picked)) < 4:  # "a ... at": that could mean any sentence
            picked = sorted(words, key=len)[-3:]
        picked = [near(w) if rng.random() < 0.12 else w for w in picked]
    text = (" " if language == "en" else "").join(picked)
    if rng.random() < 0.6:
        text = text.lower()
    return rng.choice(FRAMES[language]).format(text)


def passages_of(
    rng: random.Random, chunks: Sequence[Sequence[str]], titles: Sequence[str], language: Language
) -> list[Passage]:
    """Passages as documents would yield them, out of chunks of sentences."""
    found = []
    for number, chunk in enumerate(chunks):
        style = rng.random()
        if style < 0.6:
            text = "\n".join(f"- {s}" for s in chunk)
        else:
            text = ("\n" if style < 0.75 else " " if language == "en" else "").join(chunk)
        title, heading = rng.choice(titles), rng.choice(titles)
        found.append(Passage(f"{language}/x/x#{number}", "x", title, heading, text, language))
    return found


def match_and_copy(
    rng: random.Random,
    scribe: Scribe,
    documents: Sequence[str],
    language: Language,
    size: int,
    near: Callable[[str], str] = lambda word: word,
) -> Item | None:
    """Passages of natural sentences, and questions that each mean one of them.

    Args:
        documents: texts to draw from; the first ones are the context, the last gives questions without an answer.
        size: sentences in the context at most.
        near: another word of like meaning.
    """
    pools = [sentences(text, language) for text in documents]
    chunks: list[list[str]] = []
    left = size
    for pool in pools[:-1]:
        if not pool or left < 1:
            continue
        length = min(len(pool), left, rng.randint(1, 6))
        begin = rng.randrange(len(pool) - length + 1)
        chunk = list(dict.fromkeys(pool[begin : begin + length]))
        chunks.append(chunk)
        left -= length
    if not chunks:
        return None
    titles = [
        (" " if language == "en" else "").join(WORDS[language].findall(s)[: rng.randint(2, 6)])
        for pool in pools for s in pool[:4]
    ]  # fmt: skip
    flat = [(s, n) for n, chunk in enumerate(chunks, 1) for s in chunk]
    rng.shuffle(flat)
    questions = []
    for start in range(min(len(flat), 5)):
        told = several(rng, flat[start], flat)
        join = rng.choice((" and ", ", also ", "? ") if language == "en" else ("，还有", "？", "，另外"))
        asked = [blur(rng, sentence, language, near) for sentence, _ in told[: rng.randint(1, 2)]]
        questions.append(Question(join.join(asked), glued(told, language)))
    if pools[-1] and rng.random() < 0.5:
        text = blur(rng, rng.choice(pools[-1]), language, near)
        questions.append(Question(text, scribe.abstain(language)))
    shop = rng.choice(titles)
    return scribe.write(shop, passages_of(rng, chunks, titles, language), questions, language)


def several(rng: random.Random, first: Any, all: Sequence[Any]) -> list[Any]:
    """What an answer tells: one thing, often two, seldom more; the search brings what goes with it."""
    others = [other for other in all if other != first]
    count = rng.choices((0, 1, 2, 3), (55, 25, 13, 7))[0]
    return [first, *rng.sample(others, min(count, len(others)))]


def glued(told: Sequence[tuple[str, int]], language: Language) -> str:
    """Sentences with their citations, as one answer."""
    return (" " if language == "en" else "").join(cited(sentence, n, language) for sentence, n in told)


def asked_by_people(rng: random.Random, scribe: Scribe, pairs: Sequence, language: Language) -> Item:
    """Statements as passages, and the questions that people asked about them.

    Args:
        pairs: `finetune.corpus.Pair`s of different topics; the last is asked about and not shown.
    """
    shown, hidden = list(pairs[:-1]), pairs[-1]
    cuts = sorted(rng.sample(range(1, len(shown)), min(rng.randint(0, 2), len(shown) - 1)))
    chunks = [shown[a:b] for a, b in zip([0, *cuts], [*cuts, len(shown)], strict=True)]
    titles = [" ".join(p.question.split()[:5]) for p in pairs]
    passages = passages_of(rng, [[p.statement for p in chunk] for chunk in chunks], titles, language)
    questions = [
        Question(p.question, cited(p.statement, n, language)) for n, chunk in enumerate(chunks, 1) for p in chunk
    ]
    if rng.random() < 0.5:
        questions.append(Question(hidden.question, scribe.abstain(language)))
    return scribe.write("the shop" if language == "en" else "本店", passages, questions, language)
