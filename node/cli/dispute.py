"""``cuckoo dispute``: pictures that are not what was ordered, reported to jurors; and what became of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.account import DEFAULT_NETWORK, JsonOption, Means, NetworkOption, acting, look, print_line, transact

if TYPE_CHECKING:
    from node.adapters.store.accounts import Disputable
    from node.disputes.view import DisputeShown, JurorShown
    from node.owner.wallet import Plan, Wallet
    from protocol.justice.bundle import Bundle

dispute_commands = typer.Typer(
    help="Have jurors decide whether a picture is what was ordered.\n\n"
    "Who runs a coordinator takes three steps: found (what rechecks have found), export (the evidence, for its node to "
    "show to jurors) and report (with a bond of its owner). The owner of the accused miner may appeal, and anybody "
    "list and show. Nodes with a gas key draw the jurors, let them vote and close by themselves."
)

SHOWN_DIGITS = 12
"""Of a task, as people see it; so many are enough to name it by."""
DataOption = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="The coordinator's data folder.", show_default=False)
]
DEFAULT_DATA = Path("~/.cuckoo/coordinator")
NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="The dispute's number.", min=1)]


@dispute_commands.command("found")
def found(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """List the pictures that this coordinator may report: of something else, whose app lets jurors see them.

    Read from its store, whether it runs or not. Without the app's word (--may-be-disputed of cuckoo submit,
    may_be_disputed of POST /v1/tasks, or disputes.apps_have_agreed here) a picture is shown to nobody.

      $ cuckoo dispute found --data ~/.cuckoo/coordinator
    """
    from datetime import datetime

    listed = _disputable(data)
    if as_json:
        print_line(
            {
                "pictures": [
                    {
                        "task": one.task.hex(),
                        "miner": one.miner,
                        "planned_at": one.planned_at,
                        "is_here": one.picture is not None,
                    }
                    for one in listed
                ]
            }
        )
        return
    if not listed:
        print("nothing to report: no recheck found a picture of something else that jurors may see")
    for one in listed:
        day = datetime.fromtimestamp(one.planned_at / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
        gone = "" if one.picture is not None else "; its picture is gone"
        print(f"{one.task.hex()[:SHOWN_DIGITS]}  by miner {one.miner}, drawn again since {day}{gone}")


@dispute_commands.command("export")
def export(
    task: Annotated[str, typer.Argument(metavar="TASK", help="As found lists it, or how that begins.")],
    data: DataOption = DEFAULT_DATA,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it here as well, to report from elsewhere.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the evidence of a picture to a file: award, result and picture, with the prompt.

    It is kept in the node's data folder, from where the node shows it to the jurors and to nobody else.

      $ cuckoo dispute export 3fa94e0d11c2 --data ~/.cuckoo/coordinator
    """
    from node.disputes.files import keep_bundle, write_bundle
    from protocol.errors import ConfigError, InvalidMessage
    from protocol.justice.bundle import bundle_digest, make_bundle

    named = [one for one in _disputable(data) if task and one.task.hex().startswith(task.lower())]
    if len({one.task for one in named}) != 1:
        many = "several begin" if named else "none begins"
        raise ConfigError(f"TASK: {many} with {task!r}: cuckoo dispute found lists what may be reported")
    one = named[0]
    if one.picture is None:
        raise ConfigError(f"TASK: the picture of task {one.task.hex()[:SHOWN_DIGITS]} is gone: it cannot be reported")
    try:
        bundle = make_bundle(one.award, one.result, one.capability, one.picture)
    except InvalidMessage as error:
        raise ConfigError(f"TASK: what is kept of it is no evidence: {error}") from None
    path = keep_bundle(data.expanduser(), bundle)
    if out is not None:
        write_bundle(out, bundle.data())
    digest = "0x" + bundle_digest(bundle.data()).hex()
    if as_json:
        print_line({"task": one.task.hex(), "miner": one.miner, "evidence": digest, "file": str(out or path)})
    else:
        print(f"wrote {out or path}, with the prompt: the node's owner reports it with cuckoo dispute report")


@dispute_commands.command("report")
@acting
def report(file: Annotated[Path, typer.Argument(metavar="FILE", help="As export writes it.")], means: Means) -> None:
    """Report a picture: pays the bond, freezes withdrawals from its miner, and has jurors drawn.

    The account is the owner's of the coordinator that ordered it. See first what it costs, and why it may end void:

      $ cuckoo dispute report FILE --network network.toml --keystore account.json --dry-run
    """
    bundle = _bundle(file)

    async def plan(wallet: "Wallet") -> "Plan":
        from node.deployment import params_of
        from node.disputes.plan import report as plan_report

        network = wallet.network
        params = params_of(network, means.network)
        named = params.network_id(network.chain.chain_id, network.staking_address)
        return await plan_report(wallet, bundle, named)

    transact(means, plan)


