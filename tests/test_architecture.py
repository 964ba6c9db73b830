"""The repository is laid out as the packaging says, arrows point one way, and imports stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOMS = {"rsrag": "rsrag", "ingest": "rsrag.ingest", "indexes": "rsrag.indexes", "prompts": "rsrag.prompts"}
ROOMS["eval"] = "rsrag.eval"


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Dotted name and path of every module of the project."""
    for folder, package in ROOMS.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            name = ".".join([package, *(p for p in parts if p != "__init__")])
            yield name, path


def imports(path: Path, *, top_level_only: bool) -> set[str]:
    """Modules that a file imports, by full name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    nodes: list[ast.AST] = list(ast.walk(tree))
    if top_level_only:
        nodes = []
        pending: list[ast.AST] = list(tree.body)
        while pending:
            node = pending.pop()
            nodes.append(node)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.If | ast.Try | ast.ClassDef | ast.With):
                pending += list(ast.iter_child_nodes(node))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def test_every_package_is_listed(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    present = {name for name, path in modules(root) if path.name == "__init__.py"}
    assert listed == present


def test_rooms_are_imported_by_their_full_name(root: Path) -> None:
    wrong = [
        (str(path.relative_to(root)), name)
        for folder in (*ROOMS, "tests", "scripts")
        for path in sorted((root / folder).rglob("*.py"))
        for name in imports(path, top_level_only=False)
        if name.split(".")[0] in {"ingest", "indexes", "prompts", "eval"}
    ]
    assert wrong == []


# Who may import what: package prefix → the only modules allowed to know it.
OWNERS = {
    "torch": ("rsrag.models", "rsrag.train"),
    "transformers": ("rsrag.models", "rsrag.train"),
    "open_clip": ("rsrag.models", "rsrag.train"),
    "timm": ("rsrag.train",),
    "qdrant_edge": ("rsrag.indexes",),
    "qdrant_client": ("rsrag.indexes",),
    "rasterio": (
        "rsrag.ingest.readers",
        "rsrag.export",
        "rsrag.demo",
        "rsrag.eval.benchmarks",  # writes the rasters that it measures with
        "rsrag.eval.datasets.polygons",  # fills polygons
    ),
    "sqlalchemy": ("rsrag.catalog", "rsrag.migrations"),
    "typer": ("rsrag.cli", "rsrag.eval.cli"),
}


@pytest.mark.parametrize("package", sorted(OWNERS))
def test_only_the_owner_knows_a_package(root: Path, package: str) -> None:
    wrong = [
        name
        for name, path in modules(root)
        if any(i == package or i.startswith(package + ".") for i in imports(path, top_level_only=False))
        and not name.startswith(OWNERS[package])
    ]
    assert wrong == []


LANGUAGE = {"rsrag.types", "rsrag.errors", "rsrag.crs", "rsrag.geo", "rsrag.times", "rsrag.config", "rsrag.progress"}


def test_the_common_language_imports_nothing_above_it(root: Path) -> None:
    for name, path in modules(root):
        if name in LANGUAGE:
            above = {i for i in imports(path, top_level_only=False) if i.startswith("rsrag.")} - LANGUAGE
            assert above == set(), name


def test_faces_know_the_engine_not_the_stores(root: Path) -> None:
    inner = ("rsrag.indexes", "rsrag.catalog", "rsrag.retrieve", "rsrag.ingest.readers")
    for name, path in modules(root):
        if name.startswith(("rsrag.cli", "rsrag.integrations")):
            runtime = {i for i in imports(path, top_level_only=False) if i.startswith(inner)}
            assert runtime == set(), name


def test_lower_rooms_do_not_import_faces(root: Path) -> None:
    for name, path in modules(root):
        if not name.startswith(("rsrag.cli", "rsrag.__main__", "rsrag.eval.cli")):
            assert not any(i.startswith("rsrag.cli") for i in imports(path, top_level_only=False)), name


def test_modules_stay_small(root: Path) -> None:
    long = {
        name: lines
        for name, path in modules(root)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 600
    }
    assert long == {}


HEAVY = ("torch", "transformers", "rasterio", "cv2", "onnxruntime", "sqlalchemy", "qdrant_edge", "pandas", "scipy")


@pytest.mark.parametrize("statement", ["import rsrag", "import rsrag.cli", "import rsrag.engine", "import rsrag.types"])
def test_import_budget(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_no_unsafe_loading(root: Path) -> None:
    for name, path in modules(root):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        assert not calls & {"pickle.load", "pickle.loads", "eval", "exec", "joblib.load"}, name
        assert "trust_remote_code=True" not in text, name
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), name
