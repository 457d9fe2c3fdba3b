"""Does recall find what a question is about? Unseen streams, each way, top 1, 2, 4, 8 and 16.

    python benchmarks/recall.py --streams 3 --seconds 600

Each stream is watched as the service watches it. Then it is asked about what happened when, and
each scoring rule orders the blocks of its memory, and so does the model's attention over all of
them ("attention"): is the one that holds the event among the first k? A
second table says how far the best block stands out, for questions about the past and about now: the
share of pairs of both in which it does so more for the one about the past (0.5: a gate sees
nothing). Prints both and writes benchmarks/results/recall.json. Nothing is answered.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from long_streams import PACE
from machine import describe, write
from rich.console import Console
from rich.table import Table

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder, resize
from streamvlm.evaluate.suites.mini import TEST_SEEDS, SyntheticVideo
from streamvlm.evaluate.world.questions import TruthQuestion, ask
from streamvlm.evaluate.world.script import Script
from streamvlm.evaluate.world.script import write as write_script
from streamvlm.evaluate.world.truth import looks
from streamvlm.pipeline import StreamPipeline
from streamvlm.remember.gate import standing
from streamvlm.remember.index import BlockIndex
from streamvlm.remember.score import RULES
from streamvlm.remember.stored import StoredBlock
from streamvlm.respond.attend import attention_shares
from streamvlm.vlm import VLM, load

FIRST_SEED = TEST_SEEDS.start + 2_000_000
TOP = (1, 2, 4, 8, 16)
ATTENTION = "attention"
BY_CONTENT = ("when", "how_long", "number_was", "left_before", "before", "after")
"""Families that name a thing which was there at the event, or just behind it."""
BY_TIME = ("at_time", "first", "last")
"""Families that name no thing: nothing but its time tells the event."""
NOW = ("color", "shape", "size", "where", "number", "moving")

console = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a rule made of one question."""

    family: str
    rank: int | None
    """Of the block that holds the event, from 1; None for questions about now."""
    standing: float
    """Of the best block."""
    num_blocks: int


def watch(vlm: VLM, script: Script, config: Config) -> StreamPipeline:
    """A stream that has seen all of the script."""
    pipeline, encoder = Beginning(vlm, config).pipeline(), Encoder(tower=vlm, max_batch_clips=1)
    for clip in SyntheticVideo(script=script).clips(config.capture.fps, config.encode.max_pixels):
        pixels = resize(torch.from_numpy(clip.pixels)[None], vlm.patch_spec.rule)[0]
        sized = replace(clip, pixels=pixels.numpy())
        if pipeline.admit(sized):
            pipeline.feed(encoder.encode([sized])[0])
        else:
            pipeline.extend(sized)
    return pipeline


def questions(script: Script, seconds: int, number: int) -> list[TruthQuestion]:
    """Up to `number` of each kind, asked at the end."""
    shown = looks(script, [float(second) for second in range(seconds)])
    rng = np.random.default_rng((script.seed, 12))
    asked: dict[str, TruthQuestion] = {}
    for families in (BY_CONTENT, BY_TIME, NOW):
        for question in ask(shown, rng, number, "test", families):
            asked.setdefault(question.text, question)
    return list(asked.values())


def judge(
    vlm: VLM, pipeline: StreamPipeline, asked: Sequence[TruthQuestion]
) -> dict[str, list[Found]]:
    """What each rule makes of each question; those about what is not in memory yet are left out."""
    blocks, sinks = pipeline.memory.blocks, pipeline.memory.sinks
    indices = {rule: BlockIndex(rule) for rule in RULES}
    for index in indices.values():
        for block in blocks:
            index.add(block.block_id, block.summary)
    found: dict[str, list[Found]] = {way: [] for way in (*RULES, ATTENTION)}
    probe = torch.zeros_like(blocks[0].summary.mean.flatten())
    whole = pipeline.memory.find(probe, len(blocks))
    for question in asked:
        event = None if question.family in NOW else _holder(blocks, question.event_seconds)
        if event is None and question.family not in NOW:
            continue
        inputs = vlm.lay_out_question(question.text, len(sinks))
        probe = vlm.prefill(inputs, vlm.open_context([sinks])).probe
        for rule, index in indices.items():
            order = index.search(probe, len(blocks))
            found[rule].append(_found(question.family, order, event))
        shares = attention_shares(
            vlm,
            question.text,
            sinks=sinks,
            candidates=whole,
            policy="keep",
            max_span=Config().remember.max_span,
        )
        most = shares.amax(dim=0).tolist()
        pairs = zip((block.block_id for block in blocks), most, strict=True)
        order = sorted(pairs, key=lambda pair: -pair[1])
        found[ATTENTION].append(_found(question.family, order, event))
    return found


