"""Settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamvlm.config import Config, load
from streamvlm.errors import ConfigError
from streamvlm.reduce import build_reducer

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_loads(path: Path) -> None:
    build_reducer(load(path).reduce)


def test_the_defaults_are_the_embedded_deployment() -> None:
    assert load(CONFIGS / "embedded.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("captur: {}", r"unknown key 'captur'; allowed here: capture, encode"),
        ("capture: {fpss: 2}", r"unknown key 'capture.fpss'; allowed here: fps, queue_clips"),
        ("capture: {fps: 0}", r"capture.fps = 0: .*greater than or equal to 0.01"),
        ("capture: {open_timeout_seconds: .inf}", r"open_timeout_seconds = inf"),
        ("vlm: {dtype: int8}", r"vlm.dtype = 'int8'.*'auto'"),
        ("remember: {disk_form: embeddings}", r"'embeddings' has no effect without disk_budget"),
        ("remember: {picture_clips: 2}", r"picture_clips = 2 has no effect without a form of pict"),
        ("remember: {picture_quantiser: 0}", r"picture_quantiser = 0: .*greater than or equal"),
        ("remember: {host_form: int8}", r"host_form = 'int8' has no effect without host_budget"),
        ("remember: {total_disk_budget_bytes: 9}", r"= 9 has no effect without disk_budget_bytes"),
        ("remember: {recall_choice: quota}", r"'quota' has no effect without recall_tokens"),
        ("remember: {recall_selection: per_head}", r"= 'per_head'.*'shared' or 'per_layer'"),
        (
            "remember: {recall_selection: per_layer, candidate_tokens: 0}",
            r"'per_layer' has no effect without candidate_tokens",
        ),
        (
            "remember: {recall_selection: per_layer, recall_tokens: 9, recall_choice: quota}",
            r"'quota' has no effect with recall_selection = 'per_layer'",
        ),
        ("remember: {evict: newest}", r"remember.evict = 'newest'.*'oldest', 'least_recalled'"),
        ("capture: 3", r"capture = 3"),
        ("[1, 2]", r"must hold sections, got list"),
        ("a: b: c", r"is not YAML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load(path) == Config()
