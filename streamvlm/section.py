"""What the sections of the configuration are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Bytes = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Form = Literal["exact", "int8", "int4", "embeddings", "pictures"]
PositiveSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class Section(BaseModel):
    """One section of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
