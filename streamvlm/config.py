"""Settings: frozen pydantic models, one for each stage, read from one YAML file.

Units are in the names, unknown keys are errors, and the defaults are the deployment
`configs/embedded.yaml`. Stages never see these models: `engine.from_config` hands them plain
values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from streamvlm.errors import ConfigError
from streamvlm.remember_config import RememberConfig
from streamvlm.section import Positive, PositiveSeconds, Section


class CaptureConfig(Section):
    """Frames from sources."""

    fps: Annotated[float, Field(ge=0.01, le=30)] = 2.0
    """Sampled frames per second; two frames make a clip."""
    queue_clips: Positive = 32
    """Clips of one stream that may wait for the engine; beyond it the oldest are dropped and
    counted."""
    open_timeout_seconds: PositiveSeconds = 10.0
    """A live source must give its first picture within this time."""
    read_timeout_seconds: PositiveSeconds = 5.0
    """A live source that is silent for longer is reconnected, and so is one that sends less than a
    frame in this time; detection takes up to twice as long."""


class EncodeConfig(Section):
    """Pictures to visual tokens."""

    max_pixels: Positive = 256 * 256
    """Pictures are scaled down to at most this area."""
    gate_threshold: Annotated[float, Field(ge=0, le=1)] = 0.01
    """A cell has changed when its mean absolute difference to the last encoded picture exceeds this
    share of the range; 0 encodes every clip that is not equal to that picture."""
    max_batch_clips: Positive = 8
    """Clips of one or many streams that go through the vision tower together."""


class RespondConfig(Section):
    """Questions to answers."""

    fresh_clips: Annotated[int, Field(ge=0)] = 4
    """Newest clips that keep all their tokens and are in every context."""
    recall_blocks: Annotated[int, Field(ge=0)] = 16
    """Blocks of memory that a question brings back."""
    max_new_tokens: Positive = 256
    """Longest answer that a question may ask for."""
    max_question_characters: Positive = 4_000
    """Longest question, in characters."""
    max_question_tokens: Positive = 1_024
    """Longest question, in tokens: emoji and rare scripts take several a character, and a long
    prefill holds up every stream."""


class WatchConfig(Section):
    """Standing questions to alerts."""

    max_rules: Positive = 64
    """Rules at a time; one more is refused."""
    look_seconds: PositiveSeconds = 1.0
    """A rule looks at a stream at most this often, in stream time."""
    heartbeat_seconds: PositiveSeconds = 30.0
    """... and at least this often, also where nothing changes."""
    change_threshold: Annotated[float, Field(ge=0, le=10)] = 0.04
    """The scene has changed when the mean of a cell differs by more than this share of the
    picture's mean brightness from that at the last look."""
    lost_seconds: PositiveSeconds = 10.0
    """A camera that shows nothing for this long ends the alerts about it as expired."""


class VLMConfig(Section):
    """The model."""

    checkpoint: str = "mini"
    """A local folder, a hub id, `mini` (comes with the package, knows synthetic scenes only), or
    `random:NAME`: random weights at a published size (speed only, no sense)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    """auto: bfloat16 on CUDA, float32 on CPU."""
    device: str = "auto"
    """auto: cuda where there is one, else cpu."""


class EngineConfig(Section):
    """Many streams on one device."""

    max_streams: Positive = 16
    """Streams at a time; one more is refused."""
    max_answers: Positive = 8
    """Answers being given at a time; each holds a copy of the keys and values that it recalled."""
    max_questions: Positive = 64
    """Questions waiting or being answered; one more is refused."""


class ProcessConfig(Section):
    """Where a process of ours listens for the others."""

    listen: str = "127.0.0.1:0"
    """HOST:PORT; port 0 finds one."""
    advertise: str = ""
    """HOST:PORT at which the others reach it; empty where that is `listen`."""


class GatewayConfig(Section):
    """Who may call, and how."""

    api_keys_file: str = ""
    """A file with a key a line; callers send one of them. Empty: everybody may call."""
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    """PEM files, both or neither; read anew where they change."""

    @model_validator(mode="after")
    def _check_pair(self) -> GatewayConfig:
        if bool(self.tls_certificate_file) is not bool(self.tls_key_file):
            raise ValueError("tls_certificate_file and tls_key_file come together")
        return self


class WebhookConfig(Section):
    """Somebody who is told of events."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    secret_file: str = ""
    """A file with the `whsec_...` that signs what is sent; two lines while secrets change."""
    secret_variable: str = ""
    """... or the environment variable that holds it."""
    allow_private: bool = False
    """Whether the address may be one of a private network, as it is where both are at home."""
    stream_ids: tuple[str, ...] = ()
    """Only events about these streams; none for all."""
    rule_ids: tuple[str, ...] = ()
    """Only alerts of these rules; none for all, and cameras lost and found too."""
    expire_seconds: PositiveSeconds = 900.0
    """What is delivered later than this says so."""


class NotifyConfig(Section):
    """Delivery of events."""

    listen: str = "127.0.0.1:0"
    """HOST:PORT, where the notifier tells its health; port 0 finds one."""
    webhooks: tuple[WebhookConfig, ...] = ()
    retry_seconds: tuple[Annotated[float, Field(ge=0)], ...] = (
        5, 30, 300, 1800, 7200, 18_000, 36_000,
    )  # fmt: skip
    """Pauses between the attempts to deliver an event, about; behind the last one it is dead."""
    timeout_seconds: PositiveSeconds = 15.0
    """What a receiver has to answer."""

    @model_validator(mode="after")
    def _check_names(self) -> NotifyConfig:
        names = [webhook.name for webhook in self.webhooks]
        if len(set(names)) < len(names):
            raise ValueError(f"two webhooks have one name: {sorted(names)}")
        return self


class Config(Section):
    """Everything, section by section."""

    capture: CaptureConfig = CaptureConfig()
    encode: EncodeConfig = EncodeConfig()
    reduce: dict[str, Any] = Field(default_factory=lambda: {"name": "dtd"})
    """`name` of a strategy and its settings; checked by `reduce.build_reducer`."""
    remember: RememberConfig = RememberConfig()
    respond: RespondConfig = RespondConfig()
    watch: WatchConfig = WatchConfig()
    vlm: VLMConfig = VLMConfig()
    engine: EngineConfig = EngineConfig()
    worker: ProcessConfig = ProcessConfig()
    ingest: ProcessConfig = ProcessConfig()
    gateway: GatewayConfig = GatewayConfig()
    notify: NotifyConfig = NotifyConfig()


def load(path: Path) -> Config:
    """Read a YAML file. Raises ConfigError that names the file, the key and what is allowed."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path} is not YAML: {error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"config {path} must hold sections, got {type(data).__name__}")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"config {path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """One line for every wrong key: where, what was given, what is allowed."""
    problems = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            section: Any = Config
            for part in item["loc"][:-1]:
                section = section.model_fields[str(part)].annotation
            allowed = ", ".join(section.model_fields)
            problems.append(f"unknown key {where!r}; allowed here: {allowed}")
        else:
            problems.append(f"{where} = {item['input']!r}: {item['msg']}")
    return "; ".join(problems)
