from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evidence import DESERT, DESERT_TEXT, LAKE, LAKE_TEXT, evidence, passage_hit, tile_hit

from rsrag.alike import WordSpace, content_words, wanted_words
from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.questions import understand
from rsrag.sentences import FEATURES, SentenceScorer, candidates, fitting_numbers, read_weights, without_title


@pytest.fixture(scope="module")
def scorer() -> SentenceScorer:
    return SentenceScorer(WordSpace.shared(Settings()), [1.0] * len(FEATURES))


FOUND = candidates(evidence(passage_hit("a", LAKE_TEXT, LAKE, 0.8), passage_hit("b", DESERT_TEXT, DESERT, 0.4)))


def column(scorer: SentenceScorer, question: str, name: str) -> np.ndarray:
    return scorer.features(understand(question), FOUND)[:, FEATURES.index(name)]


def test_candidates_are_the_sentences_of_passages_each_once() -> None:
    twice = evidence(
        passage_hit("a", LAKE_TEXT, LAKE), passage_hit("b", LAKE_TEXT + " Carp swim there.", LAKE), tile_hit()
    )
    places = [(c.number, c.position) for c in candidates(twice)]
    assert places == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 4)]


def test_a_title_run_into_its_sentence_is_cut_off() -> None:
    assert without_title("Lake Chad The lake is shallow and wide.", "Lake Chad") == "The lake is shallow and wide."
    assert without_title("Lake Chad is shallow.", "Lake Chad") == "Lake Chad is shallow."


def test_features_say_what_they_claim(scorer: SentenceScorer) -> None:
    assert list(column(scorer, "How deep was the lake?", "kind")) == [0, 0, 1, 0, 0, 1, 0]
    assert list(column(scorer, "In which year?", "kind")) == [0, 1, 1, 0, 0, 0, 0]
    assert list(column(scorer, "anything", "place")) == [1, 1, 1, 1, 0, 0, 0]
    assert column(scorer, "anything", "standing") == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.5])
    assert column(scorer, "Which river feeds it?", "name")[3] == 1
    assert column(scorer, "How deep was the lake?", "near")[2] > column(scorer, "How deep was the lake?", "near")[5]
    assert column(scorer, "shallow Sahel lake", "meaning").argmax() == 0


def test_the_words_next_to_the_asking_word_count_most_for_focus(scorer: SentenceScorer) -> None:
    question = "What depth had the water that lies in Africa, is said to be shallow, wide, warm and full of Sahel fish?"
    focus, meaning = column(scorer, question, "focus"), column(scorer, question, "meaning")
    assert focus[2] / focus[0] > meaning[2] / meaning[0]


def test_numbers_given_in_the_question_do_not_answer_it() -> None:
    asked = understand("What happened to the lake in 1972, in which year did it refill?")
    assert fitting_numbers(understand("In which year?"), "In 1972 and 1985.", {1972.0})[0].value == 1985.0
    assert fitting_numbers(asked, "In 1972.", {1972.0}) == []


def test_words_of_like_meaning_are_present_in_part() -> None:
    space = WordSpace.shared(Settings())
    wanted = wanted_words(understand("Which towers did the king build in 1999?"))
    present = space.presence(wanted, content_words("castles constructed by a monarch 1998"))
    values = dict(zip([w.word for w in wanted], present, strict=True))
    assert 0 < values["king"] < 1 and 0 < values["towers"] < 1
    assert values["1999"] == 0.0
    assert space.presence(wanted, []).tolist() == [0.0] * len(wanted)


def test_damaged_weights_are_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "reader.json"
    path.write_text('{"weights": {}}')
    with pytest.raises(BadModelFile, match="reader weights"):
        read_weights(path)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It stands at 6.08° S, 145.39° E in the time zone UTC+10.", []),
        ("It lies at 7 ° N and opens at 9:30.", []),
        ("Fourteen airports and 1,250 boats were counted.", [14.0, 1250.0]),
        ("The ratio is 3.5, the share 1/4.", []),
        ("city: Goroka; altitude: 5282; tz: 10; airports: 2", [2.0]),
        ("It has more airports than any other: 86 in all.", [86.0]),
    ],
)
def test_coordinates_ratios_and_time_zones_are_no_counts(text: str, numbers: list[float]) -> None:
    assert [q.value for q in fitting_numbers(understand("How many airports are there?"), text, set())] == numbers
