"""The commands for standing questions: arm a rule, list rules, disarm one, follow alerts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from streamvlm import show
from streamvlm.alerts import AlertRule, Severity
from streamvlm.cli_options import Address, AsJson, client_at, print_json

_out, _err = Console(), Console(stderr=True)
_DEFAULTS = AlertRule(rule_id="defaults", text="?")

Rule = Annotated[str, typer.Argument(metavar="RULE", help="The rule's name.")]
On = Annotated[
    list[str] | None,
    typer.Option("--on", metavar="NAME", help="A stream; may come often; else all of them."),
]


def watch(
    rule: Rule,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="A question whose answer is yes or no.")
    ],
    on: On = None,
    enter: Annotated[
        float, typer.Option(help="Score that speaks for it.")
    ] = _DEFAULTS.enter_threshold,
    leave: Annotated[
        float, typer.Option(help="Score below which it is over.")
    ] = _DEFAULTS.leave_threshold,
    lasting: Annotated[
        float, typer.Option(help="Seconds for which it must hold.")
    ] = _DEFAULTS.min_duration_seconds,
    cooldown: Annotated[
        float, typer.Option(help="Seconds of quiet after an alert.")
    ] = _DEFAULTS.cooldown_seconds,
    severity: Annotated[str, typer.Option(help="info, warning or critical.")] = "warning",
    address: Address = None,
) -> None:
    """Ask a standing question: it becomes an alert when the answer is yes."""
    named = [each for each in Severity if each is not Severity.UNKNOWN]
    if severity not in named:
        raise typer.BadParameter(f"severity {severity!r}; allowed: {', '.join(named)}")
    asked = AlertRule(
        rule_id=rule,
        text=text,
        stream_ids=frozenset(on or ()),
        enter_threshold=enter,
        leave_threshold=leave,
        min_duration_seconds=lasting,
        cooldown_seconds=cooldown,
        severity=Severity(severity),
    )
    with client_at(address) as client:
        client.create_rule(asked)
    _out.print(show.line(f"{rule}: watching for {text!r}; follow it: streamvlm alerts"))


def rules(address: Address = None, as_json: AsJson = False) -> None:
    """List the standing questions."""
    with client_at(address) as client:
        found = client.list_rules()
    if as_json:
        print_json([show.plain_rule(rule) for rule in found])
    elif found:
        _out.print(show.rules(found))
    else:
        _err.print("no rules; add one: streamvlm watch RULE TEXT")


def unwatch(rule: Rule, address: Address = None) -> None:
    """Ask a standing question no more."""
    with client_at(address) as client:
        client.delete_rule(rule)
    _out.print(show.line(f"{rule}: removed"))


def events(
    on: On = None,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """List what happened of late, the newest first."""
    with client_at(address) as client:
        found = client.list_events(most=most, stream_ids=on or ())
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        _out.print(show.events(found))
    else:
        _err.print("nothing has happened")


def ack(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="Its id, as `events` shows it.")],
    by: Annotated[str, typer.Option(help="Who has seen to it.")] = "",
    address: Address = None,
) -> None:
    """Note that somebody has seen to an alert."""
    with client_at(address) as client:
        client.acknowledge_alert(alert, by=by)
    _out.print(show.line(f"{alert}: seen"))


def alerts(
    on: On = None,
    resume: Annotated[
        str, typer.Option(metavar="TOKEN", help="Go on behind an alert that was told before.")
    ] = "",
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Follow alerts as they fire and end, until Ctrl-C."""
    with client_at(address) as client:
        for given in client.subscribe(resume_token=resume, stream_ids=on or ()):
            if as_json:
                print_json(asdict(given))
            else:
                _out.print(show.alert(given))


def webhooks(address: Address = None, as_json: AsJson = False) -> None:
    """List the webhooks, and how deliveries to them go."""
    with client_at(address) as client:
        found = client.list_webhooks()
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        _out.print(show.webhooks(found))
    else:
        _err.print("no webhooks; they are named in the config, under notify.webhooks")


def replay(
    webhook: Annotated[str, typer.Argument(metavar="WEBHOOK", help="As `webhooks` names it.")],
    address: Address = None,
) -> None:
    """Deliver again what could not be delivered to a webhook."""
    with client_at(address) as client:
        count = client.replay_dead_letters(webhook)
    _out.print(show.line(f"{webhook}: {count} events are tried again"))
