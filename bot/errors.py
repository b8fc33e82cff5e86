"""Everything that the bot raises on purpose.

BotError
├── SettingsError        a setting, flag or file is wrong: fix it and start again
│   ├── PortInUse
│   └── TemplateError
├── DocumentError        a document cannot be read: names file and line
├── ModelError           a model, adapter or index is missing or does not fit
├── PromptTooLong        the question alone exceeds the budget
├── EngineError          generation failed: the turn becomes a handoff
├── StoreError           the database cannot be reached or written: try again
│   ├── StaleEpoch       the writer no longer owns the conversation
│   ├── LeaseLost        another process tells the turn
│   ├── IdempotencyConflict   same `client_id`, another text
│   ├── NotFound         no such conversation
│   ├── ConversationClosed    nothing more can be said in it
│   ├── NotQueued        it does not wait for a human agent
│   ├── AlreadyClaimed   somebody else won: `.agent_id`
│   └── AtCapacity       the agent holds as many conversations as allowed
└── FrameError           a frame cannot be read: `.code`, `.field`
"""

from __future__ import annotations


class BotError(Exception):
    """Root of the tree; its text is for the operator, never for a shopper."""


class SettingsError(BotError):
    """A setting, flag or file is wrong."""


class PortInUse(SettingsError):
    """Another program listens on the port."""


class TemplateError(SettingsError):
    """A template cannot be rendered."""


class DocumentError(BotError):
    """A document cannot be read."""


class ModelError(BotError):
    """A model, adapter or index is missing or does not fit."""


class PromptTooLong(BotError):
    """The question alone exceeds the prompt's budget."""


class EngineError(BotError):
    """Generation failed."""


class StoreError(BotError):
    """The database cannot be reached or written."""


class StaleEpoch(StoreError):
    """The writer believed in an epoch that has passed; nothing was written."""


class LeaseLost(StoreError):
    """Another process holds the turn by now; nothing was written."""


class IdempotencyConflict(StoreError):
    """A `client_id` came again with another text; nothing was written."""


class NotFound(StoreError):
    """There is no such conversation."""


class ConversationClosed(StoreError):
    """The conversation is closed; nothing was written."""


class NotQueued(StoreError):
    """The conversation does not wait for a human agent."""


class AlreadyClaimed(StoreError):
    """Another human agent holds the conversation."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(f"The conversation is already claimed by {agent_id}.")
        self.agent_id = agent_id


class AtCapacity(StoreError):
    """The human agent holds as many conversations as allowed."""


class FrameError(BotError):
    """A frame cannot be read."""

    def __init__(self, code: str, message: str, field: str | None = None, client_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.client_id = client_id
        """Of the frame at fault, if it has one, so that the sender knows which message was refused."""
