"""From a training run to a checkpoint that transformers loads by itself, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from training.architecture import SPEC, build
from training.leg import of_part
from training.settings import Settings
from training.tokenizer import tokenizer


def export(folder: Path, target: Path, earlier: Sequence[Path] = ()) -> None:
    """Write config, 16-bit weights, tokenizer and processor settings; the model card is by hand.

    With `earlier` saves of the run the weights are the mean of all: what a falling learning rate
    would still have smoothed. "Averaging Weights Leads to Wider Optima", arXiv 1803.05407.
    """
    made = tokenizer()
    model = build(made)
    weights = _mean([load_file(path) for path in (folder / "weights.safetensors", *earlier)])
    for name, part in (("visual", model.model.visual), ("text", model.model.language_model)):
        part.load_state_dict(of_part(weights, name))
    model.config.vision_config._attn_implementation = None
    model.config.dtype = torch.float16
    model.generation_config.eos_token_id = made.eos_token_id
    model.generation_config.pad_token_id = made.pad_token_id
    model.half().save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)
    made.save_pretrained(target)
    area = SPEC.rule.max_pixels
    processor = {
        "image_mean": SPEC.mean,
        "image_std": SPEC.std,
        "patch_size": SPEC.patch_size,
        "merge_size": SPEC.merge_size,
        "temporal_patch_size": SPEC.temporal_patch_size,
        "size": {"shortest_edge": SPEC.rule.min_pixels, "longest_edge": area},
    }
    (target / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


def _mean(saves: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Of weights with the same names."""
    return {
        name: torch.stack([weights[name].float() for weights in saves]).mean(dim=0)
        for name in saves[0]
    }


def begin_from(checkpoint: Path, folder: Path, settings: Settings, *, see_again: int = 0) -> None:
    """Begin a run in an empty folder with what a checkpoint knows: the tower has the last
    `see_again` of its steps once more, then the language model learns on, from the first of its
    longer contexts. Raises FileExistsError.
    """
    folder.mkdir(parents=True)
    model = Qwen3VLForConditionalGeneration.from_pretrained(checkpoint)
    parts = {"visual": model.model.visual, "text": model.model.language_model}
    weights = {
        f"{name}.{key}": value.half().contiguous().clone()
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    save_file(weights, folder / "weights.safetensors")
    steps = {"see": settings.see_steps - see_again, "answer": settings.short_steps}
    (folder / "progress.json").write_text(json.dumps(steps))
