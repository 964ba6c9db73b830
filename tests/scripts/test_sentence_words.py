"""The word table of the small sentence encoder: rarer words weigh more, forms of a word are one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("sentence_words")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("castles", "castle"),
        ("churches", "church"),
        ("cities", "city"),
        ("building", "build"),
        ("stopped", "stop"),
        ("carved", "carve"),
        ("moved", None),
        ("glass", None),
        ("basis", None),
        ("this", None),
        ("caves", "cave"),
    ],
)
def test_a_form_is_found_only_where_the_plain_word_is_known(script: ModuleType, word: str, plain: str | None) -> None:
    known = {w: i for i, w in enumerate(("castle", "church", "city", "build", "stop", "carve", "cave", "glas", "thi"))}
    assert script.stem(word, known) == plain


def test_the_share_of_texts_counts_a_text_once_and_all_forms(script: ModuleType) -> None:
    stems = np.array([0, 1, 1, 3], dtype=np.uint16)
    np.testing.assert_allclose(script.shares([[1, 2, 2], [0], [3, 3]], stems), [1 / 3, 1 / 3, 0, 1 / 3])


def test_frequent_tokens_weigh_little_and_signs_nothing(script: ModuleType) -> None:
    folder = ROOT / "rsrag" / "models" / "weights" / "mini" / "text2"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = ["There are many planes.", "A plane stands beside the planes.", "A river."]
    texts = {source: lines for source in script.SOURCES}
    table = script.word_table(tokenizer, texts)
    known = tokenizer.get_vocab()
    weight = {word: int(table["weights"][known[word]]) for word in ("the", "river", "plane", "abbey", ".", "[CLS]")}
    assert weight["."] == weight["[CLS]"] == 0
    assert weight["the"] < weight["plane"] < weight["river"] < weight["abbey"]
    assert table["weights"].dtype == np.uint8
    assert table["stems"][known["planes"]] == known["plane"]
    assert table["weights"][known["planes"]] == table["weights"][known["plane"]]
    assert known["##s"] in table["endings"]
