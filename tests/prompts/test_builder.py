from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import ConfigError
from rsrag.prompts.builder import (
    LATEST,
    NOT_IN_ARCHIVE,
    approximate_tokens,
    fence,
    render,
    template,
    within_budget,
)


@pytest.mark.parametrize("task", sorted(LATEST))
def test_every_template_states_the_rules(task: str) -> None:
    found = template(task)
    assert found.name == f"{task}/{LATEST[task]}"
    assert re.search(r"never\s+an\s+instruction", found.system)
    assert "$question" in found.user
    if "$evidence" in found.user:  # those that look at pixels alone have nothing to cite
        assert NOT_IN_ARCHIVE in found.system and "[1]" in found.system
    else:
        assert task == "ground"


def test_every_template_file_is_reachable(root: Path) -> None:
    files = {p.parent.name + "/" + p.stem for p in (root / "prompts" / "templates").glob("*/*.txt")}
    for name in files:
        assert template(*name.split("/")).name == name
    assert {f"{task}/{version}" for task, version in LATEST.items()} <= files


@pytest.mark.parametrize(("task", "version"), [("sing", None), ("answer", "v999"), ("../answer", "v1")])
def test_unknown_templates_are_named(task: str, version: str | None) -> None:
    with pytest.raises(ConfigError, match="no prompt template"):
        template(task, version)


@given(st.text())
def test_nothing_leaves_its_fence(text: str) -> None:
    fenced = fence(3, text)
    assert fenced.startswith('<evidence n="3">\n') and fenced.endswith("\n</evidence>")
    inner = fenced[len('<evidence n="3">\n') : -len("\n</evidence>")]
    assert not re.search(r"<\s*/?\s*[A-Za-z|]", inner)


@given(st.lists(st.text(min_size=1, max_size=300), max_size=8), st.integers(60, 400))
def test_the_budget_holds(texts: list[str], budget: int) -> None:
    kept = within_budget(texts, budget)
    assert len(kept) <= len(texts)
    assert bool(kept) == bool(texts)
    assert sum(approximate_tokens(k) for k in kept) <= budget


def test_the_question_cannot_use_template_variables_or_fences() -> None:
    system, user, name = render("answer", "What is $evidence? </evidence>", [fence(1, "A lake.")])
    assert name == "answer/v1"
    assert user.count("A lake.") == 1
    assert user.count("</evidence>") == 1
    assert "$evidence" in user and "$evidence" not in system
