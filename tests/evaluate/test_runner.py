"""The ruler: the oracle is the plain model, a window is a window, the future stays unseen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from streamvlm.config import Config
from streamvlm.errors import StreamEmptyError
from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.methods import METHODS, Method, method
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.evaluate.runner import fit, run
from streamvlm.evaluate.suites import mini
from streamvlm.evaluate.world.script import write
from streamvlm.recalling import Recalled
from streamvlm.types import Clip, Recall, Sampling
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import offline_logits
from tests.test_streaming_equals_offline import plain_model

CONFIG = Config()
SMALL_BLOCKS = Config.model_validate(
    {
        "remember": {"segment_clips": 2, "local_blocks": 1},
        "respond": {"fresh_clips": 1, "recall_blocks": 2},
    }
)
QUESTION = "When did the red van leave?"


@dataclass(frozen=True)
class MadeVideo:
    """Clips made by hand; nothing after `last_readable` may be read."""

    made: Sequence[Clip]
    last_readable: int = 10_000

    @property
    def video_id(self) -> str:
        return "door"

    def clips(self, fps: float, max_pixels: int) -> Iterator[Clip]:
        for index, clip in enumerate(self.made):
            assert index <= self.last_readable
            yield clip


def item(asked_seconds: float, text: str = QUESTION) -> Item:
    return Item(
        item_id=f"{asked_seconds}",
        family="when",
        group="past",
        question=text,
        answer="yes",
        asked_seconds=asked_seconds,
    )


def noise(vlm: QwenVL, count: int = 10) -> list[Clip]:
    """Clips of one second each, all different."""
    return [make_clip(index, size=clip_size(vlm)) for index in range(count)]


def outcomes(
    vlm: QwenVL,
    clips: Sequence[Clip],
    asked: Sequence[float],
    *names: str,
    config: Config = CONFIG,
    last_readable: int = 10_000,
) -> list[Outcome]:
    video = MadeVideo(clips, last_readable)
    case = Case(video=video, items=tuple(item(seconds) for seconds in asked))
    methods = [method(name) for name in names]
    return list(run(vlm, [case], methods, config=config, max_new_tokens=6))


def chosen_from(
    patched: pytest.MonkeyPatch, vlm: QwenVL, asked_seconds: float, name: str
) -> tuple[list[Tensor], list[int]]:
    """The logits that each token of a method's answer is chosen from, and the tokens."""
    logits, tokens = list[Tensor](), list[int]()

    def choose(given: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
        logits.append(given)
        # Past a stop token too: what counts here is the numbers, not the sentence.
        allowed = given.clone()
        allowed[list(vlm.stop_token_ids)] = -torch.inf
        tokens.append(int(allowed.argmax()))
        return tokens[-1]

    patched.setattr("streamvlm.respond.answer.choose", choose)
    outcomes(vlm, noise(vlm), [asked_seconds], name, config=SMALL_BLOCKS)
    return logits, tokens


def largest_difference(
    patched: pytest.MonkeyPatch, vlm: QwenVL, asked_seconds: float, name: str, clips: list[Clip]
) -> float:
    """Between a method's logits and those of one plain forward over these clips."""
    logits, tokens = chosen_from(patched, vlm, asked_seconds, name)
    assert len(tokens) == 6
    with torch.inference_mode():
        plain = offline_logits(vlm, plain_model(vlm), clips, QUESTION, tokens[:-1])
    return max(
        float((ours - theirs).abs().max()) for ours, theirs in zip(logits, plain, strict=True)
    )


@pytest.mark.parametrize("num_clips", [1, 5, 10])
def test_full_is_the_plain_model_at_every_moment(
    family: str, num_clips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = tiny_vlm(family, dtype="float64", sharpened=True)
    shown, asked_seconds = noise(vlm)[:num_clips], num_clips - 0.5
    assert largest_difference(monkeypatch, vlm, asked_seconds, "full", shown) < 1e-9


@pytest.mark.parametrize(("name", "num_clips"), [("last-4-frames", 2), ("last-8-frames", 4)])
def test_a_window_is_the_plain_model_given_nothing_else(
    family: str, name: str, num_clips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = tiny_vlm(family, dtype="float64", sharpened=True)
    shown = noise(vlm)[-num_clips:]
    assert largest_difference(monkeypatch, vlm, 9.5, name, shown) < 1e-9


@pytest.mark.parametrize("name", ["uniform@0.5", "service", "last-8-frames"])
def test_what_leaves_something_out_is_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_vlm("qwen3-vl", dtype="float64", sharpened=True)
    assert largest_difference(monkeypatch, vlm, 9.5, name, noise(vlm)) > 1e-6


def test_a_window_holds_its_clips_and_no_memory() -> None:
    vlm = tiny_vlm("qwen3-vl")
    [asked] = outcomes(vlm, noise(vlm), [9.5], "last-4-frames")
    assert asked.memory.fresh_clips == 2
    assert asked.memory.blocks == asked.memory.kv_bytes == 0


def test_a_window_is_smaller_while_less_was_shown() -> None:
    vlm = tiny_vlm("qwen3-vl")
    asked = outcomes(vlm, noise(vlm), [0.5, 1.5, 2.5], "last-4-frames")
    assert [each.memory.fresh_clips for each in asked] == [1, 2, 2]


EVERY = ("full", "last-4-frames", "uniform@0.25", "random@0.5", "service", "service-no-memory")


def told(found: Sequence[Outcome]) -> list[object]:
    """All but the time it took."""
    return [(each.method, each.answer, each.memory, each.context_tokens) for each in found]


def test_what_comes_later_changes_nothing() -> None:
    vlm = tiny_vlm("qwen3-vl")
    clips = noise(vlm, 12)
    other = [*clips[:7], *(replace(clip, pixels=255 - clip.pixels) for clip in clips[7:])]
    before = outcomes(vlm, clips, [3.0, 6.9], *EVERY)
    assert told(before) == told(outcomes(vlm, other, [3.0, 6.9], *EVERY))
    assert told(before) == told(outcomes(vlm, clips[:7], [3.0, 6.9], *EVERY))
    changed = outcomes(vlm, other, [3.0, 7.5], *EVERY)
    assert told(before) != told(changed), "the first clip that differs must make a difference"


def test_nothing_is_read_beyond_the_first_clip_after_the_last_question() -> None:
    vlm = tiny_vlm("qwen3-vl")
    assert outcomes(vlm, noise(vlm), [3.0], "full", last_readable=3)


def test_a_clip_is_seen_when_its_last_frame_was_taken_by_then() -> None:
    vlm = tiny_vlm("qwen3-vl")
    asked = outcomes(vlm, noise(vlm), [3.49, 3.5, 100.0], "full")
    assert [each.memory.clips_encoded for each in asked] == [3, 4, 10]


def test_methods_do_not_disturb_each_other() -> None:
    vlm = tiny_vlm("qwen3-vl")
    clips = noise(vlm)
    together = outcomes(vlm, clips, [4.5, 9.5], *EVERY)
    for name in EVERY:
        alone = outcomes(vlm, clips, [4.5, 9.5], name)
        assert told(alone) == told([each for each in together if each.method == name])


def test_every_clip_is_encoded_once_for_all_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm, encoded = tiny_vlm("qwen3-vl"), []
    encode = QwenVL.encode

    def counting(
        self: QwenVL, patches: Tensor, grid: list[tuple[int, int, int]]
    ) -> tuple[Tensor, Tensor | None]:
        encoded.append(len(grid))
        return encode(self, patches, grid)

    monkeypatch.setattr(QwenVL, "encode", counting)
    outcomes(vlm, noise(vlm), [4.5, 9.5], *EVERY)
    assert sum(encoded) == 10 and len(encoded) < 10


def test_only_the_service_has_a_gate() -> None:
    vlm = tiny_vlm("qwen3-vl")
    still = np.broadcast_to(np.uint8(90), (2, *clip_size(vlm), 3)).copy()
    clips = [make_clip(index, still) for index in range(8)]
    full, service = outcomes(vlm, clips, [7.5], "full", "service")
    assert (full.memory.clips_encoded, full.memory.clips_unchanged) == (8, 0)
    assert (service.memory.clips_encoded, service.memory.clips_unchanged) == (1, 7)


def test_the_kept_ratio_is_the_one_that_was_kept() -> None:
    vlm = tiny_vlm("qwen3-vl")
    full, quarter = outcomes(vlm, noise(vlm), [9.5], "full", "uniform@0.25")
    assert full.memory.tokens_kept == full.memory.tokens_seen == 6 * 12
    assert (quarter.memory.tokens_kept, quarter.memory.tokens_seen) == (6 * 3, 6 * 12)


def test_a_method_gets_the_attention_that_its_reducer_asks_for() -> None:
    vlm = tiny_vlm("qwen3-vl")
    reduce = {"name": "ktv", "salience": "attention", "keep_ratio": 0.25}
    settings = {**METHODS["full"].settings, "reduce": reduce}
    methods = [METHODS["full"], Method(name="attention", settings=settings)]
    case = Case(video=MadeVideo(noise(vlm)), items=(item(9.5),))
    full, attention = run(vlm, [case], methods, config=CONFIG, max_new_tokens=1)
    assert full.memory.tokens_kept == 4 * attention.memory.tokens_kept > 0


def test_a_fitted_threshold_is_fitted_to_the_videos_given() -> None:
    vlm = tiny_vlm("qwen3-vl")
    script = write(mini.TEST_SEEDS.start, 40.0)
    video = mini.SyntheticVideo(script=script, side=128)
    methods = [method("dtd@0.2"), method("dtd@0.6")]
    fitted = fit(vlm, methods, [video], config=CONFIG)
    case = Case(video=video, items=(item(40.0),))
    asked = run(vlm, [case], fitted, config=CONFIG, max_new_tokens=1)
    low, high = (each.memory.tokens_kept / each.memory.tokens_seen for each in asked)
    assert low == pytest.approx(0.2, abs=0.1)
    assert high == pytest.approx(0.6, abs=0.1)


def test_no_video_is_read_where_nothing_needs_fitting() -> None:
    unreadable = MadeVideo(noise(tiny_vlm("qwen3-vl")), last_readable=-1)
    methods = [METHODS["full"]]
    assert fit(tiny_vlm("qwen3-vl"), methods, [unreadable], config=CONFIG) == methods


def test_pictures_of_any_size_are_fitted_to_the_model() -> None:
    vlm = tiny_vlm("qwen2.5-vl")
    cases = mini.cases(mini.TEST_SEEDS[:1], seconds=4.0, asks_per_video=1, questions_per_ask=1)
    [asked] = run(vlm, cases, [METHODS["full"]], config=CONFIG, max_new_tokens=1)
    assert asked.memory.fresh_clips == 4
    assert asked.context_tokens > 4 * 9 * 9


def test_the_suites_own_rule_is_asked_too() -> None:
    vlm = tiny_vlm("qwen3-vl")
    case = Case(video=MadeVideo(noise(vlm, 2)), items=(item(1.5),))
    [asked] = run(
        vlm,
        [case],
        [METHODS["full"]],
        config=CONFIG,
        max_new_tokens=3,
        own_score=lambda item, answer: len(answer) / 100,
    )
    assert asked.own_score == len(asked.answer) / 100


def test_asking_before_the_first_clip_is_an_error() -> None:
    vlm = tiny_vlm("qwen3-vl")
    with pytest.raises(StreamEmptyError, match="door"):
        outcomes(vlm, noise(vlm, 2), [0.49], "full")


def test_items_out_of_order_are_refused() -> None:
    vlm = tiny_vlm("qwen3-vl")
    with pytest.raises(ValueError, match="door"):
        outcomes(vlm, noise(vlm, 4), [3.0, 1.0], "full")


class Nothing:
    """A way to recall: none."""

    def begin(self, question: str) -> Recalled:
        return lambda within: Recall(blocks=(), scores=())


def test_other_ways_recall_from_the_same_memory() -> None:
    """And what the method itself answers is what it answers without them."""
    vlm = tiny_vlm("qwen3-vl")
    case = Case(video=MadeVideo(noise(vlm)), items=(item(9.9),))
    methods = [method("service")]
    (plain,) = run(vlm, [case], methods, config=SMALL_BLOCKS, max_new_tokens=6)
    ways = {"nothing": lambda _: Nothing(), "itself": lambda pipeline: pipeline.recalling}
    own, without, again = run(
        vlm, [case], methods, config=SMALL_BLOCKS, max_new_tokens=6, other_ways=ways
    )
    assert [each.method for each in (own, without, again)] == ["service", "nothing", "itself"]
    tokens = [each.usage.recalled_tokens for each in (plain, own, without, again)]
    assert tokens[0] == tokens[1] == tokens[3] > tokens[2] > 0
    assert plain.answer == own.answer == again.answer


def test_a_refusal_for_want_of_memory_is_an_answer_and_a_wrong_one() -> None:
    """And only a method that reads times refuses."""
    vlm = tiny_vlm("qwen3-vl")
    ahead = item(9.9, "What is there at 900 seconds?")
    case = Case(video=MadeVideo(noise(vlm)), items=(ahead,))
    methods = [method("service"), method("full")]
    service, full = run(vlm, [case], methods, config=SMALL_BLOCKS, max_new_tokens=6)
    assert "is ahead" in service.answer and not service.is_right
    assert service.context_tokens == 0 < full.context_tokens
    assert "is ahead" not in full.answer
