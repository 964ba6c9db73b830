"""Texts from which the small sentence encoder learns: what its teacher makes of them is all it is taught.

Sentences about places are made from a grammar below with names from public tables; captions, change sentences and
questions come from the training parts of data sets; plain English comes from the documentation strings of installed
packages. World Heritage texts are apart, without the sites that the knowledge suite asks about.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import random
import re
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DOCUMENTED = ("numpy", "scipy", "torch", "transformers", "networkx", "sympy", "PIL", "timm", "matplotlib")

_SLOTS: dict[str, str] = {
    "building": "castle|cathedral|monastery|temple|mosque|palace|fortress|bridge|aqueduct|amphitheatre|tower|church|"
    "shrine|tomb|mausoleum|lighthouse|abbey|basilica|city wall|gate|theatre|university|library|town hall|market hall|"
    "synagogue|stupa|pagoda|pyramid|citadel|villa|factory|mill|mine|railway station|windmill|canal|dam|harbour|"
    "minaret|chapel|crypt|garden|observatory|necropolis|bath|arena|stadium|cemetery|warehouse|convent|parish church|"
    "hunting lodge|royal residence|trading post|caravanserai|madrasa|rock-cut church|burial mound|stone circle",
    "part": "dome|nave|facade|courtyard|vault|choir|bell tower|staircase|portal|roof|altar|mosaic floor|fresco|"
    "stained glass|column|gallery|ramparts|moat|cloister|ceiling|terrace|fountain|relief|inscription|statue|arch|"
    "buttress|spire|cistern|drawbridge|throne hall|treasury|wall painting|organ|garden|pavilion",
    "style": "Gothic|Romanesque|Baroque|Renaissance|Byzantine|Moorish|Neoclassical|Roman|Greek|Ottoman|Mughal|Khmer|"
    "Art Nouveau|Modernist|Palladian|Carolingian|Rococo|Mudejar|Islamic|Buddhist|Hindu|Colonial|Hellenistic|Mayan|"
    "Aztec|Inca|Norman|Viking|Etruscan|Phoenician|Celtic|Bronze Age|Neolithic|Persian|Egyptian|Assyrian|Victorian",
    "material": "marble|sandstone|limestone|brick|timber|granite|basalt|adobe|rammed earth|stone|coral stone|iron|"
    "concrete|glass|bronze|gold leaf|lava|slate|clay|bamboo|steel|mud brick|copper|alabaster|wood|plaster|tufa",
    "ruler": "emperor|king|queen|bishop|sultan|duke|pope|shah|prince|pharaoh|caliph|abbot|khan|merchant|governor|"
    "admiral|architect|engineer|missionary|princess|maharaja|general|count|monk|saint|chief|poet|explorer|tsar|shogun",
    "people": "Romans|Greeks|Arabs|Mongols|Vikings|Portuguese|Dutch|Spanish|French|English|Turks|Persians|Phoenicians|"
    "Jesuits|Benedictines|Crusaders|Normans|Franks|Berbers|Swahili traders|Maya|Incas|Aztecs|Khmer|Chinese|Japanese|"
    "Cistercian monks|Teutonic Knights|Etruscans|Celts|Nabateans|Polynesians|nomads|fishermen|farmers|miners|pilgrims",
    "nature": "volcano|glacier|lake|coral reef|rainforest|mangrove forest|desert|canyon|waterfall|fjord|wetland|lagoon|"
    "mountain range|savannah|cave system|island|dune field|tundra|peat bog|river delta|cliff|plateau|karst landscape|"
    "hot spring|crater|atoll|peninsula|valley|gorge|steppe|cloud forest|estuary|archipelago|beech forest|ice cap",
    "animal": "elephants|gorillas|tigers|sea turtles|whales|penguins|seals|flamingos|snow leopards|rhinoceroses|bears|"
    "dolphins|crocodiles|vultures|migratory birds|wolves|pandas|lemurs|bats|tortoises|jaguars|antelopes|sharks|eagles|"
    "orchids|cedars|giant ferns|fossil dinosaurs|fossil fish|beetles|butterflies|lions|monkeys|cranes|albatrosses",
    "event": "war|earthquake|fire|flood|siege|treaty|coronation|revolution|famine|plague|eruption|restoration|council|"
    "battle|conquest|trade fair|pilgrimage|gold rush|independence movement|Reformation|uprising|shipwreck|excavation",
    "goods": "salt|silk|spices|gold|silver|wool|wine|coffee|sugar|tea|copper|iron|coal|tobacco|ivory|slaves|timber|"
    "fish|porcelain|rubber|rice|incense|amber|mercury|nitrate|textiles|horses|glass|grain|diamonds|olive oil|pepper",
    "trait": "outstanding|well preserved|unique|remarkable|largest|oldest|best known|northernmost|smallest|richest|"
    "highest|longest|exceptional|sacred|traditional|medieval|ancient|fortified|abandoned|prehistoric|early Christian|"
    "rural|industrial|royal|monumental|vernacular|ruined|rebuilt|underground|maritime|ceremonial|imperial|remote",
    "verbed": "built|founded|destroyed|restored|enlarged|abandoned|conquered|discovered|consecrated|rebuilt|fortified|"
    "excavated|designed|decorated|commissioned|completed|inscribed|burnt|expanded|moved|dedicated|plundered|opened",
    "dir": "north|south|east|west|north-east|south-west|north-west|south-east",
    "unit": "m|km|hectares|metres|kilometres|km2|feet|miles|square metres|tonnes|years|steps|rooms|columns|islands",
    "century": "3rd millennium BC|5th century BC|1st century|4th century|7th century|9th century|10th century|"
    "11th century|12th century|13th century|14th century|15th century|16th century|17th century|18th century|"
    "19th century|20th century|Middle Ages|Iron Age|Palaeolithic|late Neolithic|Renaissance",
    "theme": "a burial|a market|a royal court|a school|religious worship|defence|trade|astronomy|irrigation|mining|"
    "weaving|printing|pottery|navigation|agriculture|grazing|wine growing|government|justice|medicine|music|ritual",
}
_STATEMENTS = (
    "The {building} of {city} was {verbed} in the {century} by the {people}.",
    "{city} is a {trait} {style} town in {country}, on the {dir} shore of {lake}.",
    "Built of {material}, the {style} {building} has a {part} {num} {unit} high.",
    "The {ruler} {word} {verbed} the {building} in {year} after the {event}.",
    "In {year} a {event} left only the {part} and the {building} of {city} standing.",
    "The {nature} in {country} covers {num} {unit} and is home to {animal} and {animal}.",
    "With its {part} and {part}, the {building} is a {trait} example of {style} architecture.",
    "The {people} traded {goods} and {goods} through {city}, a port in {country}.",
    "The site bears {trait} testimony to the {people} who settled here in the {century}.",
    "{num} {unit} {dir} of {city} lies a {nature} with {trait} {animal}.",
    "The {word} {building}, {verbed} between {year} and {year}, was used for {theme}.",
    "The {trait} {nature} of {word} rises {num} {unit} above the sea and shelters {animal}.",
    "Its {part}, decorated with {material} and {word} motifs, was commissioned by the {ruler} of {city}.",
    "The property comprises {num} {building}s and the {trait} {part} of a {style} {building}.",
    "This {trait} cultural landscape shows how {people} used the {nature} for {theme} since the {century}.",
    "The old town of {city} keeps its {style} {building}, its {part} and houses of {material}.",
    "The {ruler} {word} is buried beneath the {part} of the {building} in {city}.",
    "{word} and {word} are the two {nature}s that border {country} to the {dir}.",
    "The {building} became the seat of the {ruler} in the {century} and the centre of {theme}.",
    "Scientists found {animal} in the {nature}, where the rocks are {num} million years old.",
    "A {material} {building} stands beside the {nature}; the {people} call it {word}.",
    "The {goods} mines near {city} were worked by the {people} until the {event} of {year}.",
    "{place} is a {kind} in {country} at {num} {unit}.",
    "{airport} serves {city} in {country}; it lies {num} feet above sea level.",
)
_QUESTIONS = (
    "In which year was the {building} of {city} {verbed}?",
    "How high is the {part} of the {style} {building} in {country}?",
    "Who {verbed} the {building} at {city} in the {century}?",
    "Which {animal} live in the {nature} of {country}?",
    "What did the {people} trade through {city}?",
    "When did the {event} destroy the {trait} {building} made of {material}?",
    "How many {unit} does the {nature} {dir} of {city} cover?",
    "Which {ruler} had the {building} with the {material} {part} {verbed}?",
    "Where do {animal} breed beside a {trait} {nature}?",
    "How far {dir} of {city} is the {trait} {building} once used for {theme}?",
    "What is the name of the {ruler} buried under the {part}?",
    "How old are the {material} remains of {word} found in the {nature}?",
    "Which {style} {building} did {people} leave after the {event}?",
    "Where is {airport}, and how high does it lie?",
    "Which country is {place} in?",
    "What was {goods} used for by the {people} of {word}?",
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
_WORD = re.compile(r"[a-z]{4,}")


def sources(data: Path, tokenizer_words: list[str], seed: int) -> dict[str, list[str]]:
    """Distinct texts by where they come from, in an order that depends on the seed alone.

    Args:
        data: folder with the public data sets.
        tokenizer_words: whole words of the vocabulary, for rare words in made-up sentences.
    """
    rng = random.Random(seed)
    grammar = _grammar(data, tokenizer_words, rng)
    found = _of_data(data, grammar, rng)
    found |= {
        "made questions": [grammar(_QUESTIONS) for _ in range(7000)],
        "made passages": [" ".join(grammar(_STATEMENTS) for _ in range(rng.randint(2, 5))) for _ in range(3000)],
        "documentation": _documentation(rng, 14000),
    }
    plain = [t for name in ("captions", "made statements", "documentation", "made questions") for t in found[name]]
    found["shuffled words"] = [_mutate(rng.choice(plain), tokenizer_words, rng) for _ in range(14000)]
    return {name: list(dict.fromkeys(t.strip() for t in texts if t.strip())) for name, texts in found.items()}


def table_texts(data: Path, tokenizer_words: list[str], seed: int) -> dict[str, list[str]]:
    """Those of the same texts that depend on no installed package: captions, changes, questions, statements."""
    rng = random.Random(seed)
    return _of_data(data, _grammar(data, tokenizer_words, rng), rng)


def _of_data(data: Path, grammar: Callable[[tuple[str, ...]], str], rng: random.Random) -> dict[str, list[str]]:
    made = [grammar(_STATEMENTS) for _ in range(9000)]
    return {
        "captions": _captions(data),
        "change sentences": _levir(data),
        "scene questions": sorted({json.loads(line)["question"] for line in _lines(data / "rsivqa.jsonl")}),
        "monthly variables": _monthly(data, rng),
        "made statements": made,
    }


def _lines(path: Path) -> list[str]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [line for line in file if line.strip()]


def _table(data: Path, stem: str) -> list[dict[str, Any]]:
    with gzip.open(data / f"{stem}.geojson.gz", "rt", encoding="utf-8") as file:
        return [feature["properties"] for feature in json.load(file)["features"]]


def _grammar(data: Path, words: list[str], rng: random.Random) -> Callable[[tuple[str, ...]], str]:
    airports = list(csv.DictReader(_lines(data / "airports.csv.gz")))
    countries = [row["ADMIN"] for row in _table(data, "ne_110m_admin_0_countries")]
    lakes = [row["name"] for stem in ("ne_50m_lakes", "ne_10m_lakes_europe") for row in _table(data, stem)]
    named = {
        "lake": [name for name in lakes if name],
        "port": [row["name"] for row in _table(data, "ne_10m_ports")],
        "sea": [(row["name"] or "sea").title() for row in _table(data, "ne_50m_geography_marine_polys")],
        "cape": [row["name"] for row in _table(data, "ne_10m_geography_regions_points")],
    }
    slots = {name: values.split("|") for name, values in _SLOTS.items()}
    slots |= {
        "city": [row["city"] for row in airports if row["city"]] + named["port"],
        "airport": [row["name"] for row in airports],
        "country": countries + [row["country"] for row in airports[::40]],
        "lake": named["lake"] + named["sea"],
        "place": [name for values in named.values() for name in values if name],
        "kind": ["cape", "lake", "port", "sea", "bay", "island", "mountain pass", "river mouth"],
        "word": [word.title() for word in words],
    }

    def fill(templates: tuple[str, ...]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == "num":
                return str(rng.choice([rng.randint(2, 99), rng.randint(100, 9999), round(rng.uniform(1, 99), 1)]))
            if name == "year":
                return str(rng.choice([rng.randint(200, 1400), rng.randint(1400, 2010)]))
            return rng.choice(slots[name])

        return re.sub(r"\{(\w+)\}", value, rng.choice(templates))

    return fill


def _captions(data: Path) -> list[str]:
    found = set()
    for archive in ("ucm_captions.zip", "rsicd.zip"):
        with zipfile.ZipFile(data / archive) as file:
            for row in json.loads(file.read("captions.json")):
                if row["split"] == "train":
                    found.update(re.sub(r"\s+([.,])", r"\1", caption) for caption in row["captions"])
    return sorted(found)


def _levir(data: Path) -> list[str]:
    with gzip.open(data / "levir_cc_sentences.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    return sorted({sentence for row in rows if row["id"].startswith("train") for sentence in row["sentences"]})


def _monthly(data: Path, rng: random.Random) -> list[str]:
    from rsrag.eval.datasets.prepare import rswk_pairs

    texts = []
    for place, variable, month, year, value in rswk_pairs(data, "train"):
        texts.append(f"At {place}, the monthly mean of {variable} in {month} {year} was {value}.")
        texts.append(f"What was the {variable} value at {place} in {month} {year}?")
    return rng.sample(texts, min(5000, len(texts)))


def _documentation(rng: random.Random, count: int) -> list[str]:
    """Sentences, and now and then a run of them, from documentation strings of installed packages."""
    root = Path(sysconfig.get_paths()["purelib"])
    texts: set[str] = set()
    for package in DOCUMENTED:
        for path in sorted((root / package).rglob("*.py")):
            texts.update(_docstrings(path))
    return rng.sample(sorted(texts), min(count, len(texts)))


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                text = re.sub(r"\s+", " ", paragraph).strip()
                prose = sum(c.isalpha() or c == " " for c in text) > 0.92 * len(text)
                if prose and 40 < len(text) < 900 and text[0].isupper() and text[-1] == ".":
                    yield text
                    if len(text) > 250:
                        yield from (s for s in _SENTENCE.split(text) if len(s) > 40)


def heritage_texts(data: Path) -> list[str]:
    """World Heritage passages and their sentences, without the sites that the knowledge suite asks about."""
    from rsrag.eval.datasets.prepare import unesco_passages, unesco_questions

    asked = {question["place"] for question in unesco_questions("all")}
    texts = []
    for passage in unesco_passages(data):
        if passage["place"] not in asked:
            texts.append(passage["text"])
            texts += [s for s in _SENTENCE.split(passage["text"]) if len(s) > 30]
    return texts


def _mutate(text: str, words: list[str], rng: random.Random) -> str:
    """The sentence with a third to all of its longer words replaced: syntax kept, vocabulary spread wide."""
    share = rng.uniform(0.3, 1.0)
    return _WORD.sub(lambda match: rng.choice(words) if rng.random() < share else match[0], text)
