"""``cuckoo doctor``: what keeps a node from working, and what mends each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from node.cli.account import JsonOption, print_line

if TYPE_CHECKING:
    from node.doctor.findings import Check, Finding
    from node.settings import Settings

NAME_WIDTH: Final = 13
"""Characters of the longest name of a finding, and one."""
EXIT_RED: Final = 1
EXIT_UNREADABLE: Final = 2
"""As for every command whose settings a person must mend first."""


def doctor(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with the node's settings.")] = None,
    role: Annotated[str | None, typer.Option(help="bootstrap, coordinator or miner, without --config.")] = None,
    network: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The network's file.  [CUCKOO_NETWORK without --config]")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the node's own state.  [~/.cuckoo/ROLE]")] = None,
    keystore: Annotated[Path | None, typer.Option(help="The node's encrypted key.  [DATA/key.json]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read whole models to compare their digests.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look a node over, before it runs or while it does: a line for each check, and one thing to do for each red one.

    Settings, key, data folder, ports, reach, entry points, chain, contract, clock, registration, stake and gas; of a
    coordinator its escrow, of a miner its device, driver, memory and models. Nothing waits for ever. Exit codes: 0 all
    is well, 1 something is red, 2 the command or the settings must be changed before anything can be looked at.

      $ cuckoo doctor --config miner.toml

      $ cuckoo doctor --role coordinator --network network.toml --json
    """
    from node.config.configuration import load_settings
    from node.doctor.checks import checks_of
    from node.doctor.findings import bad, good
    from protocol.errors import ConfigError

    if config is None and role is None:
        raise ConfigError("--config: name the node's settings, or say what it is: --role miner --network FILE")
    flags = {"role": role, "network": network, "data": data, "key.keystore": keystore}
    try:
        settings: Settings = load_settings(config, flags)
    except ConfigError as error:
        findings = [bad("settings", str(error), "mend what it names; cuckoo config example ROLE shows every key")]
        _show(findings[0], as_json=as_json)
        code = EXIT_UNREADABLE
    else:
        source = config or "the flags"
        first = good("settings", f"{source}: a {settings.role} on {settings.params.name}")
        _show(first, as_json=as_json)
        findings = [first, *_examined(checks_of(settings, quick=quick), as_json=as_json)]
        code = EXIT_RED if any(not finding.is_good for finding in findings) else 0
    red = sum(not finding.is_good for finding in findings)
    if as_json:
        print_line(
            {
                "good": red == 0,
                "findings": [
                    {"name": one.name, "good": one.is_good, "detail": one.detail, "fix": one.fix or None}
                    for one in findings
                ],
            }
        )
    else:
        number = "1 check" if len(findings) == 1 else f"{len(findings)} checks"
        print(f"{number}, {red} red" if red else f"{number}, all is well")
    raise typer.Exit(code)


def _examined(checks: "Sequence[Check]", *, as_json: bool) -> "list[Finding]":
    """Do all checks, and show each finding when it is there."""
    import trio

    from node.cli.progress import Reporter
    from node.doctor.findings import examine

    found: list[Finding] = []

    async def run() -> None:
        async for finding in examine(checks):
            found.append(finding)
            _show(finding, as_json=as_json)

    reporter = Reporter()
    with reporter.shown():
        if not as_json:
            reporter.say("looking")
        trio.run(run)
    return found


def _show(finding: "Finding", *, as_json: bool) -> None:
    """Show a finding to a person: what is red also says so in letters, for who sees no colours."""
    if as_json:
        return
    from rich.console import Console
    from rich.text import Text

    from node.own_command import with_shown_command

    line = Text(f"{'ok ' if finding.is_good else 'RED'} ", style="green" if finding.is_good else "bold red")
    line.append(f"{finding.name:<{NAME_WIDTH}} ", style="bold")
    line.append(finding.detail, style="default")
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(line)
    if finding.fix:
        console.print(Text(f"    {'':<{NAME_WIDTH}} → {with_shown_command(finding.fix)}", style="yellow"))
