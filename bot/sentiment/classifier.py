"""Reads the mood of a message with the built-in sentiment model.

The public encoder, an adapter with rows for Chinese, and one linear layer over the mean of the
last hidden states; `bot/models/sentiment/README.md` is its card.
Knows one message at a time: what a run of them means is for `bot/escalation.py` to say.

Run `python -m bot.sentiment.classifier "Where is my order?"` to read one.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import torch
from peft import PeftModel
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel

from bot.errors import ModelError
from bot.models import MINILM_SHA256, minilm_path
from bot.types import Mood

BUILT_IN = Path(__file__).parents[1] / "models" / "sentiment"
BATCH_SIZE = 32


class SentimentClassifier:
    """A loaded model. Predictions from several threads wait for one another."""

    def __init__(self, encoder: nn.Module, tokenizer: Tokenizer, weight: Tensor, bias: Tensor) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._weight = weight  # (3, D), already divided by the temperature, as is the bias
        self._bias = bias  # (3,)
        self._lock = Lock()

    def predict(self, texts: Sequence[str]) -> list[Mood]:
        """One mood a text, in order; what stands after the 128th token is not read."""
        with self._lock, torch.inference_mode():
            return [
                mood
                for start in range(0, len(texts), BATCH_SIZE)
                for mood in self._moods(texts[start : start + BATCH_SIZE])
            ]

    def _moods(self, texts: Sequence[str]) -> list[Mood]:
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([encoding.ids for encoding in encodings])  # (B, T)
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])  # (B, T)
        states = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, D)
        weights = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1)  # (B, D)
        chances = nn.functional.linear(mean, self._weight, self._bias).softmax(1)
        return [Mood(*row) for row in chances.tolist()]


def load(path: Path = BUILT_IN) -> SentimentClassifier:
    """Load the model in folder `path`, merged with the encoder it was trained on.

    Raises:
        ModelError: the folder or a file in it is missing or unreadable, or the model was trained
            on an encoder other than the one installed.
    """
    if not path.is_dir():
        raise ModelError(f"There is no sentiment model in {path}; train one with `python -m finetune sentiment`.")
    base = minilm_path()
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        if config["base_sha256"] != MINILM_SHA256:
            raise ModelError(
                f"{path} was trained on an encoder with sha256 {config['base_sha256'][:12]}…, "
                f"but {MINILM_SHA256[:12]}… is installed; train it again with `python -m finetune sentiment`."
            )
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        encoder = AutoModel.from_pretrained(base, add_pooling_layer=False)
        encoder.resize_token_embeddings(tokenizer.get_vocab_size(), mean_resizing=False)
        encoder = PeftModel.from_pretrained(encoder, path).merge_and_unload().float().eval()
        head = load_file(path / "head.safetensors")
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded: {error}") from error
    heat = float(config["temperature"])
    return SentimentClassifier(encoder, tokenizer, head["weight"].float() / heat, head["bias"].float() / heat)


if __name__ == "__main__":
    for text, mood in zip(sys.argv[1:], load().predict(sys.argv[1:]), strict=True):
        print(f"{mood.label:8} calm {mood.calm:.2f}  unhappy {mood.unhappy:.2f}  angry {mood.angry:.2f}  {text}")
