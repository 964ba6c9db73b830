"""Fine attributes of pictures: tags as OpenStreetMap writes them, from a file or found in captions.

A tag is a key and a value: ``surface=asphalt``. Found in captions the key says what has the attribute and which one it
is, ``tree:colour=green``; its candidate sentences are "green tree", "yellow tree" and so on.

How tags are found in captions (rules and the words of ``suites/attributes/words.json``, nothing is learnt): a colour, a
number, a material or a shape; after it perhaps further such words, "and", or a word of size; then the next word, or
more where they make a known compound ("storage tank"), is the thing, its plural made singular. A tag counts for a
picture when two of its sentences say it, or its only one does; equal sentences count as often as they come.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rsrag.errors import UsageError

_DATA = json.loads((files("rsrag.eval") / "suites" / "attributes" / "words.json").read_text(encoding="utf-8"))
KINDS: Mapping[str, frozenset[str]] = {kind: frozenset(words) for kind, words in _DATA["kinds"].items()}
_ATTRIBUTE: Mapping[str, str] = {word: kind for kind, words in KINDS.items() for word in words}
_SAME: Mapping[str, str] = _DATA["same"]
_BETWEEN = frozenset(_DATA["between"])
_NO_THING = frozenset(_DATA["no_thing"])
_COMPOUNDS = frozenset(tuple(name.split()) for name in _DATA["compounds"])
_REACH = 4
_FEW = {"yes", "no", ""}


@dataclass(frozen=True, slots=True)
class TagFile:
    """Tags of pictures.

    Attributes:
        tags: file → its tags, key → values; a key with several values is true of all of them.
        sentences: key → template of its candidate sentences, with ``{value}``; keys without one get
            :func:`default_template`.
        skipped: rows that carried no tag.
    """

    tags: Mapping[str, Mapping[str, frozenset[str]]]
    sentences: Mapping[str, str]
    skipped: int = 0


def default_template(key: str) -> str:
    """``{value} key``, the key in words: "roof:shape" gives "{value} roof shape"."""
    return "{value} " + " ".join(re.split(r"[\s:_\-]+", key)).strip()


# --- files ------------------------------------------------------------------------------------------------------------


def read_tags(path: Path) -> TagFile:
    """Tags from a JSON or CSV file.

    JSON: a list of ``{"file", "tags"}``, the tags as an object or as a list of "key=value"; or an object with such a
    list as ``images`` and ``sentences``, key → template. CSV: SkyScript's table with ``filepath`` and ``title``, whose
    parts "key of value" and "key is value" are read; its metadata are pickles, which are not opened.

    Raises:
        UsageError: not such a file, or no tag in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read tags {path}: {error}") from error
    sentences: Mapping[str, str] = {}
    if path.suffix.lower() == ".csv":
        try:
            rows = list(_csv_rows(text, path))
        except csv.Error as error:
            raise UsageError(f"{path}: damaged CSV, {error}") from error
    else:
        rows, sentences = _json_rows(text, path)
    tags: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    skipped = 0
    for file, pairs in rows:
        good = [(key.strip().lower(), value.strip().lower()) for key, value in pairs]
        good = [(key, value) for key, value in good if key and value not in _FEW]
        skipped += not good
        for key, value in good:
            tags[file][key].add(value)
    if not tags:
        raise UsageError(f"{path}: no tags", hint='[{"file": "a.jpg", "tags": {"surface": "asphalt"}}, ...]')
    wrong = next((key for key, template in sentences.items() if "{value}" not in template), None)
    if wrong is not None:
        raise UsageError(f"{path}: the sentence of {wrong!r} has no {{value}}")
    return TagFile(_frozen(tags), dict(sentences), skipped)


def write_tags(path: Path, found: TagFile) -> None:
    """Write tags so that :func:`read_tags` reads them.

    Raises:
        UsageError: the file cannot be written.
    """
    images = [
        {"file": file, "tags": [f"{key}={value}" for key, values in sorted(tags.items()) for value in sorted(values)]}
        for file, tags in found.tags.items()
    ]
    document = {"sentences": dict(found.sentences), "images": images}
    try:
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error


