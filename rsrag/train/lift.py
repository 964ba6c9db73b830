"""What tuning gains: ``python -m rsrag.train.lift CONFIG [--data DIR] [--run-dir DIR] [--set KEY=VALUE …] [--json]``.

Trains the configuration (or continues its run), then measures caption retrieval on the ``val`` splits of its captioned
sets, with the weights it started from and with the tuned ones, and prints the difference of mean recall with a 95 %
interval from a paired bootstrap over pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import ConfigError, RsragError
from rsrag.train import load_config, train_encoder
from rsrag.train.config import TrainConfig
from rsrag.train.data import Item, read_source
from rsrag.train.prompts import normal

KS = (1, 5, 10)
NAMES = tuple(f"{way}_r{k}" for way in ("i2t", "t2i") for k in KS)
Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcomes:
    """Which queries found what they should among the best k.

    Attributes:
        pictures: bool [N, 3], for every picture: one of its captions is among the best 1, 5, 10.
        texts: bool [T, 3], for every caption: a picture that has it is.
        owner: int64 [T], the picture that a caption came with.
    """

    pictures: Hits
    texts: Hits
    owner: npt.NDArray[np.int64]

    def recalls(self, weights: npt.NDArray[Any] | None = None) -> npt.NDArray[np.float64]:
        """Recalls in the order of :data:`NAMES`, 0 to 1.

        Args:
            weights: [..., N], how often every picture is in a sample; once each when not given.

        Returns:
            float64 [..., 6].
        """
        counts = np.ones(len(self.pictures)) if weights is None else weights
        of_texts = counts[..., self.owner]
        both = (
            counts @ self.pictures / counts.sum(axis=-1, keepdims=True),
            of_texts @ self.texts / of_texts.sum(axis=-1, keepdims=True),
        )
        return np.concatenate(both, axis=-1)


def outcomes(images: npt.NDArray[Any], items: Sequence[Item], texts: npt.NDArray[Any]) -> Outcomes:
    """Retrieval both ways; any picture or caption of equal wording counts.

    Args:
        images: unit vectors [N, D] of the items.
        items: with captions.
        texts: unit vectors [T, D] of all their captions, item after item.
    """
    owner = np.array([row for row, item in enumerate(items) for _ in item.captions])
    words = [normal(text) for item in items for text in item.captions]
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    columns = np.array([numbers[word] for word in words])
    has = np.zeros((len(items), len(numbers)), dtype=bool)
    has[owner, columns] = True
    relevant, scores = has[:, columns], images @ texts.T
    return Outcomes(_found(scores, relevant), _found(scores.T, relevant.T), owner)


def _found(scores: npt.NDArray[Any], relevant: Hits) -> Hits:
    top = np.argsort(-scores, axis=1, kind="stable")[:, : max(KS)]
    hits = np.take_along_axis(relevant, top, axis=1)
    return np.stack([hits[:, :k].any(axis=1) for k in KS], axis=1)


def compare(start: Outcomes, tuned: Outcomes, *, samples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Mean recalls and their difference with a 95 % interval.

    Both are measured on the same resampled pictures (paired bootstrap, percentile interval); what they are searched
    among stays whole.

    Returns:
        ``start`` and ``tuned`` with the six recalls and ``mr``, and ``lift``: ``mr``, ``low``, ``high``; in per cent.
    """
    count = len(start.pictures)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
    gains = 100 * (tuned.recalls(weights) - start.recalls(weights)).mean(axis=-1)
    result: dict[str, Any] = {"pictures": count, "captions": len(start.owner)}
    for name, found in (("start", start), ("tuned", tuned)):
        values = 100 * found.recalls()
        result[name] = {**dict(zip(NAMES, values.tolist(), strict=True)), "mr": float(values.mean())}
    low, high = np.percentile(gains, [2.5, 97.5])
    gain = result["tuned"]["mr"] - result["start"]["mr"]
    return {**result, "lift": {"mr": gain, "low": float(low), "high": float(high), "samples": samples}}


def measure(config: TrainConfig, run_dir: Path, data_dir: Path) -> dict[str, Any]:
    """Compare the start of a run with its averaged weights on the ``val`` splits of its captioned sets.

    Raises:
        ConfigError: no such set.
        SourceError: it cannot be read.
    """
    from rsrag.train.probe import embed
    from rsrag.train.restore import load_tower
    from rsrag.train.towers import build_tower

    items = [
        item
        for source in config.data.sources
        if source.kind == "captions"
        for item in read_source(replace(source, split="val", limit=0), data_dir)
        if item.captions
    ]
    if not items:
        raise ConfigError("no source of the configuration has captions", hint='kind = "captions"')
    captions = [text for item in items for text in item.captions]
    found = []
    for tower in (build_tower(config).eval(), load_tower(run_dir)[1]):
        size = tower.input_size or config.optim.size_at(1.0)
        images, _ = embed(tower.embed_images, [item.pixels for item in items], size, resize=tower.resized)
        found.append(outcomes(images, items, tower.embed_texts(captions)))
    return {**compare(*found), "random_start": not config.model.pretrained}


def table(result: dict[str, Any]) -> str:
    """The comparison in lines."""
    rows = [f"{'':8}" + "".join(f"{name:>9}" for name in (*NAMES, "mR"))]
    for name in ("start", "tuned"):
        values = [result[name][key] for key in (*NAMES, "mr")]
        rows.append(f"{name:8}" + "".join(f"{value:9.2f}" for value in values))
    lift = result["lift"]
    begun = "random weights" if result["random_start"] else "pretrained weights"
    rows.append(
        f"mR lifted by {lift['mr']:.2f} (95 % interval {lift['low']:.2f} to {lift['high']:.2f}, "
        f"{lift['samples']} bootstrap samples of {result['pictures']} pictures) over a start from {begun}"
    )
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    """Run the experiment named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.lift", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RSRAG_DATA", "../shared/data")))
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    run_dir = given.run_dir or Path("runs") / given.config.stem
    try:
        config = load_config(given.config, given.settings)
        train_encoder(
            config,
            run_dir=run_dir,
            data_dir=given.data,
            progress=lambda row: print(json.dumps(row), file=sys.stderr, flush=True),
        )
        result = measure(config, run_dir, given.data)
    except RsragError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    (run_dir / "lift.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result) if given.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
