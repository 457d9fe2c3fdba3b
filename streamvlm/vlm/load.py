"""From the name of a checkpoint to a `VLM`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from streamvlm.errors import CheckpointError, ConfigError
from streamvlm.types import GridRule
from streamvlm.vlm import random_weights
from streamvlm.vlm.layout import Family
from streamvlm.vlm.patches import PatchSpec
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.qwen2_5_vl import QWEN2_5_VL
from streamvlm.vlm.qwen3_vl import QWEN3_VL

log = logging.getLogger(__name__)
transformers_logging.disable_progress_bar()  # a library does not draw on its user's terminal

FAMILIES: dict[str, Family] = {family.model_type: family for family in (QWEN3_VL, QWEN2_5_VL)}
"""Supported architectures by the `model_type` of their config.json."""

RANDOM = "random:"
MINI = "mini"
"""The checkpoint that comes with the package; `vlm/mini/README.md` says what it knows."""
_MINI_FOLDER = Path(__file__).parent / "mini"

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_PUBLISHED_NORMALISATION = {"qwen2_5_vl": (_CLIP_MEAN, _CLIP_STD), "qwen3_vl": (_HALF, _HALF)}


def load(
    checkpoint: str, *, dtype: str = "auto", device: str = "auto", max_pixels: int = 448 * 448
) -> QwenVL:
    """A model from a local folder, a hub id, `mini`, or `random:SIZE`.

    `dtype` "auto" is bfloat16 on CUDA and float32 on CPU. `max_pixels` bounds the area of a
    picture. Raises ConfigError for `max_pixels`, or else CheckpointError; it names the
    checkpoint and what is allowed.
    """
    where = _device(device)
    kind = {"cuda": torch.bfloat16}.get(where.type, torch.float32)
    if dtype != "auto":
        kind = getattr(torch, dtype)
    if checkpoint.startswith(RANDOM):
        size = checkpoint.removeprefix(RANDOM)
        if size not in random_weights.SIZES:
            known = ", ".join(RANDOM + name for name in random_weights.SIZES)
            raise CheckpointError(f"no random model {checkpoint!r}; known: {known}")
        family = QWEN3_VL if size.startswith("qwen3") else QWEN2_5_VL
        model = random_weights.build(size, family.model_class, dtype=kind, device=where)
        tokenizer, preprocessor = random_weights.tiny_tokenizer(), None
    else:
        place = str(_MINI_FOLDER) if checkpoint == MINI else checkpoint
        family, model, tokenizer = _from_pretrained(place, kind, where)
        preprocessor = cached_file(
            place, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
        )
    spec = _patch_spec(family, model.config, preprocessor, max_pixels)
    vlm = QwenVL(name=checkpoint, family=family, model=model, tokenizer=tokenizer, patch_spec=spec)
    if vlm.recordings:
        vlm.recordings.make_usual()
    return vlm


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    number = torch.cuda.device_count()
    allowed = ["cpu", *(["cuda"] if number else []), *(f"cuda:{i}" for i in range(number))]
    if name not in allowed:
        raise CheckpointError(f"no device {name!r} here; allowed: auto, {', '.join(allowed)}")
    return torch.device(name)


def _from_pretrained(
    checkpoint: str, dtype: torch.dtype, device: torch.device
) -> tuple[Family, Any, Any]:
    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except Exception as error:  # what a damaged file makes transformers raise is not documented
        raise CheckpointError(
            f"cannot load checkpoint {checkpoint!r}: no readable config.json there; allowed: a "
            f"local folder in the format of transformers, a hub id (with HF_HUB_OFFLINE=0), "
            f"{MINI}, or {RANDOM}SIZE ({_first_line(error)})"
        ) from error
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"checkpoint {checkpoint!r} has architecture {config.model_type!r}; "
            f"supported: {', '.join(FAMILIES)}"
        )
    family = FAMILIES[config.model_type]
    try:
        model = family.model_class.from_pretrained(checkpoint, dtype=dtype).to(device)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    except Exception as error:
        raise CheckpointError(
            f"cannot load checkpoint {checkpoint!r}: its weights or tokenizer are missing or "
            f"unreadable ({_first_line(error)})"
        ) from error
    if tokenizer.convert_tokens_to_ids("<|vision_start|>") != config.vision_start_token_id:
        # Where its files are missing, transformers makes up an empty tokenizer instead of failing.
        raise CheckpointError(
            f"checkpoint {checkpoint!r}: its tokenizer is missing or belongs to another model; "
            f"<|vision_start|> must be token {config.vision_start_token_id}"
        )
    if not tokenizer.chat_template:
        raise CheckpointError(f"checkpoint {checkpoint!r} has no chat template")
    return family, model, tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _patch_spec(
    family: Family, config: Any, preprocessor: str | None, max_pixels: int
) -> PatchSpec:
    """Patch sizes from the model's config, normalisation from its preprocessor file where there is
    one.
    """
    vision = config.vision_config
    mean, std = _PUBLISHED_NORMALISATION[family.model_type]
    if preprocessor:
        stated = json.loads(Path(preprocessor).read_text())
        mean = tuple(stated.get("image_mean", mean))
        std = tuple(stated.get("image_std", std))
    cell = vision.patch_size * vision.spatial_merge_size
    least = 4 * cell * cell
    if max_pixels < least:
        raise ConfigError(
            f"encode.max_pixels = {max_pixels}; this model needs at least {least}, four cells"
        )
    return PatchSpec(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        mean=mean,
        std=std,
        rule=GridRule(cell_pixels=cell, min_pixels=least, max_pixels=max_pixels),
    )
