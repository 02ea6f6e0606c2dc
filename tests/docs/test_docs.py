"""The README and the pages of `docs`: their code runs, in order, and prints what stands below it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_APART = ("notebook",)  # at a reduced size, in test_notebook.py
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VALUED = re.compile(r"^(?!print)(\w\S*\([^#\n]*\)|\w+\.\w+)  # ([^\n]*\d[^\n]*)$", re.MULTILINE)  # and what it gives
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


def says(comment, value):
    """Whether one of the comment's numbers is the value, to the digits that it has."""
    return any(f"{value:.{digits(number)}e}" == f"{float(number):.{digits(number)}e}" for number in NUMBER.findall(comment))


def digits(number):
    """After the first one, of a number as it is written."""
    return len(number.partition("e")[0].replace(".", "").lstrip("0")[1:])


@pytest.mark.filterwarnings("ignore:The latents drift by")  # of a codebook that is shown because it stays behind
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec", "ignore:The 'train_dataloader' does not")  # of Lightning's own
@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in RUN_APART], ids=lambda page: page.stem)
def test_code_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, printed = {"__name__": "page"}, io.StringIO()
    for kind, content in BLOCK.findall(page.read_text()):
        if kind == "text":
            assert printed.getvalue() == content
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(content, str(page), "exec"), namespace)
        for expression, comment in VALUED.findall(content):
            assert says(comment, eval(expression, namespace)), (expression, comment)


LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page):
    """Of its headings, as GitHub makes them."""
    headings = HEADING.findall(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
