from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot.errors import ModelError
from bot.retrieval.calibration import (
    FOUND_FEATURES,
    Calibrations,
    follow_features,
    lead,
    load_calibrations,
    logit,
    probabilities,
    rule_features,
    rule_probabilities,
    save_calibrations,
    sigmoid,
)
from bot.retrieval.shelf import Candidates
from bot.types import LANGUAGES
from tests.retrieval.shop import CALIBRATION, weights

OTHER = replace(CALIBRATION, found=replace(CALIBRATION.found, bias=0.25))
BOTH = dict.fromkeys(LANGUAGES, Calibrations(CALIBRATION, OTHER))


def candidates(*dense: float, unanswerable: float = 0.0) -> Candidates:
    ranking = np.zeros((len(dense), 6))
    ranking[:, 0] = dense
    return Candidates(np.arange(len(dense)), ranking, np.zeros(len(dense)), unanswerable, 0.0, 1.0, 2)


def test_a_saved_calibration_comes_back_the_same(tmp_path: Path) -> None:
    save_calibrations(tmp_path / "c.json", BOTH)
    assert load_calibrations(tmp_path / "c.json") == BOTH


def test_a_shop_without_questions_is_judged_by_its_documents_alone() -> None:
    both = Calibrations(CALIBRATION, OTHER)
    assert both.of(20, 0) == both.of(20, 19) == OTHER
    assert both.of(20, 20) == CALIBRATION


def test_a_calibration_for_other_features_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    save_calibrations(path, BOTH)
    path.write_text(path.read_text().replace('"keyword_known"', '"moonlight"'))
    with pytest.raises(ModelError, match="other features; run"):
        load_calibrations(path)


@pytest.mark.parametrize("content", [None, "", "[]", "{}"])
def test_a_broken_calibration_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    with pytest.raises(ModelError, match=r"c\.json.*finetune encoder"):
        load_calibrations(tmp_path / "c.json")


def test_scores_are_probabilities_and_the_best_keeps_its_own() -> None:
    far = probabilities(candidates(0.9, 0.1), CALIBRATION)
    near = probabilities(candidates(0.9, 0.85), CALIBRATION)
    assert 0 < far[1] < near[1] < near[0] < 1
    assert far[0] == near[0], "gap has no weight here"


def test_an_unanswerable_question_nearby_lowers_the_score() -> None:
    assert (
        probabilities(candidates(0.9, 0.1, unanswerable=0.9), CALIBRATION)[0]
        < probabilities(candidates(0.9, 0.1, unanswerable=0.1), CALIBRATION)[0]
    )


def test_a_lead_over_the_second_counts_when_it_has_a_weight() -> None:
    leads = replace(CALIBRATION, answers=weights(9, at4=1.0))
    assert probabilities(candidates(0.9, 0.1), leads)[0] > probabilities(candidates(0.9, 0.8), leads)[0]


def test_a_single_candidate_has_a_score() -> None:
    assert 0 < probabilities(candidates(0.5), CALIBRATION)[0] < 1


@pytest.mark.parametrize(("text", "language", "opens", "points"), [
    ("and for express?", "en", 1, 0), ("Does it have a lid?", "en", 0, 1), ("delivery cost", "en", 0, 0),
    ("那顺丰呢", "zh", 1, 1), ("运费多少钱", "zh", 0, 0),
])  # fmt: skip
def test_a_follow_up_is_seen_by_how_it_opens_and_what_it_points_at(text, language, opens, points) -> None:
    assert follow_features(text, language, 0.2, 0.8)[:2].tolist() == [opens, points]


def test_a_rules_lead_is_counted_from_the_best_other_one() -> None:
    assert lead(np.array([1.0, 4.0, 2.0])).tolist() == [-3.0, 2.0, -2.0]
    assert lead(np.array([2.0, 2.0])).tolist() == [0.0, 0.0]
    assert lead(np.array([1.0])).tolist() == [0.0]


def test_rules_their_passage_and_the_query_decide_together_whether_anything_answers() -> None:
    found = weights(len(FOUND_FEATURES), at0=1.0, at1=1.0, at3=0.5, at17=2.0)
    weighed = replace(CALIBRATION, rules=weights(6, at0=1.0), found=found)
    features = rule_features(np.array([2.0, -1.0]), np.full(2, 0.5), np.zeros(2), np.zeros(2))
    rules, any_answers = rule_probabilities(features, 0.7, np.arange(9) / 8, weighed)
    assert np.allclose(rules, sigmoid(np.array([2.0, -1.0])))
    assert np.isclose(any_answers, sigmoid(2.0 + logit(0.7) + 0.5 * 2.0 + 2.0 * 1.0))
