from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.fuse import alpha_fusion, clarity, rrf

RANKINGS = st.dictionaries(
    st.sampled_from(["bm25", "dense", "place"]),
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(0.01, 100), max_size=12).map(
        lambda d: sorted(d.items(), key=lambda item: (-item[1], item[0]))
    ),
)


def test_a_single_channel_keeps_its_order() -> None:
    ranking = [("c", 3.0), ("a", 2.0), ("b", 1.0)]
    assert [f.id for f in rrf({"bm25": ranking})] == ["c", "a", "b"]


def test_plain_rrf_is_the_published_formula() -> None:
    fused = rrf({"x": [("a", 9.0), ("b", 8.0)], "y": [("b", 1.0), ("c", 0.5)]}, k=60, by_clarity=False)
    scale = 2 / 61
    assert {f.id: f.score * scale for f in fused} == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})
    assert fused[0].id == "b" and fused[0].channels == {"x": 8.0, "y": 1.0}


def test_an_undecided_channel_does_not_overrule_a_clear_one() -> None:
    clear = [("right", 20.0)] + [(f"n{i}", 5.0 - i / 10) for i in range(10)]
    vague = [("wrong", 0.52)] + [(f"n{i}", 0.51 - i / 100) for i in range(10)] + [("right", 0.3)]
    assert rrf({"bm25": clear, "dense": vague})[0].id == "right"
    tie = [vague[0], *vague[1:-1]]
    assert rrf({"dense": tie, "bm25": clear[1:]}, by_clarity=False)[0].id != "right"


def test_weights_of_zero_leave_a_channel_out() -> None:
    fused = rrf({"x": [("a", 1.0)], "y": [("b", 1.0)]}, {"y": 0.0})
    assert [f.id for f in fused] == ["a"]


@given(RANKINGS)
def test_fusion_keeps_every_id_once_with_scores_up_to_one_and_is_deterministic(
    rankings: dict[str, list[tuple[str, float]]],
) -> None:
    fused = rrf(rankings)
    assert sorted(f.id for f in fused) == sorted({i for r in rankings.values() for i, _ in r})
    assert all(0 < f.score <= 1 + 1e-12 for f in fused)
    assert fused == sorted(fused, key=lambda f: -f.score)
    reordered = dict(reversed(list(rankings.items())))
    assert [f.id for f in rrf(reordered)] == [f.id for f in fused] or len({round(f.score, 12) for f in fused}) < len(
        fused
    )


@given(RANKINGS)
def test_winning_every_channel_wins_the_fusion(rankings: dict[str, list[tuple[str, float]]]) -> None:
    led = {name: [("best", 1000.0), *ranking] for name, ranking in rankings.items()}
    if led:
        assert rrf(led)[0].id == "best"
        assert rrf(led)[0].score == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], 0.01),
        ([5.0], 1.0),
        ([1.0, 1.0, 1.0], 0.01),
        ([10.0, 5.0, 5.0], 0.5),
        ([0.0, -1.0], 0.01),
        ([1.0, -3.0], 1.0),
    ],
)
def test_clarity(scores: list[float], expected: float) -> None:
    assert clarity([(str(i), s) for i, s in enumerate(scores)]) == pytest.approx(expected)


def test_alpha_fusion_weighs_the_two_cosines() -> None:
    fused = alpha_fusion({"a": 0.8, "b": 0.2}, {"a": 0.1, "b": 0.9}, 0.9)
    assert {f.id: f.score for f in fused} == pytest.approx({"a": 0.73, "b": 0.27})
    assert fused[0].id == "a"


def test_alpha_fusion_without_one_modality() -> None:
    assert alpha_fusion({}, {"a": 0.4}, 0.9)[0].score == pytest.approx(0.4)
    assert alpha_fusion({"a": 0.4}, {}, 0.1)[0].score == pytest.approx(0.4)
    by_id = {f.id: f.score for f in alpha_fusion({"a": 0.5}, {"b": 0.5}, 0.5)}
    assert by_id == pytest.approx({"a": 0.25, "b": 0.25})


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        alpha_fusion({}, {}, alpha)
