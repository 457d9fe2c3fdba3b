"""The command line. Exit status: 0 well, 1 an error, told in one line, 2 wrong usage.

With STREAMVLM_DEBUG=1 a bug of ours shows its traceback.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from streamvlm import config, show, show_time
from streamvlm.alert_commands import (
    ack,
    alerts,
    events,
    replay,
    rules,
    unwatch,
    watch,
    webhooks,
)
from streamvlm.cli_options import (
    Address,
    AsJson,
    From,
    Timeout,
    To,
    client_at,
    during,
    environment,
    print_json,
)
from streamvlm.doctor import examine
from streamvlm.erase_command import erase
from streamvlm.errors import StreamVLMError
from streamvlm.evaluate.command import evaluate
from streamvlm.evaluate.reduction.command import reduce
from streamvlm.search_command import search
from streamvlm.types import AnswerFinished, AnswerStarted, AnswerToken, Sampling

app = typer.Typer(
    help="Ask live cameras questions about now and about hours ago, at constant memory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out, _err = Console(), Console(stderr=True)


_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+://|push:|synthetic:|file:)", re.IGNORECASE)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The stream's name.")]


@app.command()
def serve(
    service: Annotated[
        Literal["all", "gateway", "ingest", "worker", "notifier"],
        typer.Argument(metavar="[SERVICE]", help="all, gateway, ingest, worker or notifier."),
    ] = "all",
    config_path: Annotated[
        Path | None, typer.Option("--config", help="A YAML file; else the built-in defaults.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 finds one.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where streams, rules and events are kept; else STREAMVLM_DATA, else "
            "~/.local/share/streamvlm. Only without a Redis of your own.",
        ),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Lines of the log; else STREAMVLM_LOG_FORMAT, else text."),
    ] = None,
) -> None:
    """Run everything on this machine, or one service of a deployment, until Ctrl-C or SIGTERM.

    One service by itself needs a Redis: STREAMVLM_REDIS_URL.
    """
    defaults = environment()
    settings = config.load(config_path) if config_path else config.Config()
    # Before torch is loaded: OpenMP threads that spin are several times slower on a busy machine,
    # and a hub must not be called unless somebody wants it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Late: the other commands must not wait for all that a service needs.
    from services import logs, run

    logs.configure(log_format or defaults.log_format)
    model = f", model {settings.vlm.checkpoint}" if service in ("all", "worker") else ""
    run.run(
        run.Service(service),
        settings,
        address=address or defaults.address,
        folder=data or defaults.data,
        redis_url=defaults.redis_url.get_secret_value(),
        name=defaults.name,
        metrics=defaults.metrics,
        on_ready=lambda bound: typer.echo(
            f"streamvlm {'' if service == 'all' else service + ' '}is ready on {bound}{model}"
        ),
    )


@app.command()
def health(
    address: Address = None,
    timeout_seconds: Timeout = 3.0,
) -> None:
    """Ask a service whether it serves; the exit status is 1 where it does not."""
    with client_at(address, timeout_seconds) as client:
        if not client.is_serving():
            raise StreamVLMError("it is there, but not ready")
    typer.echo("serving")


@app.command()
def add(
    name: Name,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="rtsp://..., a file, push:, or synthetic:moving?realtime=1"
        ),
    ],
    offline_ok: Annotated[
        bool, typer.Option("--offline-ok", help="Keep a camera that cannot be reached yet.")
    ] = False,
    time_zone: Annotated[
        str,
        typer.Option(
            metavar="ZONE",
            help="Where the camera is, such as Europe/Berlin, for times that questions name.",
        ),
    ] = "UTC",
    address: Address = None,
    as_json: AsJson = False,
    timeout_seconds: Timeout = 30.0,
) -> None:
    """Watch a camera or a file from now on."""
    source = _absolute(source)
    with client_at(address, timeout_seconds) as client, _err.status("opening the source"):
        status = client.create_stream(name, source, allow_offline=offline_ok, time_zone=time_zone)
    if as_json:
        print_json(asdict(status))
    else:
        _out.print(show.line(f"{status.stream_id}: watching {status.source}"))


def _absolute(source: str) -> str:
    """A file as the service finds it, which may run in another folder; other addresses as they are.

    A wrong address is for the service to refuse: it knows them all, and it hides credentials.
    """
    if _SCHEME.match(source):
        return source
    try:
        return str(Path(source).absolute()) if Path(source).is_file() else source
    except (OSError, ValueError):
        return source


@app.command()
def ask(
    name: Name,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In plain words.")],
    max_new_tokens: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="Longest answer.")
    ] = 128,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="0 is the likeliest answer.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the sampling.")] = 0,
    begin: From = None,
    end: To = None,
    address: Address = None,
    as_json: AsJson = False,
    timeout_seconds: Timeout = 60.0,
) -> None:
    """Ask a stream a question: the answer, what it was given from, what it cost.

    A time in the question, such as "yesterday at 4 pm", is that of the stream's zone; what is
    recalled is from then alone. So it is with --from and --to.
    """
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
    started, finished = None, None
    with client_at(address, timeout_seconds) as client:
        for event in client.ask(name, question, sampling, during=during(begin, end)):
            if isinstance(event, AnswerStarted):
                started = event
            elif isinstance(event, AnswerFinished):
                finished = event
            elif isinstance(event, AnswerToken) and not as_json:
                typer.echo(show.plain(event.text), nl=False)
    if started is None or finished is None:
        raise StreamVLMError("the service ended the answer before its end")
    if as_json:
        print_json({**asdict(started), **asdict(finished)})
        return
    typer.echo("\n")
    for told in show_time.asked(started.asked) if started.asked else ():
        _out.print(told)
    _out.print(show_time.evidence(started))
    _out.print(show.usage(finished.usage), style="dim", highlight=False)


@app.command()
def streams(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One stream, with everything.")
    ] = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """List the streams, or show one."""
    with client_at(address) as client:
        found = [client.get_stream(name)] if name else client.list_streams()
    if as_json:
        values = [asdict(status) for status in found]
        print_json(values[0] if name else values)
    elif name:
        _out.print(show.stream(found[0]))
    elif found:
        _out.print(show.streams(found))
    else:
        _err.print("no streams; add one: streamvlm add NAME SOURCE")


@app.command()
def remove(name: Name, address: Address = None) -> None:
    """Stop watching a stream, and forget all that was seen."""
    with client_at(address) as client:
        client.delete_stream(name)
    _out.print(show.line(f"{name}: removed"))


@app.command()
def doctor(
    config_path: Annotated[
        Path | None, typer.Option("--config", help="Try the checkpoint that this file names.")
    ] = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Check whether this machine is fit; the exit status is 1 where it is not."""
    with _err.status("examining"):
        checks = list(examine(config_path, address or environment().address))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _out.print(show.checks(checks))
    if any(check.is_required and not check.is_ok for check in checks):
        raise typer.Exit(1)


for command in (watch, rules, unwatch, alerts, events, ack, webhooks, replay):
    app.command()(command)
app.command()(erase)
app.command(name="eval")(evaluate)
app.command()(reduce)
app.command()(search)


def main() -> None:
    """The program `streamvlm`."""
    try:
        app()
    except StreamVLMError as error:
        _fail(f"error: {error}")
    except Exception as error:
        if os.environ.get("STREAMVLM_DEBUG") == "1":
            raise
        # Only its kind: what it says could hold anything, credentials too.
        _fail(f"internal error: {type(error).__name__}; STREAMVLM_DEBUG=1 shows where")


def _fail(message: str) -> NoReturn:
    _err.print(show.line(message), soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
