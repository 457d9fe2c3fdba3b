"""Names to settings, and thresholds to ratios."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from streamvlm.config import Config
from streamvlm.errors import ConfigError
from streamvlm.evaluate.methods import METHODS, kept_ratio, method
from streamvlm.reduce import build_reducer
from streamvlm.remember.choosing import CHOICES
from streamvlm.types import VisualTokens
from tests.reduce.made_tokens import make_tokens

CONFIG = Config.model_validate(
    {"remember": {"segment_clips": 3}, "respond": {"fresh_clips": 1, "recall_blocks": 5}}
)


def drifting(num_clips: int = 40, num_cells: int = 64) -> list[VisualTokens]:
    """A stream in which every cell changes a little all the time, some more than others."""
    noise = torch.Generator().manual_seed(0)
    features = torch.randn(num_cells, 16, generator=noise)
    clips = []
    for index in range(num_clips):
        step = (
            torch.randn(num_cells, 16, generator=noise) * torch.linspace(0, 0.5, num_cells)[:, None]
        )
        features = features + step
        clips.append(replace(make_tokens(features.clone()), pts_seconds=float(index)))
    return clips


def test_service_is_the_config_as_it_is() -> None:
    assert METHODS["service"].over(CONFIG) == CONFIG
    assert METHODS["service"].is_gated


def test_service_without_memory_differs_in_recall_alone() -> None:
    without = CONFIG.model_copy(
        update={"respond": CONFIG.respond.model_copy(update={"recall_blocks": 0})}
    )
    assert METHODS["service-no-memory"].over(CONFIG) == without


def test_full_leaves_nothing_out_whatever_the_config_says() -> None:
    full = METHODS["full"].over(CONFIG)
    assert full.reduce == {"name": "all"}
    assert not METHODS["full"].is_gated
    blocks = 10**6
    assert min(full.remember.local_blocks, full.respond.recall_blocks) > blocks
    assert full.remember.budget_bytes > 10**15 and full.remember.max_span > 10**9
    per_layer = Config.model_validate({"remember": {"recall_selection": "per_layer"}})
    assert METHODS["full"].over(per_layer) == METHODS["full"].over(Config())


@pytest.mark.parametrize("name", ["uniform", "random"])
def test_a_strategy_with_a_ratio_is_the_oracle_with_that_alone(name: str) -> None:
    made = method(f"{name}@0.1").over(CONFIG)
    assert made.reduce == {"name": name, "keep_ratio": 0.1}
    assert made.model_copy(update={"reduce": {"name": "all"}}) == METHODS["full"].over(CONFIG)


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_the_oracle_with_that_and_its_budget_alone(name: str) -> None:
    made = method(f"{name}:256").over(CONFIG)
    assert (made.remember.recall_choice, made.remember.recall_tokens) == (name, 256)
    without = made.remember.model_copy(update={"recall_choice": "best", "recall_tokens": 0})
    assert made.model_copy(update={"remember": without}) == METHODS["full"].over(CONFIG)


@pytest.mark.parametrize("tokens", ["0", "-1", "1.5", "", "many", "0x10"])
def test_a_wrong_number_of_tokens_is_refused_by_name(tokens: str) -> None:
    with pytest.raises(ConfigError, match=rf"'quota:{tokens}'.*whole number > 0"):
        method(f"quota:{tokens}")


def test_a_threshold_must_be_fitted_first() -> None:
    with pytest.raises(ConfigError, match=r"dtd@0\.25"):
        method("dtd@0.25").over(CONFIG)


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.9])
def test_a_fitted_threshold_keeps_about_its_ratio(ratio: float) -> None:
    clips = drifting()
    made = method(f"dtd@{ratio}").fitted(clips).over(CONFIG)
    assert kept_ratio(build_reducer(made.reduce), clips) == pytest.approx(ratio, abs=0.02)


def test_where_nothing_needs_fitting_nothing_changes() -> None:
    for made in (METHODS["full"], method("uniform@0.5")):
        assert made.fitted(drifting()) is made


def test_kept_ratio_counts_as_a_pipeline_does() -> None:
    clips = drifting(num_clips=3, num_cells=8)
    assert kept_ratio(build_reducer({"name": "uniform", "keep_ratio": 0.25}), clips) == 0.25
    same = [replace(clips[0], pts_seconds=float(index)) for index in range(4)]
    # The first clip whole, then one token a clip: what changed most.
    assert kept_ratio(build_reducer({"name": "dtd", "max_age": 1000}), same) == (8 + 3) / 32


def test_what_begins_earlier_is_another_video() -> None:
    clip = drifting(num_clips=1, num_cells=8)[0]
    again = kept_ratio(build_reducer({"name": "dtd"}), [clip, clip])
    assert again == 1.0


@pytest.mark.parametrize(
    "name", ["", "fool", "all@0.5", "uniform", "fool@0.5", "@0.5", "full@0.5", "fool:9"]
)
def test_an_unknown_method_is_refused_with_all_that_are_known(name: str) -> None:
    with pytest.raises(ConfigError, match=r"full, last-4-frames.*dtd@RATIO.*best:TOKENS"):
        method(name)


@pytest.mark.parametrize("ratio", ["0", "1.5", "-1", "nan", "inf", "", "a quarter"])
def test_a_wrong_ratio_is_refused_by_name(ratio: str) -> None:
    with pytest.raises(ConfigError, match=r"\(0, 1\]"):
        method(f"uniform@{ratio}")
