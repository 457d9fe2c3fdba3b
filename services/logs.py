"""How the service logs. Nothing is filtered here: what must not be seen is never logged."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["text", "json"]


def configure(log_format: LogFormat, level: int = logging.INFO) -> None:
    """Send what all loggers say to stderr, a line an event: key=value, or JSON."""
    added: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderers: dict[LogFormat, structlog.types.Processor] = {
        "text": structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "logger", "event"]
        ),
        "json": structlog.processors.JSONRenderer(),
    }
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=added,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderers[log_format],
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # They tell each step they take, several lines at every start and every request.
    for name in ("faiss.loader", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
