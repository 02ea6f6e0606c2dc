"""Words that an outsider would stumble over are in no page, docstring, message or help text."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [path for room in ("vqtheory", "simulations", "paper_figures") for path in (ROOT / room).rglob("*.py")]
BANNED = {
    r"standing encoder": "stationary encoder",
    r"on the line": "in one dimension",
    r"com(es?|ing) along": "is bundled",
    r"told": "reported",
    r"a look": "a probe",
    r"living": "alive",
    r"tak(es?|ing) along": "carries",
    r"(uniform|normal) law": "distribution; a law is a theorem",
}


def texts(path):
    """What a person reads: a page, or the texts in a source, among them its docstrings, messages and help."""
    content = path.read_text("utf-8")
    if path.suffix == ".md":
        return [content]
    nodes = ast.walk(ast.parse(content))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("word", BANNED)
def test_no_text_has_it(word):
    pattern = re.compile(rf"\b{word}\b".replace(" ", r"\s+"), re.IGNORECASE)
    places = [path.name for path in [*PAGES, *SOURCES] for text in texts(path) if pattern.search(text)]
    assert not places, f"write {BANNED[word]!r}"
