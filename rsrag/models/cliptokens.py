"""CLIP's byte-pair encoding without torch: open_clip's vocabulary as a file of the ``tokenizers`` package."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

START, END = "<start_of_text>", "<end_of_text>"
_WORDS = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_STRAIGHT = str.maketrans("‘’‚‛“”„‟", "''''" + '"' * 4)


def from_open_clip(simple: Any) -> str:
    """An ``open_clip.SimpleTokenizer`` as the JSON of a tokenizer that gives the same tokens.

    Start and end are added by :func:`encode`; a text is cut there too.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    model = models.BPE(vocab=dict(simple.encoder), merges=merges, end_of_word_suffix="</w>", unk_token=END)
    made = Tokenizer(model)
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    text: str = made.to_str()
    return text


def encode(tokenizer: Any, texts: Sequence[str], length: int) -> npt.NDArray[np.int64]:
    """Token ids of texts, int64 of shape [N, length]: start, tokens, end, zeros; a long text keeps its beginning.

    Entities of HTML are resolved and quotation marks made straight, as open_clip does; its repair of wrongly decoded
    text is not made. What looks like the mark of start or end in a text is text.
    """
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    ids = np.zeros((len(texts), length), dtype=np.int64)
    cleaned = [html.unescape(html.unescape(text)).translate(_STRAIGHT).strip() for text in texts]
    for row, encoded in enumerate(tokenizer.encode_batch(cleaned, add_special_tokens=False)):
        tokens = [start, *encoded.ids[: length - 2], end]
        ids[row, : len(tokens)] = tokens
    return ids
