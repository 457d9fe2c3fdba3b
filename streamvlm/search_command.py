"""The command that searches what streams remember."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from streamvlm import show, show_time
from streamvlm.cli_options import Address, AsJson, From, Timeout, To, client_at, during, print_json

_out, _err = Console(), Console(stderr=True)


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for, in plain words.")],
    on: Annotated[
        list[str] | None,
        typer.Option("--stream", metavar="NAME", help="May come often; else all streams."),
    ] = None,
    begin: From = None,
    end: To = None,
    most: Annotated[int, typer.Option("--top", min=1, max=100, help="Moments to show.")] = 10,
    address: Address = None,
    as_json: AsJson = False,
    timeout_seconds: Timeout = 30.0,
) -> None:
    """Find the moments that fit a text best, on one stream or on all, without asking the model."""
    with client_at(address, timeout_seconds) as client:
        found = client.search(text, on or (), during=during(begin, end), most=most)
    if as_json:
        print_json(asdict(found))
        return
    if found.moments:
        _out.print(show_time.moments(found.moments))
    else:
        _err.print(f"nothing found on {len(found.searched)} streams")
    if found.unsearched:
        names = ", ".join(found.unsearched)
        _err.print(show.line(f"not searched, no worker tells of them now: {names}", "yellow"))
