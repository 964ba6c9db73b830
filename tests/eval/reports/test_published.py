"""Published figures: they are found by data set, keep to the names of our suites, and say where they come from."""

from __future__ import annotations

import pytest

from rsrag.errors import UsageError
from rsrag.eval.reports.published import dataset_of, datasets, is_published, published

FIGURES = {
    "classification": {"top1"},
    "retrieval": {"mR", "i2t_mR", "t2i_mR"},
    "selo": {"rmi"},
    "attributes": {"top1"},
}


@pytest.mark.parametrize("suite", sorted(FIGURES))
def test_every_row_has_a_source_and_figures_within_bounds(suite: str) -> None:
    assert datasets(suite)
    for dataset in datasets(suite):
        rows = published(suite, dataset)
        assert len({row.title for row in rows}) == len(rows)
        for row in rows:
            assert row.source and row.protocol and is_published(row.title)
            assert set(row.figures) <= FIGURES[suite]
            assert all(0 < value < (1 if suite == "selo" else 100) for value in row.figures.values())


def test_some_figures_as_printed() -> None:
    found = {row.model: row.figures for row in published("classification", "eurosat")}
    assert found["GeoRSCLIP ViT-B/32"] == {"top1": 61.40} and found["SkyCLIP-50 ViT-L/14"] == {"top1": 51.33}
    rsicd = {row.title: row.figures for row in published("retrieval", "rsicd")}
    assert rsicd["GeoRSCLIP ViT-B/32 (zero-shot; published)"] == {"mR": 26.06}
    assert rsicd["SkyCLIP-30 ViT-L/14 (zero-shot, equal texts once; published)"] == {"i2t_mR": 23.70, "t2i_mR": 19.97}


def test_no_data_set_and_unknown_ones() -> None:
    assert published("classification", None) == []
    with pytest.raises(UsageError, match=r"no published figures of retrieval on 'eurosat' \(known: rsicd, rsitmd, ucm"):
        published("retrieval", "eurosat")
    with pytest.raises(UsageError, match="none for this suite"):
        published("knowledge", "rsicd")


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("eurosat.zip", "eurosat"), ("EuroSAT_RGB", "eurosat"), ("ucm_captions.zip", "ucm"), ("my-rsicd-copy", None)],
)
def test_data_sets_by_the_name_of_a_file(name: str, dataset: str | None) -> None:
    assert dataset_of(name) == dataset


def test_our_own_rows_are_not_published() -> None:
    assert not is_published("mini-image") and not is_published("chance, any match")
