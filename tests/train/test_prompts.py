"""Sentences made from class names, template files, label files, and when two sentences count as equal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import ConfigError
from rsrag.train.prompts import (
    BANKS,
    gist,
    merge_groups,
    normal,
    read_labels,
    sentences,
    templates_for,
    words,
)


def test_names_become_words() -> None:
    assert words("SeaLake") == "sea lake"
    assert words("storage_tanks") == "storage tanks"
    assert normal("There is  a piece of Farmland .") == "there is a piece of farmland"


def test_letters_of_all_scripts_count() -> None:
    assert normal("Un café à Göteborg!") == "un café à göteborg"
    assert normal("一个机场") != normal("一片森林")


def test_signs_that_letters_bear_are_part_of_them() -> None:
    assert normal("नदी का जल") == "नदी का जल" != normal("नदि की जल")
    assert normal("cafe\u0301") == normal("caf\u00e9")
    assert normal("harbour \u2600\ufe0f") == "harbour"


def test_sentences_say_the_same_up_to_articles_and_forms_of_be() -> None:
    assert gist("There are many trees in the park .") == gist("many trees in a park")
    assert gist("It is a piece of cropland") == gist("Here is a piece of cropland .")
    assert gist("no trees in the park") != gist("trees in the park")
    assert gist("trees near the park") != gist("trees in the park")
    assert gist("two planes") != gist("three planes")
    assert gist("it is there") == "it is there"  # nothing else to go by


@given(st.text(max_size=60))
def test_both_forms_are_stable(text: str) -> None:
    assert normal(normal(text)) == normal(text)
    assert gist(normal(text)) == gist(text)
    assert bool(gist(text)) == bool(normal(text))


def test_classes_that_share_a_name_share_a_group() -> None:
    names = {"a": ["parking lot"], "b": ["car park", "garage"], "c": ["parking lot", "car park"], "d": ["x"]}
    groups = merge_groups(names)
    assert groups["a"] == groups["b"] == groups["c"] != groups["d"]
    same = merge_groups({"a": ["Parking-Lot"], "b": ["the parking lot"], "c": ["?"], "d": ["!"]})
    assert same["a"] == same["b"] and len(set(same.values())) == 3


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.lists(st.sampled_from("uvwxyz"), min_size=1)))
def test_groups_are_the_connected_parts(names: dict[str, list[str]]) -> None:
    groups = merge_groups(names)
    assert sorted(set(groups.values())) == list(range(len(set(groups.values()))))
    for one, options in names.items():
        for other, others in names.items():
            if set(options) & set(others):
                assert groups[one] == groups[other]
    parts: dict[int, set[str]] = {}
    for key, own in names.items():
        parts.setdefault(groups[key], set()).update(own)
    for number, options in parts.items():
        assert not any(options & more for other, more in parts.items() if other != number)


def test_banks_by_name_and_from_a_file(tmp_path: Path) -> None:
    for bank in BANKS.values():
        assert all(template.count("{}") == 1 for template in bank)
    assert not any("aerial" in template for template in templates_for("sentinel", tmp_path))
    (tmp_path / "mine.txt").write_text("# my own\n\na radar image of {}\n{} by night\n", encoding="utf-8")
    mine = templates_for("mine.txt", tmp_path)
    assert mine == ("a radar image of {}", "{} by night")
    assert sentences(["port", "harbour"], mine)[2:] == ["a radar image of harbour", "harbour by night"]
    assert sentences(["{} {0}"], ("a {}",)) == ["a {} {0}"]  # names are never formats


@pytest.mark.parametrize("line", ["no place", "{} and {}", "{0}", "{name}", "{{}}", "a {} {x.__class__}", ""])
def test_templates_with_anything_but_one_place_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.txt").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="exactly one"):
        templates_for("bad.txt", tmp_path)


def test_a_missing_template_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.txt"):
        templates_for("nowhere.txt", tmp_path)


def test_labels_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"SeaLake": "sea or lake", "Forest": ["forest", "woodland"]}), encoding="utf-8")
    assert read_labels(path) == {"SeaLake": ["sea or lake"], "Forest": ["forest", "woodland"]}


@pytest.mark.parametrize("text", ["[", "[]", '{"a": 3}', '{"a": []}', '{"a": ["b", 2]}', '{"a": " "}'])
def test_other_label_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"labels\.json"):
        read_labels(path)
