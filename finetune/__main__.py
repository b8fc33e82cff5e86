"""The fine-tuning commands: `python -m finetune train | merge | evaluate | show | sentiment | encoder | base | unseen`.

Knows only which module answers to which word; each is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import warnings

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # Read when transformers is imported.

from bot.errors import BotError

COMMANDS = {
    "train": "fine-tune a LoRA adapter on question-answer rows",
    "merge": "write a base and its adapter as one checkpoint",
    "evaluate": "measure a base model with its adapter on saved rows",
    "show": "print one training example as the model sees it",
    "sentiment": "train the classifier that reads a shopper's mood",
    "encoder": "train the part of retrieval that is our own",
    "base": "train the compact base model from scratch",
    "unseen": "write shops that no training shows, to measure with",
}


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, run one command, and return its exit status: 2 for a mistake that a person can mend."""
    argv = sys.argv[1:] if argv is None else argv
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # It misses an optional kernel, which is no fault here.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    parser = argparse.ArgumentParser(prog="python -m finetune", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in argv if word in COMMANDS), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        if name == chosen:
            importlib.import_module(f"finetune.{name}").add_arguments(command)
    args = parser.parse_args(argv)
    try:
        return importlib.import_module(f"finetune.{args.command}").run(args)
    except BotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
