"""The report of a diagnosis: what is on the page, what it may load, and how a browser shows it."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("plotly")

from PIL import Image

from vqtheory import rules
from vqtheory.diagnosis import html
from vqtheory.diagnosis.charts import charts
from vqtheory.diagnosis.diagnosis import Diagnosis, diagnose

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="There is no chromium on this machine to open the page in.")
EVIL = '"><img src=x onerror=alert(1)></script>&amp;'
NARROW = "html { width: 400px }</style>"
MEASURE = """<script>setTimeout(() => {
const parts = [...document.querySelectorAll("main *")].filter((part) => !part.closest(".wide"));
document.title = Math.max(...parts.map((part) => part.getBoundingClientRect().right));
}, 500)</script></body>"""


def drifting(num_codes=16, dim=1, times=20, samples=600, rule="VQ(step_size=0.04)"):
    """A cube that moves away from its codes."""
    probe = np.random.default_rng(0).random((samples, dim))
    codes = np.linspace(0, 1, num_codes)[:, None] * np.ones(dim)
    return diagnose(probe + 0.1 * np.arange(times)[:, None, None] * np.eye(dim)[0], codes, rule=rule, every=100)


class Page(HTMLParser):
    """The tags of a page, the attributes by which something is loaded, and its text by the tag that it is in."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.texts = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href", "onerror", "onload")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


@pytest.fixture(scope="module")
def diagnosis():
    seen = Diagnosis(dataclasses.replace(drifting().recording, place=EVIL))
    seen.ranked(0.2, progress=False)
    return seen


@pytest.fixture(scope="module")
def path(diagnosis, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    diagnosis.save(path, title=EVIL, notes=f"{EVIL}\nsecond line")
    return path


def test_the_page_has_all_of_it_and_loads_nothing(diagnosis, path):
    text = path.read_text()
    assert len(text.encode()) < 6e6
    page = Page(text)
    assert (page.open, page.loaded) == ([], [])
    assert page.texts["title"] == page.texts["h1"] == [EVIL]
    assert {f"{EVIL}\nsecond line", str(diagnosis.forecast), diagnosis.state} <= set(page.texts["p"])
    cells = page.texts["td"]
    assert {cure.change for cure in diagnosis.cures} <= set(cells)
    assert page.texts["code"] == [trial.change.call for trial in diagnosis.ranking.trials]
    assert len(page.texts["th"]) == 2 + len(diagnosis.recording.table.columns)
    assert {"VQ(step_size=0.04)", EVIL, "600", "16", "1"} <= set(page.texts["dd"])
    assert "plotly" in page.texts["dt"]


def test_the_plots_have_the_numbers_of_the_diagnosis(diagnosis, path):
    figures = json.loads(re.search(r"^const figures = (.*);$", path.read_text(), re.MULTILINE).group(1))
    codes, used, drift, _, allowed = (
        {trace["name"]: trace for trace in figure["data"]} | {"": figure["layout"]} for figure in figures
    )
    dead = codes[f"{(~diagnosis.alive).sum()} not chosen"]
    assert dead["x"] == pytest.approx(diagnosis.recording.codes[~diagnosis.alive, 0])
    assert [number for number, _ in dead["customdata"]] == np.flatnonzero(~diagnosis.alive).tolist()
    assert used["by the law"]["y"] == pytest.approx(diagnosis.predicted)
    assert drift["drift"]["y"][:-1] == pytest.approx(diagnosis.recording.motion.speed)
    size = allowed["this codebook"]["x"][0]
    speeds = np.interp(size, allowed["critical speed"]["x"], allowed["critical speed"]["y"])
    assert speeds == pytest.approx(diagnosis.laws[0].critical_speed, rel=0.1)


@pytest.mark.parametrize(
    "seen",
    [
        lambda: drifting(3200, dim=3, samples=1600, times=3),
        lambda: drifting(4, times=400, rule=None),
        lambda: diagnose(np.zeros((2, 5, 2)), np.zeros((3, 2)), rule=rules.EMA()),
    ],
    ids=["large", "no law, many probes", "all at one place"],
)
def test_other_diagnoses(seen):
    seen = seen()
    vars(seen)["ranking"] = dataclasses.replace(drifting(4, times=3).ranked(0.01, False), trials=())
    assert max(len(trace["x"]) for plot in charts(seen) for trace in plot.traces) <= 3000
    page = html.page(seen)
    assert len(page.encode()) < 6e6
    assert page.count("<tr>") <= 160


def test_what_exists_is_kept_unless_it_may_be_overwritten(tmp_path, monkeypatch):
    seen, path = drifting(4, times=3), tmp_path / "report.html"
    seen.ranked(0.01, progress=False)
    path.write_text("kept")
    with pytest.raises(FileExistsError, match=r"report.html' already: name another one, or allow it to be overwritten"):
        seen.save(path)
    assert path.read_text() == "kept"
    seen.save(path, overwrite=True)
    assert "<html" in path.read_text()
    for wrong in (tmp_path, tmp_path / "report.pdf", "", 3):
        with pytest.raises(ValueError, match="The 'path' parameter of Diagnosis.save must be"):
            seen.save(wrong)
    with pytest.raises(ValueError, match="The 'notes' parameter of Diagnosis.save must be a text"):
        seen.save(tmp_path / "other.html", notes=3)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"needs plotly, which is not installed: pip install '.\[report\]'"):
        seen.save(tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()


def opened(path, *options):
    """What chromium makes of a page: its elements, and what the page's scripts complained of."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--enable-logging=stderr"]
    call = subprocess.run(
        [CHROMIUM, *flags, *options, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return call.stdout, [line for line in call.stderr.splitlines() if "CONSOLE" in line]


@needs_chromium
def test_a_browser_draws_every_plot_within_400_pixels(diagnosis, path):
    narrow = path.with_name("narrow.html")
    narrow.write_text(path.read_text().replace("</style>", NARROW, 1).replace("</body>", MEASURE))
    page, complaints = opened(narrow, "--dump-dom", "--window-size=500,900")  # it makes no window narrower than that
    assert complaints == []
    assert page.count('class="nsewdrag') == len(charts(diagnosis))  # what a drag zooms
    assert 300 < float(re.search(r"<title>(.*?)</title>", page).group(1)) <= 400


@needs_chromium
@pytest.mark.parametrize(("scheme", "width", "paper"), [(0, 400, (20, 23, 27)), (1, 1280, (255, 255, 255))])
def test_it_is_dark_where_the_reader_s_screen_is(path, tmp_path, scheme, width, paper):
    picture = tmp_path / "page.png"
    dark = f"--blink-settings=preferredColorScheme={scheme}"
    opened(path, f"--screenshot={picture}", f"--window-size={width},800", "--hide-scrollbars", dark)
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[1] == width
    colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    assert tuple(colors[counts.argmax()]) == paper
    contrast = np.abs(pixels - paper).sum(axis=2)
    assert (contrast > 450).mean() > 0.01  # of ink
