"""Documents give clean text under their headings, and say what could not be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import SourceTooLarge, UnreadableSource, UnsupportedSource
from rsrag.ingest.readers.documents import (
    Section,
    front_matter,
    plain_markdown,
    read_markdown,
    read_pdf,
    read_plain,
    read_records,
)
from rsrag.ingest.readers.text import clean, decode, strip_html, title_of

MARKDOWN = """---
title: "The lake"
lat: 46.5
place: Lake Blue
sources: [Guide, "Map, 2nd ed."]
broken line
tags:
  - water
  - alps
---

Before any heading.

# The lake

It is **deep** and [cold](https://example.org/a_(b)).

## History ##

Found in _1864_.

### Middle Ages

![a picture](x.png) A `castle` stood <b>here</b>.

Names
-----

| name | year |
|------|-----:|
| Blau | 1900 |

```python
# not a heading
```

> quoted words

[ref]: https://example.org
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_markdown_becomes_sections_with_their_headings(tmp_path: Path) -> None:
    text = read_markdown(write(tmp_path, "lake.md", MARKDOWN))
    assert text.title == "The lake"
    assert text.sections == (
        Section("Before any heading."),
        Section("It is deep and cold."),
        Section("Found in 1864.", "History"),
        Section("A castle stood here.", "History › Middle Ages"),
        Section("name, year\n\nBlau, 1900\n\n# not a heading\n\nquoted words", "Names"),
    )
    assert text.fields["sources"] == ["Guide", "Map, 2nd ed."]
    assert text.fields["tags"] == ["water", "alps"]
    assert text.fields["lat"] == "46.5"
    assert text.problems == ("line 6: not 'key: value': 'broken line'",)


def test_the_first_heading_is_the_title_without_front_matter(tmp_path: Path) -> None:
    text = read_markdown(write(tmp_path, "a.md", "# Delta\n\nMud.\n\n## Birds\n\nMany.\n"))
    assert text.title == "Delta"
    assert text.sections == (Section("Mud."), Section("Many.", "Birds"))


def test_a_rule_is_not_front_matter_and_not_text(tmp_path: Path) -> None:
    text = read_markdown(write(tmp_path, "a_b.md", "---\n\nOne.\n\n***\n\nTwo.\n"))
    assert text.title == "a b"
    assert [s.text.split() for s in text.sections] == [["One.", "Two."]]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("snake_case_name and 2*3*4", "snake_case_name and 2*3*4"),
        ("***very*** __bold__ *it*", "very bold it"),
        ("[a][1] and [b]", "a and [b]"),
        ("1 < 2 and <br> 3 &gt; 2", "1 < 2 and \n 3 > 2"),
    ],
)
def test_marks_go_and_words_stay(written: str, plain: str) -> None:
    assert plain_markdown(written) == plain


@given(st.text(alphabet=st.sampled_from(list("# -*_`[]()|<>:\nab&;")), max_size=200))
def test_any_markdown_can_be_read(text: str) -> None:
    fields, problems, rest = front_matter(text)
    assert isinstance(plain_markdown(rest), str)
    assert all(isinstance(k, str) for k in fields)
    assert all(p.startswith("line ") for p in problems)


def test_hostile_markdown_stays_cheap() -> None:
    # Quadratic matching would take minutes here.
    for mark in ("[", "`", "| ", "*a ", "<p ", "# ", "> ", "- ", "!["):
        assert isinstance(plain_markdown(mark * 50_000 + "x"), str)


def test_plain_text_keeps_paragraphs_and_loses_controls(tmp_path: Path) -> None:
    text = read_plain(write(tmp_path, "two_words.txt", "One\x00 line.\r\n\r\nTwo\x1b[0m.\fThree\u202e."))
    assert text.title == "two words"
    assert text.sections == (Section("One line.\n\nTwo[0m.\n\nThree."),)
    assert text.properties["control_characters_removed"] == 2


@pytest.mark.parametrize(
    "content", [b"", b" \n ", b"\x00" * 500, b"%PDF-1.4 x", b"\x89PNG\r\n", b"PK\x03\x04zip", b"a\x00b\x00c\x00" * 50]
)
def test_what_is_no_text_is_unreadable(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnreadableSource):
        read_plain(write(tmp_path, "x.txt", content))


