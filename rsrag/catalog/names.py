"""Names of places as search keys: the same name in another case, with or without accents, gives the same key."""

from __future__ import annotations

import unicodedata

# Letters that carry their stroke or ligature in the code point itself, so that decomposition leaves them as they are.
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ŧ": "t"}
)


def name_key(name: str) -> str:
    """The form under which a name is stored and looked up.

    Case, accents of Latin, Greek and Cyrillic letters, punctuation and repeated spaces do not matter; marks of other
    scripts, where they tell letters apart, are kept. A name without any letter or digit gives "".
    """
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    folded = unicodedata.normalize("NFKC", bare).casefold().translate(_LETTERS)
    kept = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in folded)
    return " ".join(kept.replace("\u00ad", "").split())
