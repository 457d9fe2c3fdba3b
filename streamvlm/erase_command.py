"""`streamvlm erase`: have a stream forget some of what it saw."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from streamvlm import show
from streamvlm.cli_options import Address, AsJson, From, Timeout, To, client_at, during, print_json
from streamvlm.types import UtcInterval

_out = Console()


def erase(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The stream's name.")],
    begin: From = None,
    end: To = None,
    everything: Annotated[bool, typer.Option("--all", help="All that was seen so far.")] = False,
    address: Address = None,
    as_json: AsJson = False,
    timeout_seconds: Timeout = 60.0,
) -> None:
    """Forget what a stream saw: in memory, on the disk, in alerts. Watching goes on."""
    span = during(begin, end)
    if everything == bool(span):
        raise typer.BadParameter("say what: --from and --to, one of them, or --all")
    with client_at(address, timeout_seconds) as client:
        erased = client.erase_stream(name, span or UtcInterval())
    if as_json:
        print_json(asdict(erased))
        return
    counts = f"{erased.num_blocks} blocks, {erased.num_clips} clips, {erased.num_events} alerts"
    _out.print(show.line(f"{name}: erased {counts}"))
    for interval in erased.intervals:
        _out.print(show.line(f"  {show.interval(interval)}"))
