"""`python -m simulations faces --own mymodule.py:MyRule(...)`: a rule of your own in the face study, beside the others.

The protocol is that of `simulations.protocol`, of one seed: where an optimizer moves its codes its rate is chosen in a
search, and then there are a training by name and one that is tuned. The rows go to a table of their own, faces_own.parquet.
One training follows the other, in this process, which is the one that knows your codebook.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import polars as pl
from tqdm import tqdm

from simulations.faces import IMAGES_FAST, KEY, check_data, finish, folder_of, path_of
from simulations.protocol import MAIN, Method, Point, by_rate, points_of
from simulations.tables import RESULTS, write
from vqtheory._base import check
from vqtheory._base.own import build
from vqtheory.rules import Rule

SHOWN = ("group", "label", "used", "perplexity", "psnr", "ssim")


def run(text: str, fast: bool = False, results: Path = RESULTS, anew: bool = False) -> pl.DataFrame:
    """The rows of a rule, which are kept: what is finished is not trained again, and what was stopped goes on.

    A training is known by the text of its rule: after a change of the rule's code it is for you to ask for it `anew`.
    """
    check_data(fast)
    rule = build(text)
    method, path = method_of(rule), folder_of(fast, results).with_name("faces_own.parquet")
    began, table = time.monotonic(), _read(path)
    if anew:
        for point in points_of(repr(rule), method, table):
            shutil.rmtree(folder_of(fast, results) / point.name, ignore_errors=True)
        if len(table):
            table = table.filter(~pl.col("label").str.starts_with(repr(rule)))
            write(path, table, time.monotonic() - began, ("torch",))
    while left := _left(repr(rule), method, table, fast):
        for point in tqdm(left, desc=repr(rule), unit=" trainings"):
            row = finish(point, folder_of(fast, results), fast, math.inf)
            assert row is not None  # there is no end of the time
            rows = [_read(path), pl.DataFrame([row], infer_schema_length=None)]  # another rule's may have come meanwhile
            table = pl.concat(rows, how="diagonal_relaxed")
            write(path, table, time.monotonic() - began, ("torch",))
    wanted = [point.key(fast) for point in points_of(repr(rule), method, table)]
    return table.join(pl.DataFrame(wanted, schema=KEY, orient="row"), on=KEY, how="semi", maintain_order="left")


def method_of(rule: Any) -> Method:
    """A rule of yours as a method of the study: with the rates of Adam where an optimizer moves its codes."""
    from vqtheory.nn import VectorQuantize

    check.instance("faces", "own", rule, Rule, "a rule that derives from vqtheory.rules.Rule")
    trained = VectorQuantize(2, 4, rule).codebook_parameters()
    return by_rate(rule) if trained else Method({"rule": rule})


def _read(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path) if path.is_file() else pl.DataFrame()


def _left(label: str, method: Method, table: pl.DataFrame, fast: bool) -> list[Point]:
    done = set(table.select(KEY).iter_rows()) if len(table) else set()
    return [point for point in points_of(label, method, table) if point.key(fast) not in done]


def beside_others(rows: pl.DataFrame, fast: bool) -> str:
    """The rows as a table, with those of the study's five main rules; a fast one is like none of these."""
    own = rows.filter(pl.col("group") != "search").select(SHOWN)
    if fast:
        return _written(own, f"On {IMAGES_FAST} test images, after a few updates: to see that it works.")
    study = pl.read_parquet(path_of("faces", fast)).filter(pl.col("group").is_in(["named", "tuned"]), pl.col("seed") == 0)
    others = study.filter(pl.col("label").is_in(MAIN)).select(SHOWN)
    return _written(pl.concat([own, others], how="vertical_relaxed").sort("psnr", descending=True), "Of 1,024 codes.")


def _written(rows: pl.DataFrame, note: str) -> str:
    with pl.Config(tbl_rows=-1, fmt_str_lengths=60, float_precision=2, tbl_hide_dataframe_shape=True):
        return f"{rows}\n{note}"
