import random

import pytest
import torch

from finetune.compact import collate, embeddings, exact, loss_of, new_model, states
from finetune.tasks import Item, repeated_noise


def small(layers="cca"):
    torch.manual_seed(0)
    return new_model(500, width=192, layers=layers, feed_forward=64, context=512, pad=0, end=2).eval()


def test_a_branch_is_computed_as_if_it_stood_alone():
    model = small("ccaca")
    rng = random.Random(0)
    items = [Item([rng.randrange(500) for _ in range(n)], [([rng.randrange(500) for _ in range(k)], 1) for k in (5, 1, 9)])
             for n in (1, 2, 17)]  # fmt: skip

    together = states(model, collate(items, pad=0))

    for row, item in enumerate(items):
        at = len(item.prefix)
        for ids, _ in item.branches:
            alone = model.model(torch.tensor([item.prefix + ids])).last_hidden_state[0, len(item.prefix) :]
            torch.testing.assert_close(together[row, at : at + len(ids)], alone, atol=1e-4, rtol=1e-4)
            at += len(ids)


def test_loss_is_that_of_the_plain_model():
    model = small()
    item = Item([5, 6, 7], [([8, 9, 10, 11], 2)])
    logits = model(torch.tensor([[5, 6, 7, 8, 9, 10, 11]])).logits[0, 4:6]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([10, 11]))

    torch.testing.assert_close(loss_of(model, collate([item], 0)), expected, atol=1e-4, rtol=1e-4)


def test_a_fresh_model_copies_before_its_first_step():
    torch.manual_seed(0)
    model = new_model(3000, width=192, layers="caa", feed_forward=64, context=512, pad=0, end=2)
    rng = random.Random(0)
    batch = collate([repeated_noise(rng, 3000, 60) for _ in range(4)], 0)

    with torch.no_grad():
        before = loss_of(model, batch).item()  # nothing to tell tokens apart by: guessing is ln 3000 = 8.0
        meaning = torch.nn.functional.normalize(torch.randn(3000, 63), dim=1)
        model.get_input_embeddings().weight.copy_(embeddings(meaning, 192))
        after = loss_of(model, batch).item()

    assert after < 6.0 < before


def test_exact_counts_answers_that_greedy_decoding_gives():
    model = small()
    prompt = torch.tensor([[5, 6, 7, 8]])
    given = model.generate(prompt, max_new_tokens=4, do_sample=False, eos_token_id=[])[0, 4:].tolist()
    other = [*given[:3], (given[3] + 1) % 500]

    assert exact(model, [Item([5, 6, 7], [([8, *given], 1)])], 0)[0] == 1.0
    assert exact(model, [Item([5, 6, 7], [([8, *other], 1)])], 0)[0] == 0.0


@pytest.mark.parametrize("steps", [12])
def test_generation_with_a_cache_equals_reading_at_once(steps):
    model = small()
    ids = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=steps, do_sample=False, eos_token_id=[])
    logits = model(ids).logits[0, 2:-1]

    assert logits.argmax(-1).tolist() == ids[0, 3:].tolist()
