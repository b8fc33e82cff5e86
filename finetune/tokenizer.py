"""The tokenizer of the compact base model: byte-level BPE for English and Chinese, and where embeddings begin.

Digits and Chinese characters stand alone, so that a number or a word is the same tokens in a
question as in a passage; whoever answers by copying needs that.
Knows texts, not where they come from. Run it as part of `python -m finetune base`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, START, END, TEXT = "<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"

# A shopper who types a special token must not end their own message: "<|" is pulled apart.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] | replace('<|', '< |') }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Contractions; a Chinese character; a digit; a word with its space; one mark; spaces.
PIECES = (
    r"'(?:s|t|re|ve|m|ll|d)|\p{Han}|\p{N}| ?[\p{L}\p{M}&&[^\p{Han}]]+"
    r"| ?[^\s\p{L}\p{N}\p{M}]|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE on `texts`.

    Args:
        vocabulary: tokens in all, the 256 bytes and four special tokens included.
        context: tokens that the model will read at most; stored as `model_max_length`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, START, END, TEXT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=2,
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START, TEXT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def meaning_vectors(documents: Sequence[Sequence[int]], vocabulary: int, size: int, window: int = 8) -> torch.Tensor:
    """Vectors in which tokens that keep the same company lie close: latent semantic analysis.

    Positive pointwise mutual information of neighbours within `window`, with context counts
    smoothed to the power 0.75, reduced by a singular value decomposition
    (Levy, Goldberg, Dagan 2015, "Improving distributional similarity").

    Args:
        documents: token ids of texts.
        size: numbers per vector.

    Returns:
        vectors  # (vocabulary, size), rows of unit length or zero
    """
    counts = np.zeros((vocabulary, vocabulary), dtype=np.float32)
    for ids in documents:
        row = np.asarray(ids)
        for gap in range(1, window + 1):
            if len(row) > gap:
                np.add.at(counts, (row[:-gap], row[gap:]), 1.0 / gap)
    counts += counts.T
    rows = counts.sum(1, keepdims=True)
    columns = counts.sum(0, keepdims=True) ** 0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        counts *= columns.sum() / (rows * columns)
        np.log(counts, out=counts)
    counts[~np.isfinite(counts)] = 0
    np.maximum(counts, 0, out=counts)
    u, s, _ = torch.svd_lowrank(torch.from_numpy(counts), q=size + 16, niter=3)
    vectors = u[:, :size] * s[:size].sqrt()
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6)
