from __future__ import annotations

import math

import pytest
import torch

from reflectory.models.decoding.sample import TIE, pick, pick_among, uniforms


def test_ties_go_to_the_first_even_when_rounding_parts_them() -> None:
    scores = torch.tensor([[-1.0, -0.5 - TIE / 2, -0.5], [-0.5, -0.5 - 10 * TIE, -3.0]])
    assert pick(scores, [0.0, 0.0], [0.0, 0.0]).tolist() == [1, 0]


@pytest.mark.parametrize(("draw", "column"), [(0.0, 1), (0.2, 1), (0.26, 2), (0.74, 2), (0.76, 4), (1.0 - 2**-53, 4)])
def test_a_draw_lands_in_the_interval_of_its_column(draw: float, column: int) -> None:
    scores = torch.tensor([[-math.inf, math.log(0.25), math.log(0.5), -math.inf, math.log(0.25), -math.inf]])
    assert pick(scores, [1.0], [draw]).tolist() == [column]


def test_temperature_sharpens_and_rows_keep_their_own() -> None:
    scores = torch.tensor([[0.0, math.log(3.0)]] * 3)
    # At T=1 the first column has 1/4 of the mass, at T=1/2 only 1/10.
    assert pick(scores, [1.0, 0.5, 0.0], [0.2, 0.2, 0.2]).tolist() == [0, 1, 1]


def test_only_allowed_tokens_are_picked() -> None:
    scores = torch.tensor([[0.0, -5.0, -1.0, -4.0], [0.0, -5.0, -1.0, -4.0]])
    assert pick_among(scores, [[1, 3], [2]], [0.0, 0.0], [0.0, 0.0]).tolist() == [3, 2]
    assert pick_among(scores, [[1, 3], [2]], [9.0, 9.0], [0.999999, 0.999999]).tolist() == [3, 2]


def test_seeds_give_streams_of_their_own_for_any_integer() -> None:
    assert uniforms(3).random() == uniforms(3).random()
    assert len({uniforms(seed).random() for seed in (-1, 0, 1, 2**70)}) == 4
