"""Generates on this machine with transformers, from a base model and a LoRA adapter (peft).

One worker thread owns the model: threads that each generate fight for the cores.
Knows nothing of turns; a prompt comes in as messages and leaves as text.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteriaList
from transformers.utils import logging as transformers_logging

from bot import prompt
from bot.engine.guide import Guide
from bot.errors import EngineError, ModelError
from bot.types import Language, Message

log = logging.getLogger(__name__)
_END = object()
_UNREADABLE = (OSError, ValueError, RuntimeError, SafetensorError)
"""What loading raises where a file is missing, cut short, or does not fit."""


class LocalEngine:
    """A base model with its adapter; see `load`."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, fingerprint: str) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._model, self._tokenizer = model, tokenizer
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._closing = threading.Event()

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        return len(prompt.render(self._tokenizer, messages))

    def loss(self, before: Sequence[Message] | str, after: str) -> tuple[float, int]:
        """How unlikely the model holds a text: the cross-entropies of its tokens summed, in nats, and their number.

        Args:
            before: the messages that `after` answers, whose end then counts too; or plain text that it goes on.
        """
        return self._worker.submit(self._loss, before, after).result()

    def _loss(self, before: Sequence[Message] | str, after: str) -> tuple[float, int]:
        if isinstance(before, str):
            start, said = (self._tokenizer.encode(text, add_special_tokens=False) for text in (before, after))
        else:
            start = prompt.render(self._tokenizer, before)
            said = prompt.example(self._tokenizer, before, after, self._tokenizer.eos_token)[0][len(start) :]
        ids = torch.tensor([start + said], device=self._model.device)  # (1, T)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, logits_to_keep=len(said) + 1).logits  # (1, S + 1, V)
        return cross_entropy(logits[0, :-1].float(), ids[0, -len(said) :], reduction="sum").item(), len(said)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, only: Sequence[str] = ()
    ) -> AsyncGenerator[str, None]:
        """Greedy text as it is generated; closing the iterator stops at the next token.

        Args:
            only: sentences of which alone the text may consist.

        Raises:
            EngineError: generation failed, or the engine is closed.
        """
        if self._closing.is_set():
            raise EngineError("The engine is closed.")
        loop, queue, stop = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Event()

        def put(item: Any) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        job = loop.run_in_executor(self._worker, self._generate, list(messages), max_tokens, list(only), stop, put)
        try:
            while (item := await queue.get()) is not _END:
                if isinstance(item, Exception):
                    raise EngineError(f"Generation failed: {item}") from item
                yield item
        finally:
            stop.set()
            job.cancel()

    def _generate(
        self, messages: list[Message], max_tokens: int, only: list[str], stop: threading.Event, put: Any
    ) -> None:
        try:
            if stop.is_set():
                return
            ids = torch.tensor([prompt.render(self._tokenizer, messages)], device=self._model.device)  # (1, T)
            streamer = _Streamer(self._tokenizer, ids.shape[1], put)
            guide = Guide(self._tokenizer, only, ids.shape[1]) if only else None
            with torch.inference_mode():
                self._model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=max_tokens,
                    do_sample=False,
                    prefix_allowed_tokens_fn=guide,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([lambda _ids, _scores: self._stopped(stop)]),
                    pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
                )
        except Exception as error:
            put(error)
        finally:
            put(_END)

    def _stopped(self, stop: threading.Event) -> torch.Tensor:
        return torch.tensor([stop.is_set() or self._closing.is_set()], device=self._model.device)

    async def aclose(self) -> None:
        """Stop what runs."""
        self._closing.set()
        self._worker.shutdown(wait=True, cancel_futures=True)


