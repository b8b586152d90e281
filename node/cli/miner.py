"""``cuckoo miner``: the owner's word to a miner that runs on this machine."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.cli.account import JsonOption, print_line

POLL_S: Final = 0.5
"""How often (s) a node that drains is asked how far it is."""

miner_commands = typer.Typer(help="Let a running miner work or rest: its device is yours.")

DataOption = Annotated[Path | None, typer.Option(metavar="FOLDER", help="The miner's data folder.  [~/.cuckoo/miner]")]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The miner's settings: its data folder is meant.")
]


@miner_commands.command("status")
def show_status(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say whether a running miner takes work, what holds it back, and how fast its models draw.

    $ cuckoo miner status --config miner.toml
    """
    _show(_ask(config, data, {"command": "status"}), as_json=as_json)


@miner_commands.command("pause")
def pause(
    now: Annotated[
        bool, typer.Option("--now", help="Give back what it was awarded: coordinators leave it out for a while.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take no more work, finish what was awarded, then give the device's memory back.

    It stays so until cuckoo miner resume, also over a restart of the node.

      $ cuckoo miner pause

      $ cuckoo miner pause --now
    """
    _show(_ask(config, data, {"command": "pause", "give_back": now}), as_json=as_json)


@miner_commands.command("resume")
def resume(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Take work again, after a pause or instead of a drain. Models are loaded first.

    $ cuckoo miner resume
    """
    _show(_ask(config, data, {"command": "resume"}), as_json=as_json)


@miner_commands.command("drain")
def drain(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the node has stopped.")] = True,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take no more work, finish and deliver what there is, then stop the node.

    A result that its coordinator does not acknowledge is kept for an hour; stop the node before, and it is sent when
    the node runs again.

      $ cuckoo miner drain
    """
    folder = _folder(config, data)
    said = _ask(config, data, {"command": "drain"})
    if wait:
        said = _until_gone(folder, said)
    if said:
        _show(said, as_json=as_json)
    elif as_json:
        print_line({"stopped": True})
    else:
        print("the miner has delivered everything and stopped")


def _folder(config: Path | None, data: Path | None) -> Path:
    """Find the data folder that is meant.

    Raises:
        ConfigError: Both are given.
    """
    from protocol.errors import ConfigError

    if config is not None and data is not None:
        raise ConfigError("--data: the --config file names a data folder: give one of the two")
    if config is not None:
        from node.config.configuration import load_settings

        return load_settings(config, {}).data
    return (data or Path("~/.cuckoo/miner")).expanduser().absolute()


def _ask(config: Path | None, data: Path | None, request: dict[str, Any]) -> dict[str, Any]:  # Any: what JSON holds
    """Ask the running node."""
    from node.adapters.control import ask
    from protocol.errors import ConfigError

    said = ask(_folder(config, data), request)
    if "service" not in said:
        raise ConfigError(f"the node that runs there is a {said.get('role')}: only a miner takes work")
    return said


def _until_gone(folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Wait until the node has stopped; gives what it says if somebody lets it go on instead, else nothing."""
    from node.adapters.control import ask
    from node.cli.progress import Reporter
    from protocol.errors import ConfigError

    reporter = Reporter()
    with reporter.shown():
        while "draining" in said["service"]["held_by"]:
            reporter.say(_left(said["service"]))
            time.sleep(POLL_S)
            try:
                said = ask(folder, {"command": "status"})
            except ConfigError:
                return {}
    return said


def _left(service: dict[str, Any]) -> str:
    """Say what a miner has still to do."""
    counts = (
        (service["claims"], "claim", "claims"),
        (service["jobs"], "picture to draw", "pictures to draw"),
        (service["results"], "result to deliver", "results to deliver"),
    )
    return (
        ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts if count) or "nothing to do"
    )


def _show(said: dict[str, Any], *, as_json: bool) -> None:
    """Show how a miner stands."""
    if as_json:
        print_line(said)
    else:
        show_service(said)


def show_service(said: dict[str, Any]) -> None:
    """Show a person whether a miner works, and how fast its models draw."""
    service, engine = said["service"], said["engine"]
    print(f"{work_in_words(said)}; {_left(service)}")
    if service["celsius"] is not None:
        print(f"  heat      {service['celsius']} °C")
    if service["minutes_to_change"] is not None:
        from node.moments import duration

        print(f"  hours     {'end' if service['open'] else 'change'} in {duration(60 * service['minutes_to_change'])}")
    print(f"  engine    {engine['state']}{' on ' + engine['device'] if engine['device'] else ''}")
    for model, reason in engine["faults"].items():
        print(f"  {model}: {reason}")
    _show_speeds(engine["models"])


def work_in_words(said: Mapping[str, Any]) -> str:  # Any: what JSON holds
    """Say whether a miner takes work, or all that keeps it from that."""
    holds = [HELD_BY[why] for why in said["service"]["held_by"]]
    if said["staking_id"] is None:
        holds.append(
            "its key is not active in the stake table: what is new counts there from the next epoch but one on, and "
            "who is jailed or below its minimum does not (cuckoo status --stakes)"
        )
    return f"takes no work: {', '.join(holds)}" if holds else "takes work"


HELD_BY: Final = {
    "owner": "paused by its owner",
    "draining": "it drains",
    "hours": "outside of its hours",
    "heat": "its card is too hot",
}
"""What holds a miner back, in words."""


def _show_speeds(models: list[dict[str, Any]]) -> None:
    """Show how fast each model was measured to draw, by pictures together."""
    if not models:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("model")
    for heading in ("together", "pixel-steps/s"):
        table.add_column(heading, justify="right")
    table.add_column("in memory")
    for one in models:
        for place, (batch, speed) in enumerate(one["speeds"]):
            first = place == 0
            table.add_row(
                one["model"] if first else "", str(batch), f"{speed:,}", ("yes" if one["in_memory"] else "no") * first
            )
    Console(highlight=False, markup=False, emoji=False).print(table)
