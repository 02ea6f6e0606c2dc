"""The site: it builds without a warning, has every public name, and fetches nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vqtheory as vq

pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).parents[2]
ROOMS = {
    "rules": vq.rules,
    "streams": vq.streams,
    "theory": vq.theory,
    "claims": vq.claims,
    "cluster": vq.cluster,
    "testing": vq.testing,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_public_name_is_in_the_reference(site):
    anchors = {
        anchor
        for page in (site / "api").glob("*/index.html")
        for anchor in re.findall(r'id="(vqtheory[\w.]*)"', page.read_text("utf-8"))
    }
    named = {anchor.rsplit(".", 1)[-1] for anchor in anchors}
    missing = {f"{room}.{name}" for room, module in ROOMS.items() for name in module.__all__ if name not in named}
    assert missing == {"streams.Law", "claims.Effort"}, "an earlier name, and two words"
    pytest.importorskip("torch")
    assert set(vq.nn.__all__) <= named


def test_nothing_is_fetched(site):
    for page in site.rglob("*.html"):
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="https?:', page.read_text("utf-8")), page
        assert not re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="https?:', page.read_text("utf-8")), page
