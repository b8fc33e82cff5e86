"""The rendering: from a turn's inputs to messages, tokens and a training example.

Training and serving build their prompts here and nowhere else, so that a model is asked
in exactly the words it was trained on. Knows no model: a tokenizer is handed in.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
import tomllib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bot.errors import PromptTooLong, TemplateError
from bot.types import LANGUAGES, Language, Message, Passage

RENDERING = 2
"""Grows when the code below changes what a model reads."""

HISTORY_MESSAGES = 4
"""Messages of history at most: two exchanges."""

NEAREST = 4
"""Rules at most that are said again between passages and question: a small model need not search for them."""

Nearest = Sequence[tuple[int, str]]
"""(Number of the passage from 1, one of its rules), the likeliest answer first."""

_TEXTS = (
    "no_passages", "nearest", "abstain", "order_not_found", "quote", "angry", "asked_for_person", "engine_failed", "abstained_twice",
    "returned_to_queue", "claimed", "released", "closed", "still_queued", "greeting", "starters",
)  # fmt: skip


_USER = frozenset({"passages", "nearest", "text"})


class Tokenizer(Protocol):
    """What this module needs of a transformers tokenizer."""

    chat_template: Any
    all_special_tokens: Any
    pad_token_id: Any

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any:
        """Messages to text or ids."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Text to ids."""
        ...


@dataclass(frozen=True, slots=True)
class Templates:
    """One language's templates and fixed sentences."""

    language: Language
    system: string.Template
    user: string.Template
    texts: Mapping[str, Any]

    def say(self, key: str, **values: str) -> str:
        """A fixed sentence with its variables filled in."""
        return string.Template(self.texts[key]).substitute(values)


def load_templates(folder: Path) -> dict[Language, Templates]:
    """Read `<folder>/<language>/{system.md,user.md,texts.toml}` for every language.

    Raises:
        TemplateError: a file is missing, is not UTF-8, has a lone "$", a variable unknown here, or lacks one
            or a fixed sentence.
    """
    return {language: _load(folder / language, language) for language in LANGUAGES}


