"""The story of one turn: from a shopper's message in the log to its one outcome.

The server, `bot ask` and `finetune evaluate` all tell it through `answer`. It decides nothing
that a pure rule can decide, and knows no socket, no database and no model: only the Protocols.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing, suppress

from bot import escalation, evidence, prompt, relevance, wire
from bot.errors import EngineError, PromptTooLong, StaleEpoch, StoreError
from bot.handoff import priority_of
from bot.history import Told, citation_data, mood_data, read_log
from bot.parts import Announce, Bot, Emit
from bot.protocols import Store
from bot.reading import look
from bot.types import (
    Citation,
    Conversation,
    Event,
    Handoff,
    Hit,
    Language,
    Mood,
    Outcome,
    Passage,
    Reason,
)

log = logging.getLogger(__name__)

PAGE = 1000
"""Events read from the log at once."""
QUOTED_SHARE, QUOTED_MOST = 0.98, 8
"""How much of the probability that some rule answers the quoted rules hold, and how many they are at most."""


async def answer(bot: Bot, conversation_id: str, message_id: str, *, emit: Emit, announce: Announce) -> Outcome:
    """Tell one turn to its end.

    Cancelling the task ends the turn as `cancelled`, keeping what was shown.

    Args:
        message_id: of the shopper's message, which stands in the log.
        emit: told of deltas and statuses, never waited for long.
        announce: told of each event after its commit.

    Returns:
        The outcome, which is in the log.

    Raises:
        StoreError: the database failed; the turn has ended once or not at all, and may be told again.
    """
    conversation, log_so_far = await whole_log(bot.store, conversation_id)
    if conversation.owner != "bot":
        await bot.store.settle(conversation_id, message_id=message_id, outcome="relayed")
        return "relayed"
    told = read_log(log_so_far, message_id)
    turn = _Turn(bot, conversation, message_id, told, emit, announce)
    try:
        async with asyncio.timeout(bot.turn_timeout_s):
            return await turn.tell()
    except asyncio.CancelledError:
        await asyncio.shield(turn.stop())
        raise
    except StaleEpoch:
        await bot.store.settle(conversation_id, message_id=message_id, outcome="handed_off")
        return "handed_off"
    except StoreError:
        raise  # Whether the last write was lost is not known here: the caller tells the turn again.
    except (EngineError, TimeoutError, PromptTooLong) as error:
        log.error("turn failed: %s: %s", type(error).__name__, error)
    except Exception:  # The edge of a turn: whatever failed, the shopper gets a person.
        log.exception("turn failed")
    return await turn.hand_off("engine_failed")


async def cancel(bot: Bot, conversation_id: str, message_id: str, *, emit: Emit, announce: Announce) -> None:
    """End a turn that was never told as cancelled, unless it has its outcome; raises as `answer` does."""
    conversation = await bot.store.conversation(conversation_id)
    await _Turn(bot, conversation, message_id, read_log((), message_id), emit, announce).stop()


async def whole_log(store: Store, conversation_id: str) -> tuple[Conversation, list[Event]]:
    """A conversation and every event of it, read page by page; a page that is not full is the last."""
    conversation, page = await store.read(conversation_id, limit=PAGE)
    events = list(page)
    while len(page) == PAGE:
        page = await store.events(conversation_id, after=events[-1].seq, limit=PAGE)
        events += page
    return conversation, events


class _Turn:
    """One turn under way: its inputs and what was shown so far."""

    def __init__(
        self, bot: Bot, conversation: Conversation, message_id: str, told: Told, emit: Emit, announce: Announce
    ) -> None:
        self.bot, self.conversation, self.message_id, self.told = bot, conversation, message_id, told
        self.emit, self.announce = emit, announce
        self.language: Language = wire.language_of(conversation.locale, told.text)
        self.templates = bot.templates[self.language]
        self.answer_id = f"m_{uuid.uuid4().hex}"
        self.shown: list[str] = []
        self.citations: list[Citation] = []
        self.mood: Mood | None = None
        self.hits: tuple[Hit, ...] = ()

    @property
    def passages(self) -> tuple[Passage, ...]:
        return tuple(hit.passage for hit in self.hits)

    async def tell(self) -> Outcome:
        await self.emit("message.started", {"message_id": self.answer_id})
        await self.emit("status", {"state": "searching", "ttl_s": 10})
        found = await look(self.bot, self.conversation, self.told, self.language)
        self.mood, self.hits = found.mood, found.hits
        angers = (*self.told.angers, found.mood.angry)
        if reason := escalation.before_answer(self.told.text, angers, handed_off_after=self.told.handed_off_after):
            return await self.hand_off(reason)
        if not found.hits:
            return await self.abstain("order_not_found" if found.order_missing else "abstain")
        await self.emit("status", {"state": "typing", "ttl_s": 30})
        return await self.generate()

    async def generate(self) -> Outcome:
        bot, cutter = self.bot, evidence.Sentences()
        if bot.min_rule and self.hits[0].rules and relevance.asks_twice(self.told.text, self.language):
            return await self.quote()  # A small model answers one of the two.
        messages, passages = prompt.fit(
            self.templates, shop=bot.shop_names[self.language], history=self.told.history, text=self.told.text,
            passages=self.passages, nearest=relevance.nearest(self.hits, prompt.NEAREST),
            count=bot.engine.count, budget=bot.prompt_tokens,
        )  # fmt: skip
        only = self.sayable(passages) if bot.min_overlap == 1 else ()
        async with aclosing(bot.engine.stream(messages, max_tokens=bot.max_tokens, only=only)) as stream:
            async for delta in stream:
                for sentence in cutter.feed(delta):
                    if not await self.show(sentence, passages):
                        return await self.instead(sentence)
        for sentence in cutter.flush():
            if not await self.show(sentence, passages):
                return await self.instead(sentence)
        if not self.shown:
            return await self.quote()
        await self.add_unsaid(passages)
        return await self.complete("answered")

    def sayable(self, passages: Sequence[Passage]) -> list[str]:
        """What a small model may say: the rules that may answer, and that it does not know."""
        rules = relevance.sayable(self.hits[: len(passages)], prompt.NEAREST)
        said = [prompt.cited(rule.removeprefix("- "), n, self.language) for n, rule in rules]
        return [*said, self.templates.say("abstain")] if self.bot.model_may_abstain else said

    async def add_unsaid(self, passages: Sequence[Passage]) -> None:
        """Quote those of the likeliest rules that a small model left out; a large one, trusted to choose, is let be."""
        told = {line for c in self.citations for line in c.quote.splitlines()}
        for n, rule in relevance.nearest(self.hits, prompt.NEAREST):
            if self.bot.min_rule and self.citations and rule not in told and passages[n - 1 : n]:
                self.citations.append(evidence.cite(n, passages[n - 1], rule))
                await self.delta(prompt.cited(rule.removeprefix("- "), n, self.language))

    async def show(self, sentence: str, passages: Sequence[Passage]) -> bool:
        """Let a sentence out if it is supported by a rule that the question is about; False if it must be withheld."""
        if not evidence.says_something(sentence):
            return True
        if self.bot.min_overlap == 1:
            support = evidence.choose(sentence, passages)
        else:
            support = evidence.check(sentence, passages, self.bot.min_overlap)
        if support is None or not all(
            relevance.is_relevant(citation, self.hits, self.bot.min_rule) for citation in support.citations
        ):
            return False
        if support.sentence not in self.shown:
            self.citations += [c for c in support.citations if c not in self.citations]
            await self.delta(support.sentence)
        return True

    async def instead(self, sentence: str) -> Outcome:
        """A sentence was withheld: abstain if the model said that it does not know and may say so, else quote."""
        if (
            self.bot.model_may_abstain
            and not self.shown
            and evidence.overlap(sentence, self.templates.say("abstain")) == 1
        ):
            return await self.abstain("abstain")
        return await self.quote()

    async def delta(self, text: str) -> None:
        joint = "" if not self.shown or self.language == "zh" else " "
        self.shown.append(text)
        await self.emit(
            "message.delta", {"message_id": self.answer_id, "index": len(self.shown) - 1, "text": joint + text}
        )

    async def quote(self) -> Outcome:
        """Say the rules that may answer, word for word. Small talk needs no introduction."""
        best = self.hits[0].passage
        if not best.cite:
            if not self.shown:
                await self.delta(best.text)
            return await self.complete("answered")
        text = self.templates.say("quote")
        for n, lines in relevance.quotations(self.hits, QUOTED_SHARE, QUOTED_MOST):
            self.citations.append(evidence.cite(n, self.hits[n - 1].passage, lines))
            text += f"\n{lines} [{n}]"
        await self.delta(("\n\n" if self.shown else "") + text)
        return await self.complete("quoted")

    async def abstain(self, words: str) -> Outcome:
        if reason := escalation.after_abstaining(self.told.outcomes):
            return await self.hand_off(reason)
        await self.delta(self.templates.say(words))
        return await self.complete("abstained")

    async def complete(self, outcome: Outcome) -> Outcome:
        await self._end(outcome, outcome)
        return outcome

    async def stop(self) -> None:
        """End as cancelled: what was shown is kept."""
        if self.conversation.owner == "bot":
            with suppress(StaleEpoch):
                return await self._end("cancelled", "truncated")
        await self.bot.store.settle(self.conversation.id, message_id=self.message_id, outcome="cancelled")

    async def _end(self, outcome: Outcome, told_as: str) -> None:
        data = {
            "message_id": self.answer_id,
            "reply_to": self.message_id,
            "text": ("" if self.language == "zh" else " ").join(self.shown),
            "citations": [citation_data(c) for c in self.citations],
            "outcome": told_as,
            "release": self.bot.release.id,
            "passage_ids": [p.id for p in self.passages],
        }
        if self.mood is not None:
            data["mood"] = mood_data(self.mood)
        event = await self.bot.store.complete(
            self.conversation.id, message_id=self.message_id, outcome=outcome, type="message.completed", data=data,
            epoch=self.conversation.epoch,
        )  # fmt: skip
        if event is not None:
            await self.announce(event)

    async def hand_off(self, reason: Reason) -> Outcome:
        await hand_off(
            self.bot, self.conversation, self.told, reason, language=self.language, mood=self.mood,
            passage_ids=tuple(p.id for p in self.passages), message_id=self.message_id, announce=self.announce,
        )  # fmt: skip
        return "handed_off"


async def hand_off(
    bot: Bot,
    conversation: Conversation,
    told: Told,
    reason: Reason,
    *,
    language: Language,
    announce: Announce,
    mood: Mood | None = None,
    passage_ids: tuple[str, ...] = (),
    message_id: str | None = None,
    now: float | None = None,
) -> None:
    """Put the conversation in the queue, once, and tell the shopper."""
    angers = told.angers if mood is None else (*told.angers, mood.angry)
    handoff = Handoff(
        conversation_id=conversation.id,
        reason=reason,
        priority=priority_of(reason),
        waiting_since=now if now is not None else time.time(),
        summary=escalation.summary(language, reason, told.questions, mood),
        last_question=told.questions[-1] if told.questions else "",
        mood_trace=tuple(round(a, 3) for a in angers),
        passage_ids=passage_ids,
        locale=language,
    )
    try:
        event, new = await bot.store.hand_off(
            conversation.id, epoch=conversation.epoch, handoff=handoff, text=bot.templates[language].say(reason),
            message_id=message_id,
        )  # fmt: skip
    except StaleEpoch:
        if message_id is not None:
            await bot.store.settle(conversation.id, message_id=message_id, outcome="handed_off")
        return
    if event is not None and new:
        await announce(event)
