"""A training run's loop: steps, looks at the held-out loss, the log, checkpoints, and when to stop.

A step is decided by the config, its number and the process's, so a resumed run goes on with the same losses.
Knows no files but those of its own folder; `finetune.train` puts it together.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from bot.errors import SettingsError
from finetune import checkpoint, compact
from finetune.batching import batches, lay_out, learnt, loss_sum, measure, steps
from finetune.checkpoint import Progress
from finetune.config import Config
from finetune.data import Library, Row, examples
from finetune.tasks import Item, Scribe

INTERRUPTED = "interrupted; `--resume` goes on"


@dataclass
class Learner:
    """One run's loop and its state."""

    config: Config
    library: Library
    scribe: Scribe
    rows: Mapping[str, Sequence[Row]]
    fold: bool
    accelerator: Accelerator
    model: Any
    """As prepared for training."""
    plain: Any
    """The same without wrapping."""
    optimizer: Any
    folder: Path
    """Of checkpoint, log and TensorBoard's files."""
    begun: Mapping[str, Any]
    """What the run was begun with; kept in the checkpoint."""
    done: Progress
    best: dict[str, torch.Tensor] | None = None
    """The adapter's weights with the best held-out loss so far; whole in the main process."""

    def learn(self, asked: Sequence[object]) -> None:
        """Go through the epochs until they, the time or patience end, or somebody has `asked` to stop.

        Raises:
            SettingsError: there are no examples to learn from.
        """
        config, done, stop = self.config, self.done, list[str]()
        first = self._plan(0)
        total, every = len(first) * config.epochs, config.evaluate_steps or math.ceil(len(first) / 4)
        plan = self._plan(done.epoch) if done.epoch else first
        self._tired(stop)
        began, before = time.monotonic() - done.seconds, (done.seconds, done.tokens)
        saved = done.seconds
        with Log(self.folder, done, total, self.accelerator.is_main_process) as log:
            self._look_if_due(every, log, stop)  # An interrupted run may owe one.
            while done.epoch < config.epochs and not stop:
                step, rate = plan[done.batch], rate_at(self._share(total), config)
                loss, done.seconds, ends = self._step(step, rate, began, bool(asked))
                done.batch, done.step = done.batch + 1, done.step + 1
                done.tokens += sum(len(item) for batch in step for item in batch)
                speed = (done.tokens - before[1]) / max(done.seconds - before[0], 1e-9)
                line = {"step": done.step, "loss": loss, "rate": rate, "tokens_per_s": round(speed)}
                log.note(line, steps=round(done.step / self._share(total)))
                if done.batch == len(plan):
                    done.epoch, done.batch = done.epoch + 1, 0
                    plan = self._plan(done.epoch)
                if ends:
                    stop.append(INTERRUPTED)
                    break
                if config.minutes and done.seconds > config.minutes * 60:
                    stop.append(f"{config.minutes:g} minutes are over")
                if self._look_if_due(every, log, stop) or done.seconds - saved > config.checkpoint_minutes * 60:
                    saved = done.seconds
                    self._save()
            if INTERRUPTED not in stop:
                self._look_if_due(1, log, stop)
            self._save()
            log.say(f"The run ends: {stop[0] if stop else 'all epochs are done'}.")

    def _look_if_due(self, every: int, log: Log, stop: list[str]) -> bool:
        """Look at the held-out rows if that was not done since a step whose number divides by `every`."""
        last = self.done.history[-1] if self.done.history else {"held_out_loss": 0.0}
        due = "held_out_loss" not in last and self.done.step % every == 0
        if due:
            self._look(log, stop)
        return due

    def _share(self, total: int) -> float:
        """How much of the run is done, in steps or in time, whichever is more."""
        limit = self.config.minutes * 60 or math.inf
        return max(self.done.step / total, self.done.seconds / limit)

    def _plan(self, epoch: int) -> list[list[list[Item]]]:
        config = self.config
        made = examples(self.rows["train"], self.library, self.scribe, config, f"{config.seed} {epoch}", self.fold)
        plan = steps(
            made.items, config.batch_tokens, random.Random(f"{config.seed} {epoch}"),
            processes=self.accelerator.num_processes, accumulate=config.accumulate,
        )  # fmt: skip
        if not plan:
            raise SettingsError(f"All rows are longer than `longest` = {config.longest} tokens; raise it.")
        return plan

    def _step(
        self, step: Sequence[Sequence[Item]], rate: float, began: float, asked: bool
    ) -> tuple[float, float, bool]:
        """One step of all processes.

        Returns:
            The mean loss, the main process's clock in seconds since `began`, and whether any process was asked to stop.
        """
        accelerator, count = self.accelerator, sum(map(learnt, step))
        number = (self.config.seed * 1_000_003 + self.done.step) * 4096 + accelerator.process_index
        torch.manual_seed(number)  # Dropout is the step's own, so that a resumed run drops the same.
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        mine, total = step[accelerator.process_index :: accelerator.num_processes], 0.0
        for number, batch in enumerate(mine, 1):
            with nullcontext() if number == len(mine) else accelerator.no_sync(self.model):
                loss = self._loss(batch)
                accelerator.backward(loss * accelerator.num_processes / count)  # gradients are averaged over processes
            total += loss.item()
        accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        seconds = time.monotonic() - began if accelerator.is_main_process else 0.0
        told = self._sum(torch.tensor([total, float(asked), seconds]))
        return round(told[0].item() / count, 4), told[2].item(), bool(told[1])

    def _sum(self, numbers: torch.Tensor) -> torch.Tensor:
        """Numbers summed over all processes; every process must ask."""
        if self.accelerator.num_processes == 1:
            return numbers
        whole: Any = self.accelerator.reduce(numbers.to(self.accelerator.device))
        return whole.cpu()

    def _compact(self) -> Any | None:
        """The built-in model, which is folded by a step of its own; None for every other."""
        return self.plain.base_model.model if self.fold and self.plain.config.model_type == "lfm2" else None

    def _loss(self, batch: Sequence[Item]) -> torch.Tensor:
        pad = self.scribe.tokenizer.pad_token_id or 0  # type: ignore[attr-defined]
        if inner := self._compact():
            with self.accelerator.autocast():
                return compact.loss_of(inner, compact.collate(batch, pad)) * learnt(batch)
        return loss_sum(self.model, lay_out(batch, pad, self.accelerator.device))

    def _look(self, log: Log, stop: list[str]) -> None:
        """Measure the held-out loss, keep the best adapter, and stop a run that gets no better."""
        config, done, accelerator = self.config, self.done, self.accelerator
        made = examples(self.rows["valid"], self.library, self.scribe, config, f"{config.seed} valid", self.fold)
        groups = batches(made.items, config.batch_tokens, random.Random(0))
        self.model.eval()
        sums = torch.zeros(2)
        for start in range(0, len(groups), accelerator.num_processes):
            at = start + accelerator.process_index
            found = self._measure(groups[at % len(groups)])
            if at < len(groups):  # Others compute a batch again, so that all processes do as many.
                sums += torch.tensor(found)
        loss, right = self._sum(sums).tolist()
        taught, answers = sum(map(learnt, groups)), sum(len(item.branches) for item in made.items)
        line: dict[str, float] = {"step": done.step, "held_out_loss": round(loss / max(taught, 1), 4)}
        line["held_out_exact"] = round(right / max(answers, 1), 3)
        log.note(line)
        log.say(json.dumps(line))
        if done.is_better(line["held_out_loss"]):
            done.best, done.looks_without_better = line["held_out_loss"], 0
            self.best = checkpoint.adapter_weights(self.model, self.plain)
        else:
            done.looks_without_better += 1
        self._tired(stop)

    def _measure(self, batch: Sequence[Item]) -> tuple[float, float]:
        """The summed loss of a batch, and its answers word for word."""
        if inner := self._compact():
            pad = self.scribe.tokenizer.pad_token_id  # type: ignore[attr-defined]
            with torch.no_grad():
                loss = self._loss(batch).item()
            return loss, compact.exact(inner, batch, pad)[0] * sum(len(item.branches) for item in batch)
        laid = lay_out(batch, self.scribe.tokenizer.pad_token_id or 0, self.accelerator.device)  # type: ignore
        return measure(self.model, laid)

    def _tired(self, stop: list[str]) -> None:
        if self.done.looks_without_better >= self.config.patience and not stop:
            stop.append(f"no better held-out loss in {self.config.patience} looks")

    def _save(self) -> None:
        checkpoint.save(
            self.folder / "checkpoint.safetensors", self.model, self.plain, self.optimizer, self.done, self.best,
            self.begun, write=self.accelerator.is_main_process,
        )  # fmt: skip


