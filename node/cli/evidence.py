"""``cuckoo evidence``: statements of nodes that contradict each other, and what came of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from node.cli.account import DEFAULT_NETWORK, JsonOption, Means, NetworkOption, acting, print_line, transact

if TYPE_CHECKING:
    from node.owner.wallet import Plan, Wallet
    from protocol.records import CaseChanged, EvidenceFound

evidence_commands = typer.Typer(help="See what nodes signed that contradicts itself, and have it slashed.")

EXIT_PROVES_NOTHING: Final = 1
ROLES: Final = ("miner", "coordinator")
SHOWN_DIGITS: Final = 12
"""Of a name, as people see it; so many are enough to name it by."""
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="The node's data folder.  [~/.cuckoo/miner, ~/.cuckoo/coordinator]"),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="As cuckoo evidence export writes it.")]


@evidence_commands.command("list")
def list_found(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List what a node found, and how far each has come. Read from its store, whether it runs or not.

    $ cuckoo evidence list --data ~/.cuckoo/coordinator
    """
    cases = [case for folder in _folders(data) for case in _cases(folder)]
    if as_json:
        print_line({"evidence": [_described(*case) for case in cases]})
        return
    if not cases:
        print("no evidence: no node was seen to sign what contradicts itself")
    for found, changed in cases:
        _print(found, changed)


@evidence_commands.command("export")
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, or how that begins.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
    data: DataOption = None,
    network: NetworkOption = DEFAULT_NETWORK,
) -> None:
    """Write evidence to a file, which anybody may check and send. It holds what was signed and no secret.

    $ cuckoo evidence export 0df4ba4a57c5 --out evidence.json --network network.toml
    """
    from node.network_file import read_network
    from node.owner.evidence_file import EvidenceFile
    from protocol.crypto.typed_data import Domain
    from protocol.errors import ConfigError
    from protocol.justice.evidence import name_of

    cases = [found.evidence for folder in _folders(data) for found, _ in _cases(folder)]
    named = {name_of(evidence): evidence for evidence in cases if name_of(evidence).startswith(name.lower())}
    if not name or len(named) != 1:
        many = f"{len(named)} begin" if named else "none begins"
        raise ConfigError(f"NAME: {many} with {name!r}: cuckoo evidence list shows what there is")
    described = read_network(network)
    domain = Domain(described.chain.chain_id, described.staking_address)
    text = EvidenceFile(domain, next(iter(named.values()))).text()
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out: {out}: cannot be written: {error.strerror}") from None
    print(f"wrote {out}: anybody may send it with cuckoo evidence send")


@evidence_commands.command("check")
def check(file: FileArgument, as_json: JsonOption = False) -> None:
    """Check a file offline: whether its statements contradict each other, and whose keys signed them.

    That these keys are the node's is for the contract, which ``send --dry-run`` asks. The exit code is 1 where it
    proves nothing.

      $ cuckoo evidence check evidence.json
    """
    from node.owner.evidence_file import read_evidence_file

    given = read_evidence_file(file)
    problem, evidence = given.problem(), given.evidence
    signers = given.signers() if problem is None else []
    if as_json:
        about = {"kind": evidence.KIND.label, "signer": evidence.signer, "keys": signers}
        print_line({"proves": problem is None, "problem": problem, **about})
    elif problem is None:
        print(f"it proves {evidence.KIND.label} of node {evidence.signer}, if that is whose key signed: ", end="")
        print(", ".join(signers))
    else:
        print(f"it proves nothing: {problem}")
    if problem is not None:
        raise typer.Exit(EXIT_PROVES_NOTHING)


@evidence_commands.command("send")
@acting
def send(
    file: FileArgument,
    means: Means,
    receiver: Annotated[
        str | None, typer.Option("--receiver", metavar="0x…", help="Who gets the bounty.  \\[your account]")
    ] = None,
) -> None:
    """Show evidence to the Slashing contract: its signer is slashed and jailed, and you get a part as a bounty.

    $ cuckoo evidence send evidence.json --network network.toml --keystore account.json --dry-run
    """
    from node.addresses import checked_address
    from node.owner.evidence_file import read_evidence_file

    given = read_evidence_file(file)
    paid = None if receiver is None else checked_address(receiver, "--receiver")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.evidence_plan import prove

        return await prove(wallet, given, paid or wallet.address)

    transact(means, plan)


def _folders(data: Path | None) -> list[Path]:
    """Give the folders to read: the one that was named, else those of this person's nodes."""
    if data is not None:
        return [data.expanduser()]
    home = Path.home() / ".cuckoo"
    there = [home / role for role in ROLES if (home / role / "store.sqlite").is_file()]
    return there or [home / ROLES[0]]


def _cases(folder: Path) -> "list[tuple[EvidenceFound, CaseChanged | None]]":
    """Read what a node found, each with what came of it."""
    from node.adapters.store.accounts import read_evidence
    from protocol.justice.evidence import name_of
    from protocol.records import CaseChanged, EvidenceFound

    records = read_evidence(folder)
    changed = {one.name: one for one in records if isinstance(one, CaseChanged)}
    return [(one, changed.get(name_of(one.evidence))) for one in records if isinstance(one, EvidenceFound)]


def _described(found: "EvidenceFound", changed: "CaseChanged | None") -> dict[str, Any]:  # Any: what JSON holds
    """Say what a program wants to know."""
    from protocol.justice.evidence import name_of

    evidence = found.evidence
    said: dict[str, Any] = {
        "name": name_of(evidence),
        "kind": evidence.KIND.label,
        "signer": evidence.signer,
        "found_at": found.found_at,
        "state": "found" if changed is None else changed.state.value,
        "detail": "" if changed is None else changed.detail,
    }
    if changed is not None and changed.transaction is not None:
        said["transaction"] = "0x" + changed.transaction.hex()
        said |= {"slashed_wei": str(changed.slashed), "bounty_wei": str(changed.bounty)}
    return said


def _print(found: "EvidenceFound", changed: "CaseChanged | None") -> None:
    """Show one to a person."""
    from datetime import datetime

    from node.amounts import format_cai
    from protocol.justice.evidence import name_of

    evidence = found.evidence
    role = evidence.ROLE.name.lower()
    day = datetime.fromtimestamp(found.found_at / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
    name = name_of(evidence)[:SHOWN_DIGITS]
    print(f"{name}  {evidence.KIND.label} of {role} {evidence.signer}, found {day}")
    if changed is None:
        print("  not shown to the contract: cuckoo evidence export writes it to a file that anybody may send")
    elif changed.transaction is not None:
        print(f"  proven: {format_cai(changed.slashed)} slashed, {format_cai(changed.bounty)} to this node's owner")
        print(f"  by transaction 0x{changed.transaction.hex()}")
    else:
        print(f"  {changed.state.value.replace('_', ' ')}{': ' + changed.detail if changed.detail else ''}")
