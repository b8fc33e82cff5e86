import random

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from finetune.batching import batches, lay_out, learnt, loss_sum, measure, steps
from finetune.tasks import Item
from tests.finetune.shapes import SHAPES, make_shape


def lone(rng, length, answer):
    ids = [rng.randrange(5, 250) for _ in range(length)]
    return Item(ids[:3], [(ids[3:], length - 3 - answer)])


def branched(rng, shared, tails):
    prefix = [rng.randrange(5, 250) for _ in range(shared)]
    return Item(prefix, [([rng.randrange(5, 250) for _ in range(n)], n // 2) for n in tails])


@pytest.fixture(scope="module", params=SHAPES)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make_shape(request.param, folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def alone(model, items):
    """The loss of every answer read by itself, summed."""
    total = torch.zeros(())
    for item in items:
        for tail, begin in item.branches:
            ids = torch.tensor([[*item.prefix, *tail]])
            logits = model(input_ids=ids).logits[0, len(item.prefix) + begin - 1 : -1]
            total = total + F.cross_entropy(logits, torch.tensor(tail[begin:]), reduction="sum")
    return total


def test_padding_and_kept_logits_change_no_loss(model):
    rng = random.Random(0)
    items = [lone(rng, 20, 6), lone(rng, 17, 2), lone(rng, 20, 9)]

    assert loss_sum(model, lay_out(items, 0)).item() == pytest.approx(alone(model, items).item(), rel=1e-5)


def test_a_folded_context_gives_every_question_the_loss_it_has_alone(model):
    rng = random.Random(0)
    items = [branched(rng, 12, (6, 9, 4)), branched(rng, 20, (5,))]

    assert loss_sum(model, lay_out(items, 0)).item() == pytest.approx(alone(model, items).item(), rel=1e-5)


def test_answers_word_for_word_are_counted_by_answer(model):
    rng = random.Random(0)
    items = [branched(rng, 12, (6, 9, 4)), branched(rng, 20, (5,))]
    with torch.no_grad():
        for item in items[:1]:  # let two of the four answers be what the model would say
            for n in (0, 2):
                tail, begin = item.branches[n]
                for at in range(begin, len(tail)):
                    ids = torch.tensor([[*item.prefix, *tail[:at]]])
                    tail[at] = model(input_ids=ids).logits[0, -1].argmax().item()

    loss, right = measure(model, lay_out(items, 0))

    assert right == 2
    assert loss == pytest.approx(alone(model, items).item(), rel=1e-5)


def test_logits_are_kept_only_where_something_is_learnt():
    rng = random.Random(0)
    laid = lay_out([lone(rng, 50, 6), lone(rng, 40, 4)], 0)

    assert laid.inputs["logits_to_keep"].tolist() == list(range(43, 49))
    assert (laid.targets != -100).sum() == 10
    assert "attention_mask" not in lay_out([lone(rng, 50, 6)] * 2, 0).inputs


def test_a_batch_holds_items_of_like_length_and_every_item_once():
    rng = random.Random(0)
    items = [lone(rng, rng.randint(10, 90), 3) for _ in range(60)]

    found = batches(items, 300, rng)

    assert sorted(map(id, (item for batch in found for item in batch))) == sorted(map(id, items))
    assert max(max(map(len, batch)) * len(batch) for batch in found) <= 300
    assert sum(max(map(len, batch)) * len(batch) for batch in found) < 1.2 * sum(map(len, items))


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (2, 1), (3, 2), (1, 4)])
def test_every_process_gets_as_many_batches_and_every_item_is_learnt(processes, accumulate):
    rng = random.Random(0)
    items = [lone(rng, rng.randint(10, 90), 3) for _ in range(60)]

    plan = steps(items, 200, rng, processes=processes, accumulate=accumulate)

    assert all(len(step) % processes == 0 and len(step) <= processes * accumulate for step in plan)
    assert {id(item) for step in plan for batch in step for item in batch} == set(map(id, items))
    assert sum(learnt(batch) for step in plan for batch in step) >= 180


def test_no_items_make_no_steps():
    assert steps([], 100, random.Random(0), processes=2) == []
