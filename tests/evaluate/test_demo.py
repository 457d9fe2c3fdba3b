"""The demo with a shorter programme: all its parts are the real ones."""

from __future__ import annotations

import re

import pytest

from streamvlm.evaluate import demo

pytestmark = pytest.mark.slow


def test_it_asks_and_counts_what_is_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SECONDS", 14.0)
    monkeypatch.setattr(demo, "GROUPS", ("now", "yes/no"))
    # Nobody gets three of two right, so it works, says how many are right, and still fails.
    assert demo.main(["--least", "3"]) == 1
    told = capsys.readouterr().out
    score = re.search(r"(\d) of (\d) right", told)
    assert score is not None, told
    assert told.count("✔ right") == int(score[1])
    assert told.count("✔ right") + told.count("✘ wrong, it is: ") == int(score[2])
    assert told.count("first token after") >= 2
    assert "At least 3 were to be right" in told


def test_a_seed_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo.main(["--seed", "many"])
    assert "a seed is a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [("random:qwen3-vl-tiny", "random weights"), ("mini", "knows nothing else"), ("/x/y", "/x/y")],
)
def test_it_says_what_the_model_is(checkpoint: str, said: str) -> None:
    assert said in demo.what_the_model_is(checkpoint)