class Log:
    """Where a run is told about: JSON lines, TensorBoard and the progress bar; silent but in the main process."""

    def __init__(self, folder: Path, done: Progress, total: int, main: bool) -> None:
        self._done, self._main = done, main
        self._bar = tqdm(total=total, initial=done.step, unit="step", disable=not main, dynamic_ncols=True)
        if main:
            from torch.utils.tensorboard import SummaryWriter

            self._lines = (folder / "log.jsonl").open("w", encoding="utf-8")
            self._lines.writelines(json.dumps(line) + "\n" for line in done.history)  # Later lines were not saved.
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=done.step + 1)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._main:
            self._lines.close()
            self._board.close()

    def note(self, line: dict[str, float], *, steps: int = 0) -> None:
        """Add a line; one with a `loss` is a step.

        Args:
            steps: how many the run will have, as far as can be told; 0: as was thought before.
        """
        line |= {"seconds": round(self._done.seconds, 1), "tokens": self._done.tokens}
        self._done.history.append(line)
        if not self._main:
            return
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        for key in ("loss", "rate", "tokens_per_s", "held_out_loss", "held_out_exact"):
            if key in line:
                self._board.add_scalar(key, line[key], int(line["step"]))
        if "loss" in line:
            self._bar.set_postfix(
                {"loss": f"{line['loss']:.3f}", "tokens/s": int(line["tokens_per_s"])}, refresh=False
            )
            self._bar.total = steps or self._bar.total
            self._bar.update()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._main:
            self._bar.write(text)


def rate_at(share: float, config: Config) -> float:
    """The learning rate at this share of the run: it grows for `warmup`, then falls along a cosine."""
    if share < config.warmup:
        return config.rate * (share + 0.01) / (config.warmup + 0.01)
    if config.warmup == 1:
        return config.rate
    return config.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (share - config.warmup) / (1 - config.warmup))))