def test_bytes_of_other_encodings_are_read_with_a_note() -> None:
    assert decode("naïve café".encode("latin-1"), "x").note == "not valid UTF-8: read as cp1252"
    assert decode("naïve".encode("latin-1") + b"\x81", "x").encoding == "latin-1"
    assert decode("naïve".encode(), "x").note is None


@given(st.binary(max_size=200))
def test_decoding_never_fails_silently(data: bytes) -> None:
    try:
        found = decode(data, "x")
    except UnreadableSource:
        return
    assert found.note is not None or found.text.encode(found.encoding) == data or found.encoding == "utf-16"


@given(st.text(max_size=200))
def test_clean_text_is_stable_and_without_controls(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert not any(c < " " and c not in "\n\t" for c in once)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two</p>", "One\n\n\n\nTwo"),
        ("a<br/>b", "a\nb"),
        ("<script>alert(1)</script>x<style>y</style>z", "xz"),
        ("<!-- hidden -->shown<!-- open", "shown<!-- open"),
        ("Caf&eacute; &#8211; &lt;b&gt;", "Café – <b>"),
        ("a < b, <unknown> and c > d", "a < b, <unknown> and c > d"),
        ("x<script>never closed", "x"),
    ],
)
def test_html_is_stripped(html: str, text: str) -> None:
    assert strip_html(html).strip() == text


@pytest.mark.parametrize(
    ("name", "title"), [("a_b.geojson.gz", "a b"), ("x.csv", "x"), ("v1.2 notes", "v1.2 notes"), (".hidden", ".hidden")]
)
def test_titles_come_from_file_names(name: str, title: str) -> None:
    assert title_of(Path(name)) == title


# PDF


def pdf(pages: list[str], title: str = "") -> bytes:
    """A PDF with a line of Helvetica on each page, written by hand."""
    kids = " ".join(f"{5 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Title ({title}) >>",
    ]
    for n, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {6 + 2 * n} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out = "%PDF-1.4\n"
    offsets = []
    for n, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{n} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{o:010d} 00000 n \n" for o in offsets)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R /Info 4 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return (out + f"xref\n0 {size}\n0000000000 65535 f \n{table}" + trailer).encode("latin-1")


def test_pdf_pages_are_sections(tmp_path: Path) -> None:
    text = read_pdf(write(tmp_path, "a.pdf", pdf(["First page.", "", "Third page."], "Delta report")))
    assert text.title == "Delta report"
    assert text.sections == (Section("First page.", "page 1"), Section("Third page.", "page 3"))
    assert text.properties["pages"] == 3


def test_a_pdf_without_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSource, match="without a text layer"):
        read_pdf(write(tmp_path, "scan.pdf", pdf(["", ""])))


def test_an_encrypted_pdf_says_so(tmp_path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(write(tmp_path, "a.pdf", pdf(["Secret."]))))
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(tmp_path / "b.pdf")
    with pytest.raises(UnreadableSource, match="encrypted"):
        read_pdf(tmp_path / "b.pdf")


@pytest.mark.parametrize("keep", [9, 60, 300])
def test_a_damaged_pdf_is_unreadable_or_empty(tmp_path: Path, keep: int) -> None:
    with pytest.raises((UnreadableSource, UnsupportedSource)):
        read_pdf(write(tmp_path, "a.pdf", pdf(["Text."])[:keep]))


def test_too_many_pages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrag.ingest.readers.documents.MAX_PAGES", 2)
    with pytest.raises(SourceTooLarge):
        read_pdf(write(tmp_path, "a.pdf", pdf(["a", "b", "c"])))


# JSON lines


def test_broken_lines_are_kept_as_problems(tmp_path: Path) -> None:
    content = '{"text": "one"}\n\n{"text": \n[1]\n' + "[" * 50_000 + '\n{"text": "two"}'
    records, properties = read_records(write(tmp_path, "a.jsonl", content))
    found = list(records)
    assert [r.number for r in found] == [1, 3, 4, 5, 6]
    assert [r.values.get("text") for r in found if not r.problem] == ["one", "two"]
    assert [r.problem is None for r in found] == [True, False, False, False, True]
    assert properties == {"format": "jsonl", "encoding": "utf-8"}


def test_training_conversations_are_refused(tmp_path: Path) -> None:
    line = '{"messages": [{"role": "user", "content": "<image>What?"}], "images": ["x.png"]}\n'
    with pytest.raises(UnsupportedSource, match="conversations"):
        read_records(write(tmp_path, "a.jsonl", line * 2))