def _load(folder: Path, language: Language) -> Templates:
    def read(name: str) -> str:
        try:
            return (folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise TemplateError(f"{folder / name} is missing; restore it or point `BOT_PROMPTS` elsewhere.") from None
        except UnicodeDecodeError:
            raise TemplateError(f"{folder / name} is not UTF-8; save it as UTF-8.") from None

    try:
        texts = tomllib.loads(read("texts.toml"))
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{folder / 'texts.toml'} is not TOML: {error}.") from None
    if missing := [key for key in _TEXTS if key not in texts]:
        raise TemplateError(f"{folder / 'texts.toml'} lacks {', '.join(f'`{key}`' for key in missing)}.")
    for key in _TEXTS:
        if key != "starters":
            _template(f"{folder / 'texts.toml'}: `{key}`", texts[key], {"name"} if key == "claimed" else set())
        elif not (isinstance(texts[key], list) and all(isinstance(text, str) for text in texts[key])):
            raise TemplateError(f"{folder / 'texts.toml'}: `starters` must be a list of texts in quotes.")
    return Templates(
        language,
        _template(f"{folder / 'system.md'}", read("system.md"), {"shop"}),
        _template(f"{folder / 'user.md'}", read("user.md"), _USER, _USER),
        texts,
    )


def _template(where: str, text: object, allowed: Set[str], needed: Set[str] = frozenset()) -> string.Template:
    if not isinstance(text, str):
        raise TemplateError(f"{where} must be a text in quotes, not {text!r}.")
    template = string.Template(text.strip())
    if not template.is_valid():
        raise TemplateError(f'{where} has a lone "$"; write "$$" for a dollar sign.')
    used = set(template.get_identifiers())
    if unknown := used - allowed:
        raise TemplateError(f"{where} uses unknown variables {sorted(unknown)}; known here: {sorted(allowed)}.")
    if missing := needed - used:
        raise TemplateError(f"{where} lacks {', '.join(f'`${name}`' for name in sorted(missing))}.")
    return template


def write_passages(passages: Sequence[Passage], templates: Templates) -> str:
    """Numbered passages as the model reads them: `[1] Title: Heading`, then their rules."""
    if not passages:
        return templates.texts["no_passages"]
    return "\n".join(
        f"[{n}] {passage.title}: {passage.heading}\n{passage.text}" for n, passage in enumerate(passages, 1)
    )


def write_nearest(nearest: Nearest, templates: Templates) -> str:
    """The nearest rules, each as an answer would say it: `Rule. [1]`; empty without any."""
    lines = [cited(rule.removeprefix("- "), n, templates.language) for n, rule in nearest[:NEAREST]]
    return "\n".join(["", templates.texts["nearest"], *lines]) if lines else ""


def build(
    templates: Templates,
    *,
    shop: str,
    history: Sequence[Message],
    text: str,
    passages: Sequence[Passage],
    nearest: Nearest = (),
) -> list[Message]:
    """The messages of one turn: system, the latest history, and the question under its passages and nearest rules."""
    shown = {"passages": write_passages(passages, templates), "nearest": write_nearest(nearest, templates)}
    return [
        Message("system", templates.system.substitute(shop=shop)),
        *(Message(m.role, strip_citations(m.content)) for m in history[-HISTORY_MESSAGES:]),
        Message("user", templates.user.substitute(shown, text=text)),
    ]


def fit(
    templates: Templates,
    *,
    shop: str,
    history: Sequence[Message],
    text: str,
    passages: Sequence[Passage],
    nearest: Nearest = (),
    count: Callable[[Sequence[Message]], int],
    budget: int,
) -> tuple[list[Message], list[Passage]]:
    """Build within `budget` tokens: first the oldest history goes, then the lowest passages with their rules.

    Returns:
        The messages, and the passages that are left in them.

    Raises:
        PromptTooLong: the question does not fit even alone.
    """
    kept_history, kept_passages = list(history[-HISTORY_MESSAGES:]), list(passages)
    while True:
        kept_rules = [(n, rule) for n, rule in nearest if n <= len(kept_passages)]
        messages = build(
            templates, shop=shop, history=kept_history, text=text, passages=kept_passages, nearest=kept_rules
        )
        tokens = count(messages)
        if tokens <= budget:
            return messages, kept_passages
        if kept_history:
            kept_history = kept_history[2:]
        elif kept_passages:
            kept_passages.pop()
        else:
            raise PromptTooLong(
                f"The prompt needs {tokens} tokens without history and passages; the budget is {budget}. "
                f"Shorten prompts/{templates.language}/system.md or raise `BOT_PROMPT_TOKENS`."
            )


def cited(sentence: str, n: int, language: Language) -> str:
    """A sentence with its citation behind it."""
    return f"{sentence} [{n}]" if language == "en" else f"{sentence}[{n}]"


def strip_citations(text: str) -> str:
    """The text without its `[1]` marks."""
    return re.sub(r"\s*\[\d+\]", "", text)


def render(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Token ids of the prompt, up to where the assistant's answer begins.

    A special token in a message is pulled apart, so that nobody ends their own message by typing one.
    """

    def plain(text: str) -> str:
        for token in tokenizer.all_special_tokens:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    text = tokenizer.apply_chat_template(
        [{"role": m.role, "content": plain(m.content)} for m in messages], tokenize=False, add_generation_prompt=True
    )
    return tokenizer.encode(text, add_special_tokens=False)


def example(tokenizer: Tokenizer, messages: Sequence[Message], answer: str, end: str) -> tuple[list[int], list[int]]:
    """One training example: the served prompt, then the answer and `end` (the end-of-turn token's text).

    The prompt is a prefix of the example by construction; loss is taken on the answer alone.

    Returns:
        ids  # (T,)
        labels  # (T,), -100 on the prompt
    """
    prompt = render(tokenizer, messages)
    learnt = tokenizer.encode(answer + end, add_special_tokens=False)
    return prompt + learnt, [-100] * len(prompt) + learnt


def fingerprint(templates: Mapping[Language, Templates], chat_template: str | None) -> str:
    """Sixteen hex digits of everything that decides what a model reads."""
    content = {
        "rendering": [RENDERING, HISTORY_MESSAGES, NEAREST],
        "chat_template": chat_template,
        "templates": {
            language: [t.system.template, t.user.template, t.texts["no_passages"], t.texts["nearest"]]
            for language, t in sorted(templates.items())
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
