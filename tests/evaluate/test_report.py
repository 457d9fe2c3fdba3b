"""Sums, intervals, tables and pictures of made-up outcomes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from streamvlm.errors import ConfigError
from streamvlm.evaluate import report
from streamvlm.evaluate.items import Item
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.types import AnswerFinished, FinishReason, MemoryStatus, Usage


def outcome(
    answer: str = "yes",
    *,
    method: str = "full",
    group: str = "now",
    family: str = "color",
    age: float | None = 0.0,
    video: str = "v",
    own_score: float | None = None,
    first_token_seconds: float = 0.5,
    memory: MemoryStatus | None = None,
) -> Outcome:
    """An answer to a question of which the truth is "yes"."""
    item = Item(
        item_id="i",
        family=family,
        group=group,
        question="?",
        answer="yes",
        asked_seconds=5000.0,
        event_seconds=None if age is None else 5000.0 - age,
    )
    usage = Usage(
        prompt_tokens=10,
        recalled_tokens=30,
        answer_tokens=1,
        time_to_first_token_seconds=first_token_seconds,
        total_seconds=1.0,
    )
    finished = AnswerFinished(
        question_id="i", text=answer, finish_reason=FinishReason.STOP, usage=usage
    )
    return Outcome.of(
        item,
        finished,
        memory or MemoryStatus(),
        video_id=video,
        method=method,
        own_score=own_score,
    )


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in
        # Medicine 17 (1998), table I, the score method.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # Right and wrong change places.
        (20, 20, 1 - 0.1611, 1.0),
    ],
)
def test_wilson_intervals_are_the_known_ones(
    right: int, total: int, low: float, high: float
) -> None:
    assert report.wilson(right, total) == pytest.approx((low, high), abs=5e-5)


def test_groups_are_counted_apart_and_never_together() -> None:
    [made] = report.add_up([outcome(), outcome("no"), outcome("no", group="past", family="when")])
    assert {name: (each.right, each.total) for name, each in made.groups.items()} == {
        "now": (1, 2),
        "past": (0, 1),
    }
    assert {name: (each.right, each.total) for name, each in made.families.items()} == {
        "color": (1, 2),
        "when": (0, 1),
    }


def test_methods_are_counted_apart_in_their_order() -> None:
    made = report.add_up([outcome(method="b"), outcome("no", method="a"), outcome(method="b")])
    assert [(each.method, each.groups["now"].right) for each in made] == [("b", 2), ("a", 0)]


@pytest.mark.parametrize(
    ("age", "bins"),
    [
        (0.0, []),
        (-0.5, []),
        (None, []),
        (29.9, ["0-30 s"]),
        (30.0, ["30-60 s"]),
        (299.0, ["1-5 min"]),
        (300.0, ["5-15 min"]),
        (1000.0, ["15-30 min"]),
        (1800.0, ["30-60 min"]),
        (3600.0, ["1-2 h"]),
        (7200.0, ["over 2 h"]),
    ],
)
def test_an_item_is_in_the_bin_of_its_age(age: float | None, bins: list[str]) -> None:
    [made] = report.add_up([outcome(age=age)])
    assert list(made.ages) == bins


def test_the_cost_is_that_of_the_whole_videos() -> None:
    early = MemoryStatus(
        tokens_seen=50, tokens_kept=50, clips_encoded=1, clips_unchanged=0, kv_bytes=9
    )
    late = MemoryStatus(
        tokens_seen=100, tokens_kept=60, clips_encoded=2, clips_unchanged=1, kv_bytes=7
    )
    other = MemoryStatus(tokens_seen=300, tokens_kept=40, clips_encoded=4, clips_unchanged=1)
    [made] = report.add_up(
        [
            outcome(memory=early, first_token_seconds=0.1),
            outcome(memory=late, first_token_seconds=0.2),
            outcome(memory=other, first_token_seconds=0.9, video="w"),
        ]
    )
    assert made.cost == report.Cost(
        kept_ratio=0.25,
        encoded_ratio=0.75,
        context_tokens=40,
        kv_bytes=9,
        first_token_seconds=0.2,
    )


def test_a_method_that_reduces_nothing_has_no_kept_ratio() -> None:
    [made] = report.add_up([outcome()])
    assert made.cost.kept_ratio is None


def test_the_suites_own_score_is_added_up_in_its_own_way_beside_the_strict_one() -> None:
    outcomes = [outcome("no", own_score=1.0), outcome("no", own_score=None)]
    [made] = report.add_up(
        outcomes, lambda scored: {"best": max(score for _, score in scored if score is not None)}
    )
    assert made.own_averages == {"best": 1.0}
    assert made.groups["now"].right == 0
    console = Console(width=200)
    with console.capture() as capture:
        for table in report.tables([made]):
            console.print(table)
    assert "best" in capture.get() and "100.0" in capture.get()


def shown(outcomes: list[Outcome]) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for table in report.tables(report.add_up(outcomes)):
            console.print(table)
    return capture.get()


def test_tables_show_every_group_family_and_age_with_its_interval() -> None:
    outcomes = [outcome(), outcome("no", group="past", family="when", age=60.0)]
    text = shown(outcomes)
    for expected in ("now [1]", "past [1]", "color [1]", "when [1]", "1-5 min [1]"):
        assert expected in text
    assert "100.0 (21-100)" in text and "0.0 (0-79)" in text


def test_text_of_a_suite_is_never_markup() -> None:
    text = shown([outcome(group="[red]x[/red]", family="[b]", method="[/]")])
    assert "[red]x[/red]" in text and "[b]" in text and "[/]" in text


def test_json_holds_the_sums_and_every_answer() -> None:
    outcomes = [outcome(), outcome("no", age=60.0)]
    value = json.loads(json.dumps(report.as_json(report.add_up(outcomes), outcomes)))
    [method] = value["methods"]
    assert method["groups"]["now"]["right"] == 1
    assert method["groups"]["now"]["interval_95"] == pytest.approx(report.wilson(1, 2))
    assert [each["given_answer"] for each in value["outcomes"]] == ["yes", "no"]
    assert [each["context_tokens"] for each in value["outcomes"]] == [40, 40]


def test_a_plot_is_a_picture_with_something_on_it(tmp_path: Path) -> None:
    from streamvlm.evaluate import report_plots

    reduced = MemoryStatus(tokens_seen=100, tokens_kept=25)
    outcomes = [
        outcome(method="full", memory=MemoryStatus(tokens_seen=100, tokens_kept=100)),
        outcome("no", method="dtd@0.25", memory=reduced, group="past", age=60.0),
        outcome(method="last-4-frames"),
    ]
    path = tmp_path / "plot.png"
    report_plots.plot(report.add_up(outcomes), path)
    with Image.open(path) as picture:
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 10


def test_methods_that_keep_equally_much_are_both_in_the_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    from streamvlm.evaluate import report_plots

    drawn: dict[str, list[float]] = {}
    errorbar = Axes.errorbar

    def noting(panel: Any, x: Any, y: Any, **settings: Any) -> Any:
        drawn.setdefault(settings["label"], list(x))
        return errorbar(panel, x, y, **settings)

    monkeypatch.setattr(Axes, "errorbar", noting)
    reduced = MemoryStatus(tokens_seen=100, tokens_kept=25)
    methods = ("dtd@0.3", "dtd@0.25")
    reports = report.add_up([outcome(method=each, memory=reduced) for each in methods])
    report_plots.plot(reports, tmp_path / "plot.png")
    assert drawn["dtd"] == [25.0, 25.0]


def test_a_plot_with_an_unknown_ending_is_refused_by_name() -> None:
    from streamvlm.evaluate import report_plots

    with pytest.raises(ConfigError, match=r"plot\.xyz.*\.png"):
        report_plots.check_path(Path("plot.xyz"))


def test_without_matplotlib_a_plot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "streamvlm.evaluate.report_plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ConfigError, match=r"streamvlm\[eval\]"):
        import streamvlm.evaluate.report_plots  # noqa: F401
