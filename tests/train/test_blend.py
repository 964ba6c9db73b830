"""Views that show two pictures."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rsrag.train.blend import blend  # noqa: E402

LABELS, SETS = [0, 1, 2, 3, -1, 0], [0, 0, 1, 1, -1, 0]


def flat(count: int, size: int = 16) -> torch.Tensor:
    """Pictures of one grey value each, ten apart."""
    return (torch.arange(count, dtype=torch.uint8) * 10).view(-1, 1, 1, 1).repeat(1, 3, size, size)


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_those_of_the_pixels_and_partners_of_the_same_set(seed: int) -> None:
    pixels = flat(6)
    labels, sets = torch.tensor(LABELS), torch.tensor(SETS)
    made = blend(pixels, torch.arange(6), labels, sets, 1.0, np.random.default_rng(seed))
    of_set = {0: {0: 0, 1: 10, 5: 50}, 1: {2: 20, 3: 30}}
    for row in range(6):
        seen, own = pixels[row].float().mean().item(), 10.0 * row
        if not made.chosen[row]:
            assert seen == own and made.share[row] == 1 and made.others[row] == labels[row]
            continue
        assert row != 4
        share = made.share[row].item()
        partners = [value for other, value in of_set[SETS[row]].items() if LABELS[other] == made.others[row]]
        assert any(abs(share * own + (1 - share) * value - seen) < 0.6 for value in partners)


def test_all_that_have_a_partner_are_mixed_when_asked_for() -> None:
    chosen = [
        int(blend(flat(6), torch.arange(6), torch.tensor(LABELS), torch.tensor(SETS), 1.0, rng).chosen.sum())
        for rng in map(np.random.default_rng, range(30))
    ]
    assert max(chosen) == 5


def test_nothing_is_mixed_without_a_share() -> None:
    pixels = flat(6)
    made = blend(pixels, torch.arange(6), torch.tensor(LABELS), torch.tensor(SETS), 0.0, np.random.default_rng(0))
    assert not made.chosen.any() and torch.equal(pixels, flat(6))


def test_a_partner_is_taken_from_the_pictures_as_they_were() -> None:
    """Two views that swap pieces must not hand a mixed one on."""
    for seed in range(20):
        pixels = flat(2)
        blend(pixels, torch.arange(2), torch.tensor([0, 1]), torch.tensor([0, 0]), 1.0, np.random.default_rng(seed))
        assert int(pixels.min()) >= 0 and int(pixels.max()) <= 10