def _json_rows(text: str, path: Path) -> tuple[list[tuple[str, list[tuple[str, str]]]], Mapping[str, str]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: damaged JSON, {error}") from error
    images, sentences = document, {}
    if isinstance(document, dict):
        images, sentences = document.get("images"), document.get("sentences", {})
    texts = isinstance(sentences, dict) and all(isinstance(value, str) for value in sentences.values())
    if not isinstance(images, list) or not texts:
        raise UsageError(f"{path}: not a list of tagged files", hint='[{"file": "a.jpg", "tags": ["surface=asphalt"]}]')
    rows = []
    for number, row in enumerate(images, 1):
        if not isinstance(row, dict) or not isinstance(row.get("file"), str):
            raise UsageError(f"{path}, entry {number}: no 'file'")
        rows.append((row["file"], _pairs(row.get("tags"), f"{path}, entry {number}")))
    return rows, {key.strip().lower(): value for key, value in sentences.items()}


def _pairs(tags: Any, where: str) -> list[tuple[str, str]]:
    if isinstance(tags, dict):
        pairs = [(k, v) for k, vs in tags.items() for v in (vs if isinstance(vs, list) else [vs])]
        return [(str(k), str(v)) for k, v in pairs if v is not None]  # null: known to have no value
    if isinstance(tags, list) and all(isinstance(tag, str) and "=" in tag for tag in tags):
        return [(key, value) for key, _, value in (tag.partition("=") for tag in tags)]
    raise UsageError(f"{where}: 'tags' is neither an object nor a list of key=value")


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    reader = csv.DictReader(io.StringIO(text))
    if not reader.fieldnames or not {"filepath", "title"} <= set(reader.fieldnames):
        raise UsageError(f"{path}: no columns filepath and title")
    for row in reader:
        parts = re.split(r",\s*|\s+and\s+", row["title"] or "")
        said = [re.fullmatch(r"(?:and )?(.+?) (?:of|is) (.+)", part.strip(" .")) for part in parts]
        yield row["filepath"], [(match[1], match[2]) for match in said if match]


# --- captions ---------------------------------------------------------------------------------------------------------


def tags_of_captions(captions: Mapping[str, Sequence[str]]) -> TagFile:
    """Tags that the captions of pictures agree on; see the module for the rules.

    Args:
        captions: file → its sentences.
    """
    tags: dict[str, dict[str, set[str]]] = {}
    for file, sentences in captions.items():
        said = Counter(tag for sentence in sentences for tag in set(attributes_in(sentence)))
        enough = min(2, len(sentences))
        for (thing, kind, value), times in said.items():
            if times >= enough:
                tags.setdefault(file, {}).setdefault(f"{thing}:{kind}", set()).add(value)
    keys = {key for found in tags.values() for key in found}
    return TagFile(_frozen(tags), {key: _template(*key.split(":")) for key in sorted(keys)}, len(captions) - len(tags))


def attributes_in(sentence: str) -> list[tuple[str, str, str]]:
    """Attributes that a sentence states: (thing, kind, value), as in ("tree", "colour", "green")."""
    words = [_SAME.get(word, word) for word in re.findall(r"[a-z]+", sentence.lower())]
    found = []
    for start, value in enumerate(words):
        kind = _ATTRIBUTE.get(value)
        thing = _thing(words, start + 1) if kind else None
        if kind and thing:
            found.append((thing, kind, value))
    return found


def _thing(words: Sequence[str], start: int) -> str | None:
    for place in range(start, min(start + _REACH, len(words))):
        word = words[place]
        if word in _ATTRIBUTE or word in _BETWEEN:
            continue
        if word in _NO_THING or len(word) < 3:
            return None
        for length in (3, 2):
            compound = (*words[place : place + length - 1], singular(words[min(place + length, len(words)) - 1]))
            if compound in _COMPOUNDS:
                return " ".join(compound)
        return singular(word)
    return None


def singular(word: str) -> str:
    """An English noun without its plural ending, by rule."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _template(thing: str, kind: str) -> str:
    return "{value} " + (f"{thing}s" if kind == "count" else thing)


def _frozen(tags: Mapping[str, Mapping[str, Iterable[str]]]) -> dict[str, dict[str, frozenset[str]]]:
    return {file: {key: frozenset(values) for key, values in found.items()} for file, found in tags.items()}
