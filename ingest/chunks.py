"""Text to sentences, and sentences to passages of a size that retrieval and citing both like.

A passage is a run of whole sentences from one section, about 60 to 110 words. Passages do not overlap: an overlapping
sentence would come back twice as evidence and be cited under two numbers. What a passage loses by standing alone (the
name of the place, the section it comes from) is kept in its heading, which is indexed together with the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

ENOUGH_WORDS = 60
"""A passage of this size ends at the next paragraph break."""
MOST_WORDS = 110
"""A passage never grows beyond this, unless a single sentence does."""
LEAST_WORDS = 20
"""A shorter remainder joins the passage before it."""
LONGEST_SENTENCE = 160
"""Longer "sentences" (tables, lists without full stops) are cut between words."""
LONGEST_WORD = 400
"""Characters of one unbroken run, beyond which it is cut as well."""

_END = re.compile(
    r"""
      (?<![.!?…]) [.!?…]++ ["'”’»)\]]*+ (?:\[\d+\])*+ (?=\s|$)  # a full stop, its closing quotes and footnote marks
    | [。！？।؟] ["”’»」』）)]*                        # scripts that put no space after a sentence
    """,
    re.VERBOSE,
)
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*|[\f\u2029]+")
_ITEM = re.compile(r"\n(?=[^\S\n]*(?:[-*•‣–]|\d{1,2}[.)])[^\S\n]+\S)")
_LAST_WORD = re.compile(r"[^\s(\[\"“‘'«]+\Z")
_LISTED = re.compile(r"[(\[]?\d{1,3}\Z|[(\[]?[A-Za-z]\Z|[ivxIVX]{1,5}\Z")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_NEXT_WORD = re.compile(r"[\s\"“‘'«(\[¿¡]*(\w[\w.]*|\S)?")
_SPACES = re.compile(r"\s+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER_LAST = _words(
    "mr mrs ms mm dr prof st ste sts mt mts ft fr br sr sra fig figs tab eq vol vols pp p no nos nr art sec ch cf vs "
    "viz e.g i.e eg ie c ca circa approx abt est gen col capt lt cmdr sgt rev hon pres gov sen rep messrs mme mlle "
    "pop lat lon long alt elev b d r fl ed eds trans dept univ al nb resp incl excl max min avg"
)
"""Abbreviations that stand before something: a full stop after them ends no sentence."""
_MAYBE_LAST = _words(
    "etc inc ltd co corp plc jr bros a.d b.c b.c.e c.e a.m p.m u.s u.k u.n u.s.a u.s.s.r e.u d.c ph.d m.sc b.sc "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun sq ave blvd rd sp spp ssp var subsp "
    "ibid op cit"
)
"""Abbreviations that may also end a sentence: they do when a typical first word follows."""
_FIRST_WORDS = _words(
    "a about after all also although among an and another as at because before between both but by despite during each "
    "even every for from further given he hence her here his how however i if in it its later like many more moreover "
    "most much near no nor not now of on once one only or other our out over she since so some such that the their "
    "them then there these they this those though through thus to today together two under unlike until up upon we "
    "what when where whereas which while who why with within without yet you"
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, with white space collapsed; no other character is lost or added.

    Blank lines and list items always begin a new sentence, single line breaks never do. Numbers ("1.5 km"), dates
    ("c. 1200 BC"), initials ("J. R. Smith"), "St." and the like do not end a sentence.

    Args:
        text: any text.

    Returns:
        Non-empty sentences in order.
    """
    sentences: list[str] = []
    for paragraph in _PARAGRAPH.split(text):
        for block in _ITEM.split(paragraph):
            for sentence in _sentences_of_block(block):
                if sentences and not any(map(str.isalnum, sentence)):
                    sentences[-1] += f" {sentence}"  # a stray full stop or dash belongs to what came before
                else:
                    sentences.append(sentence)
    return sentences


def _sentences_of_block(block: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(block):
        if _ends_sentence(block, start, match):
            sentence = _SPACES.sub(" ", block[start : match.end()]).strip()
            if sentence:
                yield sentence
            start = match.end()
    rest = _SPACES.sub(" ", block[start:]).strip()
    if rest:
        yield rest


def _ends_sentence(block: str, start: int, match: re.Match[str]) -> bool:
    """Whether the terminator found in ``block`` ends the sentence that began at ``start``."""
    mark = match.group()
    if mark[0] in "。！？।؟":
        return True
    following = _next_word(block, match.end())
    if not following:
        return True
    if following[0].islower():
        return False
    if mark[0] != "." or mark.startswith(".."):
        return True
    # What stands before the full stop; the window keeps this cheap in very long sentences.
    before = _LAST_WORD.search(block, max(start, match.start() - 40), match.start())
    word = before.group() if before else ""
    at_start = not block[start : before.start() if before else match.start()].strip("\"“‘'«([ \t\n-*•‣–")
    if at_start and _LISTED.match(word):
        return False
    return not _is_abbreviation(word, following)


def _is_abbreviation(word: str, following: str) -> bool:
    lowered = word.lower()
    opens = following.lower() in _FIRST_WORDS and not following[0].isdigit()
    if lowered in _NEVER_LAST:
        # "no" and one-letter words are ordinary words too: only before a number or a name are they abbreviations.
        return following[0].isdigit() or not (lowered in {"no", "min", "max", "al"} or len(lowered) == 1) or not opens
    if lowered in _MAYBE_LAST:
        return not opens and not (lowered in {"sun", "sat", "var"} and word.islower())
    return not opens and (bool(_INITIALS.fullmatch(word)) or (len(word) == 1 and word.isupper()))


def _next_word(block: str, position: int) -> str:
    """The first word from ``position`` on, without opening quotes and brackets; empty at the end."""
    match = _NEXT_WORD.match(block, position)
    return (match.group(1) or "").rstrip(".") if match else ""


def size_in_words(text: str) -> int:
    """Words in a text; scripts without spaces count eight characters as one."""
    return max(len(text.split()), len(text) // 8)


def split_passages(text: str) -> list[str]:
    """Passages of whole sentences, about 60 to 110 words each, in order and without overlap.

    A passage that has enough ends with its paragraph; a remainder too short to stand alone joins the passage before it.

    Args:
        text: the text of one section.

    Returns:
        Passages; an empty list for a text without characters.
    """
    passages: list[str] = []
    current: list[str] = []
    size = 0
    for paragraph in _PARAGRAPH.split(text):
        for sentence in _bounded(split_sentences(paragraph)):
            words = size_in_words(sentence)
            if current and size + words > MOST_WORDS:
                passages.append(" ".join(current))
                current, size = [], 0
            current.append(sentence)
            size += words
        if size >= ENOUGH_WORDS:
            passages.append(" ".join(current))
            current, size = [], 0
    if current:
        last = " ".join(current)
        if passages and size < LEAST_WORDS and size_in_words(passages[-1]) + size <= LONGEST_SENTENCE:
            passages[-1] = f"{passages[-1]} {last}"
        else:
            passages.append(last)
    return passages


def _bounded(sentences: list[str]) -> Iterator[str]:
    """Sentences as they are; those beyond all reason cut between words, or within a word that is too long itself."""
    for sentence in sentences:
        if size_in_words(sentence) <= LONGEST_SENTENCE:
            yield sentence
            continue
        piece: list[str] = []
        size = 0
        for word in sentence.split():
            for start in range(0, len(word), LONGEST_WORD):
                part = word[start : start + LONGEST_WORD]
                weight = size_in_words(part)
                if piece and size + weight > MOST_WORDS:
                    yield " ".join(piece)
                    piece, size = [], 0
                piece.append(part)
                size += weight
        if piece:
            yield " ".join(piece)