def _found(family: str, order: Sequence[tuple[int, float]], event: int | None) -> Found:
    """`order` are ids and scores of all blocks, best first."""
    ids = [block_id for block_id, _ in order]
    scores = torch.tensor([score for _, score in order])
    return Found(
        family=family,
        rank=None if event is None else 1 + ids.index(event),
        standing=standing(scores, float(scores[0])),
        num_blocks=len(ids),
    )


def _holder(blocks: Sequence[StoredBlock], event_seconds: float) -> int | None:
    """The block in which the event is; None where it is in none."""
    for block in blocks:
        if block.interval.start.pts_seconds <= event_seconds < block.interval.end.pts_seconds:
            return block.block_id
    return None


def _by_chance(found: Sequence[Found], top: int) -> float:
    return float(np.mean([min(1.0, top / each.num_blocks) for each in found]))


def _shares(found: Sequence[Found]) -> dict[str, float]:
    ranks = [each.rank for each in found if each.rank is not None]
    return {str(top): float(np.mean([rank <= top for rank in ranks])) for top in TOP}


def summed_up(found: Mapping[str, Sequence[Found]]) -> dict[str, object]:
    """Shares by rule and kind of question, and how well the best score tells past from now."""
    rules: dict[str, object] = {}
    for rule, all_found in found.items():
        past = [each for each in all_found if each.family not in NOW]
        now = [each.standing for each in all_found if each.family in NOW]
        families = sorted({each.family for each in past})
        rules[rule] = {
            "by content": _shares([each for each in past if each.family in BY_CONTENT]),
            "by time": _shares([each for each in past if each.family in BY_TIME]),
            "families": {
                family: _shares([each for each in past if each.family == family])
                for family in families
            },
            "past stands out more than now": float(
                np.mean([one.standing > two for one in past for two in now])
            ),
            "standing": {
                "past": np.quantile([each.standing for each in past], [0.1, 0.5, 0.9]).tolist(),
                "now": np.quantile(now, [0.1, 0.5, 0.9]).tolist(),
            },
        }
    some = next(iter(found.values()))
    return {
        "questions": {
            "by content": sum(each.family in BY_CONTENT for each in some),
            "by time": sum(each.family in BY_TIME for each in some),
            "now": sum(each.family in NOW for each in some),
        },
        "by chance": {str(top): _by_chance(some, top) for top in TOP},
        "rules": rules,
    }


def tables(result: Mapping[str, object]) -> Iterator[Table]:
    """For people."""
    shares, chance = result["rules"], result["by chance"]
    for kind in ("by content", "by time"):
        table = Table("rule", *(f"top {top}" for top in TOP), title=f"event found, asked {kind}")
        for rule, row in shares.items():
            table.add_row(rule, *(f"{100 * row[kind][str(top)]:.0f} %" for top in TOP))
        table.add_row("by chance", *(f"{100 * chance[str(top)]:.0f} %" for top in TOP))
        yield table
    table = Table("rule", "past above now", "past 10/50/90 %", "now 10/50/90 %", title="standing")
    for rule, row in shares.items():
        spans = [" ".join(f"{z:.1f}" for z in row["standing"][kind]) for kind in ("past", "now")]
        table.add_row(rule, f"{row['past stands out more than now']:.2f}", *spans)
    yield table


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--streams", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--questions", type=int, default=60, help="of each kind, each stream")
    options = parser.parse_args()
    config = Config()
    vlm = load(options.checkpoint, device=options.device, max_pixels=config.encode.max_pixels)
    found: dict[str, list[Found]] = {way: [] for way in (*RULES, ATTENTION)}
    began = time.monotonic()
    for seed in range(FIRST_SEED, FIRST_SEED + options.streams):
        script = write_script(seed, float(options.seconds), PACE)
        pipeline = watch(vlm, script, config)
        asked = questions(script, options.seconds, options.questions)
        for rule, more in judge(vlm, pipeline, asked).items():
            found[rule] += more
        console.print(f"stream {seed}: {len(pipeline.memory.blocks)} blocks, {len(asked)} asked")
        # After each stream, so that a run that is cut short leaves the figures of those before.
        measured = {
            "machine": describe(torch.device(vlm.device)),
            "checkpoint": options.checkpoint,
            "streams": seed - FIRST_SEED + 1,
            "seconds": options.seconds,
            "seconds_taken": round(time.monotonic() - began),
            "config": config.model_dump(mode="json"),
            **(result := summed_up(found)),
        }
        path = write("recall", measured)
    for table in tables(result):
        console.print(table, "")
    console.print("wrote", path)


if __name__ == "__main__":
    main()
