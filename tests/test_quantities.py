from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.quantities import backed, quantities, same


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("It is 72.5 m high.", 72.5, "length"),
        ("rising to 8,848 metres", 8848.0, "length"),
        ("about 25 000 km² of water", 25000.0, "area"),
        ("an area of 500 ha", 5.0, "area"),
        ("68,870 square kilometres", 68870.0, "area"),
        ("some 3.5 million people", 3.5e6, "people"),
        ("founded in 1527 by", 1527.0, "year"),
        ("embarked in 827 on their conquest", 827.0, "year"),
        ("built in 52 BC", -52.0, "year"),
        ("until AD 52.", 52.0, "year"),
        ("in the 13th century", 13.0, "ordinal"),
        ("95% of the forest", 0.95, "share"),
        ("springs of 46 °C", 46.0, "temperature"),
        ("twelve towers", 12.0, ""),
        ("more than 600 wooden houses", 600.0, ""),
        ("minus sign: -4.2 °C", -4.2, "temperature"),
        ("for 10,000 years", 10000.0, "duration"),
    ],
)
def test_numbers_are_read_with_their_units(text: str, value: float, dimension: str) -> None:
    (found,) = quantities(text)
    assert (found.value, found.dimension) == (pytest.approx(value), dimension)


def test_a_range_gives_both_ends_and_no_negative_number() -> None:
    assert [q.value for q in quantities("from 790-800 m")] == [790.0, 800.0]


def test_digits_inside_names_are_not_numbers() -> None:
    assert quantities("tile A12b of S2") == []


def test_a_claim_may_convert_units_but_not_change_the_value() -> None:
    evidence = quantities("The lake is 5 km long and was mapped in 1985; 300 ha are reed.")
    assert backed(quantities("5,000 m")[0], evidence)
    assert backed(quantities("3 km2")[0], evidence)
    assert not backed(quantities("6 km")[0], evidence)
    assert not backed(quantities("5 km2")[0], evidence)


def test_years_must_be_exact_while_measures_may_be_rounded() -> None:
    evidence = quantities("In 1985 it was 1,985 m deep.")
    assert backed(quantities("in 1985")[0], evidence)
    assert not backed(quantities("in 1986")[0], quantities("in 1985"))
    assert backed(quantities("2,000 m")[0], evidence)


@given(st.text(alphabet="0123456789 .,-kmha²%°CBD", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    for found in quantities(text):
        assert 0 <= found.start < found.end
        assert same(found.value, found.value)