class _Streamer:
    """What `generate` hands its tokens to: decodes them as far as they form whole characters."""

    def __init__(self, tokenizer: Any, prompt_length: int, put: Any) -> None:
        self._tokenizer, self._skip, self._put = tokenizer, prompt_length, put
        self._ids: list[int] = []
        self._sent = ""

    def put(self, value: torch.Tensor) -> None:
        ids = value.reshape(-1).tolist()
        if self._skip:  # The first call brings the prompt.
            self._skip = 0
            return
        self._ids += ids
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        if not text.endswith("\ufffd") and len(text) > len(self._sent):
            self._put(text[len(self._sent) :])
            self._sent = text

    def end(self) -> None:
        """Nothing is held back but broken characters."""


def load(
    base: str,
    adapter: Path | None,
    templates: Mapping[Language, prompt.Templates],
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
) -> LocalEngine:
    """Load a base model, a folder or a hub name, and the adapter trained on it.

    Args:
        device: `auto` takes CUDA where there is one.
        dtype: `auto` is float32 on CPU and bfloat16 on a GPU.
        quantize: `4bit` loads the base as NF4 with bitsandbytes.

    Raises:
        ModelError: something is missing, or the adapter was trained with another rendering or base.
    """
    transformers_logging.disable_progress_bar()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}.get(dtype)
    kind = kind or (torch.float32 if device == "cpu" else torch.bfloat16)
    options: dict[str, Any] = {"dtype": kind}
    if quantize == "4bit":
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=kind
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model: Any = AutoModelForCausalLM.from_pretrained(base, **options)
    except _UNREADABLE as error:
        raise ModelError(
            f"No base model could be loaded from {base}: {str(error).splitlines()[0]} "
            "Set `BOT_MODEL` to a folder in Hugging Face format or to a name on the hub."
        ) from None
    if not tokenizer.chat_template:
        raise ModelError(f"The tokenizer of {base} has no chat template; take an instruction-tuned model.")
    mark = prompt.fingerprint(templates, tokenizer.chat_template)
    name = Path(base).name
    if (Path(base) / "shoptalk.json").is_file():  # A base and an adapter that `finetune merge` made one.
        check_adapter(Path(base), base, mark)
    if adapter is not None:
        check_adapter(adapter, base, mark)
        from peft import PeftModel

        try:
            model = PeftModel.from_pretrained(model, str(adapter))
        except _UNREADABLE as error:
            raise ModelError(
                f"{adapter} cannot be loaded: {str(error).splitlines()[0]} Train it again with `finetune train`, "
                "or set `BOT_ADAPTER=` to serve the base alone."
            ) from None
        if quantize == "none":
            model = model.merge_and_unload()
        name = f"{name}+{adapter.name}"
    model.eval()
    if quantize == "none":
        model.to(device)
    # Sampling defaults of hub models would only warn: answers are greedy.
    model.generation_config.temperature = model.generation_config.top_p = model.generation_config.top_k = None
    return LocalEngine(model, tokenizer, name=name, fingerprint=mark)


def check_adapter(adapter: Path, base: str, fingerprint: str) -> None:
    """Refuse an adapter that was trained for something else.

    Raises:
        ModelError: no adapter there, another rendering, or another base.
    """
    try:
        card = json.loads((adapter / "shoptalk.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{adapter} holds no adapter made by `finetune train` (no shoptalk.json); train one, "
            "or set `BOT_ADAPTER=` to serve the base alone."
        ) from None
    except ValueError:
        raise ModelError(f"{adapter / 'shoptalk.json'} is not JSON; train the adapter again.") from None
    if card.get("fingerprint") != fingerprint:
        raise ModelError(
            f"{adapter} was trained with rendering {card.get('fingerprint')}, but prompts/ and the base's chat template "
            f"now render {fingerprint}. Train it again with `finetune train`, or restore the templates."
        )
    if (have := base_hash(base)) and card.get("base_sha256") not in (None, have):
        raise ModelError(f"{adapter} was trained on another base than {base}. Set `BOT_MODEL` to its base.")


def base_hash(base: str) -> str | None:
    """SHA-256 over a folder's safetensors files by name; None for a hub name."""
    files = sorted(Path(base).glob("*.safetensors"))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