@dispute_commands.command("appeal")
@acting
def appeal(number: NumberArgument, means: Means) -> None:
    """Appeal against what the first jurors found: twice as many others judge, and that is final.

    The account is the owner's of the accused miner. Where the network has too few owners of other miners to judge, the
    appeal ends void: nobody is slashed, and the bond is back. See first what it costs, and what it takes:

      $ cuckoo dispute appeal 3 --network network.toml --keystore account.json --dry-run
    """

    async def plan(wallet: "Wallet") -> "Plan":
        from node.disputes.plan import appeal as plan_appeal

        return await plan_appeal(wallet, number)

    transact(means, plan)


@dispute_commands.command("list")
def list_disputes(network: NetworkOption = DEFAULT_NETWORK, as_json: JsonOption = False) -> None:
    """List the disputes of a network, the newest last, with their phase and until when it lasts.

    $ cuckoo dispute list --network network.toml
    """

    async def ask(wallet: "Wallet") -> "tuple[list[DisputeShown], int]":
        from node.disputes.view import all_disputes

        return await all_disputes(wallet), await wallet.now()

    listed, now = look(network, ask)
    if as_json:
        print_line({"disputes": [_described(one) for one in listed], "now": now})
        return
    if not listed:
        print("no disputes")
    for one in listed:
        _print(one, now)


@dispute_commands.command("show")
def show(number: NumberArgument, network: NetworkOption = DEFAULT_NETWORK, as_json: JsonOption = False) -> None:
    """Show a dispute, its jurors, and how each of them judged.

    $ cuckoo dispute show 3 --network network.toml
    """
    from node.amounts import format_cai

    async def ask(wallet: "Wallet") -> "tuple[DisputeShown, list[JurorShown], int]":
        from node.disputes.view import find_dispute, jurors_of

        shown = await find_dispute(wallet, number)
        return shown, await jurors_of(wallet, number), await wallet.now()

    shown, jurors, now = look(network, ask)
    if as_json:
        verdicts = [
            {"juror": one.node, "round": one.round, "verdict": None if one.verdict is None else one.verdict.label}
            for one in jurors
        ]
        print_line(_described(shown) | {"jurors": verdicts, "now": now})
        return
    _print(shown, now)
    print(f"  evidence 0x{shown.evidence.hex()}, bond paid by {shown.accuser}")
    if shown.fee_wei:
        print(f"  each juror who judges brings its owner {format_cai(shown.fee_wei)}, unless an appeal contradicts it")
    for one in jurors:
        word = "has not judged" if one.verdict is None else one.verdict.label.replace("_", " ")
        print(f"  juror {one.node}{' (appeal)' if one.round else ''}: {word}")


def _disputable(data: Path) -> "tuple[Disputable, ...]":
    from node.adapters.store.accounts import read_disputable

    return read_disputable(data.expanduser())


def _bundle(file: Path) -> "Bundle":
    """Read a file of evidence.

    Raises:
        ConfigError: It is none.
    """
    from node.given_file import read_given_file
    from protocol.errors import ConfigError, InvalidMessage
    from protocol.justice.bundle import MAX_BUNDLE_BYTES, read_bundle

    data = read_given_file(file.expanduser(), MAX_BUNDLE_BYTES, "evidence of a picture", named=f"FILE: {file}")
    try:
        return read_bundle(data)
    except InvalidMessage:
        raise ConfigError(
            f"FILE: {file} holds no evidence of a picture: write one with cuckoo dispute export"
        ) from None


def _described(shown: "DisputeShown") -> dict[str, Any]:  # Any: what JSON holds
    """Say what a program wants to know."""
    return {
        "dispute": shown.number,
        "accused": shown.accused,
        "reporter": shown.reporter,
        "accuser": shown.accuser,
        "evidence": "0x" + shown.evidence.hex(),
        "status": shown.status.label,
        "is_open": shown.status.is_open,
        "round": shown.round,
        "deadline": shown.deadline,
        "bond_wei": str(shown.bond_wei),
        "appeal_bond_wei": str(shown.appeal_bond_wei),
        "seats": shown.seats,
        "taken": shown.taken,
        "wrong": shown.wrong,
        "right": shown.right,
    }


def _print(shown: "DisputeShown", now: int) -> None:
    """Show one to a person."""
    print(f"dispute {shown.number}: miner {shown.accused}, reported by coordinator {shown.reporter}")
    print(f"  {shown.in_words(now)}")
