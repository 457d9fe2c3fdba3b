"""One strategy on one video, as a stream of the service would be reduced: gate, encoder, strategy.

Its memory, and questions to it, are not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, takewhile

from streamvlm.config import Config
from streamvlm.encode import Encoder, PixelGate
from streamvlm.evaluate.items import Video
from streamvlm.evaluate.methods import Method
from streamvlm.evaluate.reduction.seen import Reduction, Spent
from streamvlm.evaluate.reduction.watching import Watching
from streamvlm.evaluate.runner import FIT_CLIPS
from streamvlm.reduce import AnyReducer, build_reducer
from streamvlm.types import Clip, VisualTokens
from streamvlm.vlm import VLM


def clips_until(
    vlm: VLM, video: Video, config: Config, seconds: float | None = None
) -> Iterator[Clip]:
    """The clips of the video at the model's grid, of its first `seconds` where they are given."""
    clips = video.clips(config.capture.fps, vlm.patch_spec.rule.max_pixels)
    end = float("inf") if seconds is None else seconds
    return takewhile(lambda clip: clip.times[0].pts_seconds < end, clips)


def fit(method: Method, vlm: VLM, clips: Iterable[Clip], config: Config) -> Method:
    """The method with its threshold fitted to the beginning of the clips, which are only read where
    there is something to fit.
    """
    if method.fitted_ratio is None:
        return method
    encoded = _encoded(reducer_of(method), vlm, clips, config, Spent())
    shown = (tokens for _, tokens in encoded if tokens)
    return method.fitted([replace(tokens, deepstack=None) for tokens in islice(shown, FIT_CLIPS)])


def run(reducer: AnyReducer, vlm: VLM, clips: Iterable[Clip], config: Config) -> Reduction:
    """Reduce these clips. Holds no more of them than the encoder and the strategy do."""
    watching = Watching(reducer, config.remember.segment_clips, vlm.device)
    for clip, tokens in _encoded(reducer, vlm, clips, config, watching.spent):
        watching.see(clip, tokens)
    return watching.finish(vlm.kv_bytes_per_token)


def reducer_of(method: Method) -> AnyReducer:
    """Its strategy. Raises ConfigError."""
    return build_reducer(dict(method.settings["reduce"]))


def _encoded(
    reducer: AnyReducer, vlm: VLM, clips: Iterable[Clip], config: Config, spent: Spent
) -> Iterator[tuple[Clip, VisualTokens | None]]:
    """Each clip with its tokens; without them where it shows nothing new."""
    gate = PixelGate(
        threshold=config.encode.gate_threshold, cell_pixels=vlm.patch_spec.rule.cell_pixels
    )
    encoder = Encoder(
        tower=vlm,
        max_batch_clips=config.encode.max_batch_clips,
        signals=reducer.needs,
    )
    source = iter(clips)
    while True:
        with spent.on("decode", vlm.device):
            batch = list(islice(source, encoder.max_batch_clips))
        if not batch:
            return
        with spent.on("encode", vlm.device):
            is_new = []
            for clip in batch:
                is_new.append(bool(gate.changed_cells(clip.pixels).any()))
                if is_new[-1]:
                    gate.mark_encoded(clip.pixels)
            new = [clip for clip, wanted in zip(batch, is_new, strict=True) if wanted]
            tokens = iter(encoder.encode(new))
        for clip, wanted in zip(batch, is_new, strict=True):
            yield clip, next(tokens) if wanted else None
