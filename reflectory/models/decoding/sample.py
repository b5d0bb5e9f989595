"""One token per row out of log-probabilities: greedy with fixed ties, or drawn with the row's own random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

#: Log-probabilities closer than this (nats) count as equal: rounding differs with the shape of a batch, and a tie must not.
TIE = 1e-5
#: Uniform numbers stay below 1 by more than the rounding of a cumulative sum, so a draw never lands behind the last token.
TOP = 1.0 - 2.0**-40


def uniforms(seed: int) -> np.random.Generator:
    """A request's own random numbers: the same for the same seed, whatever else is in the batch.

    Args:
        seed: Any integer.

    Returns:
        A counter-based generator (Philox, Salmon et al. 2011).
    """
    return np.random.Generator(np.random.Philox(key=seed & (2**128 - 1)))


def pick(logprobs: torch.Tensor, temperatures: Sequence[float], draws: Sequence[float]) -> torch.Tensor:
    """Choose one column per row.

    Args:
        logprobs: Shape (rows, columns), nats, float32; -inf for columns that cannot be chosen. Need not be normalised.
        temperatures: One per row; 0 is greedy: the first column within `TIE` of the best.
        draws: One uniform number in [0, 1) per row; unused where greedy.

    Returns:
        Column indices, shape (rows,), int64.
    """
    best = (logprobs >= logprobs.amax(-1, keepdim=True) - TIE).to(torch.uint8).argmax(-1)
    warm = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    if warm:
        rows = torch.tensor(warm, device=logprobs.device)
        heat = torch.tensor([temperatures[row] for row in warm], dtype=torch.float64, device=logprobs.device)
        mass = torch.softmax(logprobs[rows].double() / heat[:, None], dim=-1).cumsum(-1)
        level = torch.tensor([min(draws[row], TOP) for row in warm], dtype=torch.float64, device=logprobs.device)
        drawn = torch.searchsorted(mass, level[:, None] * mass[:, -1:], right=True)
        best[rows] = drawn[:, 0]
    return best


def pick_among(
    logprobs: torch.Tensor, options: Sequence[Sequence[int]], temperatures: Sequence[float], draws: Sequence[float]
) -> torch.Tensor:
    """Choose one token per row among the tokens the row allows.

    Args:
        logprobs: Shape (rows, vocabulary), nats.
        options: Allowed token ids of each row, ascending, at least one.
        temperatures: As in `pick`.
        draws: As in `pick`.

    Returns:
        Token ids, shape (rows,), int64.
    """
    width = max(len(tokens) for tokens in options)
    table = torch.tensor([[*tokens, *[-1] * (width - len(tokens))] for tokens in options], device=logprobs.device)
    allowed = logprobs.gather(1, table.clamp(min=0)).masked_fill(table < 0, -math.inf)
    return table.gather(1, pick(allowed, temperatures, draws)[:, None])[:, 0]
