"""All commands in one application, and the one place where an error becomes a line and an exit code.

Exit codes: 0 done; 1 something outside failed; 2 what was typed or configured is wrong; 130 Ctrl-C.
"""

import errno
import io
import re
import sys
from contextlib import suppress
from inspect import getdoc
from typing import Annotated, Final

import typer

from node.cli.apikey import apikey_commands
from node.cli.audit import audit
from node.cli.bench import bench_commands
from node.cli.config import config_commands
from node.cli.contracts import contract_commands
from node.cli.demo import demo
from node.cli.devnet import devnet
from node.cli.dispute import dispute_commands
from node.cli.doctor import doctor
from node.cli.earnings import earnings, spend
from node.cli.escrow import escrow_commands
from node.cli.evidence import evidence_commands
from node.cli.faucet import faucet
from node.cli.key import key_commands
from node.cli.miner import miner_commands
from node.cli.models import model_commands
from node.cli.node import node
from node.cli.registration import commission, profile, register, rotate_key, unjail
from node.cli.rewards import claim, rewards
from node.cli.staking import stake, unbond, unvote, vote, withdraw
from node.cli.status import status
from node.cli.submit import submit
from node.cli.verify import verify
from node.own_command import shown_command, with_shown_command
from protocol.errors import ConfigError, OverlayError

EXIT_FAILED: Final = 1
EXIT_MISUSED: Final = 2
EXIT_INTERRUPTED: Final = 130

PICTURES: Final = "Pictures"
NODES: Final = "Nodes"
STAKES: Final = "Stakes and votes"
OWNERS: Final = "Owners of a node"
"""Under which headings the help lists the commands."""

app = typer.Typer(name="cuckoo", rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def cuckoo(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    """Generative AI from other people's GPUs, over a peer-to-peer network.

    [bold]Try it[/bold], the whole network on this machine:

      $ cuckoo demo "a red heart" --out heart.png

      $ cuckoo devnet

    [bold]Ask a coordinator for a picture[/bold]:

      $ cuckoo submit "a red heart" --out heart.png --api http://127.0.0.1:8000

    [bold]Sell GPU time[/bold]:

      $ cuckoo key new --keystore key.json

      $ cuckoo node --config miner.toml

    [bold]Vote with stake for those you trust[/bold]:

      $ cuckoo status --stakes --network network.toml

      $ cuckoo audit --live --seconds 600 --network network.toml

      $ cuckoo vote 4 1000 --network network.toml --keystore account.json
    """
    if show_version:
        from importlib.metadata import version  # imported here: costs 40 ms

        print(f"cuckoo {version('cuckoo-overlay')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


app.command(rich_help_panel=PICTURES)(demo)
app.command(rich_help_panel=PICTURES)(submit)
app.command(rich_help_panel=PICTURES)(verify)
app.command(rich_help_panel=NODES)(devnet)
app.command(rich_help_panel=NODES)(node)
app.command(rich_help_panel=NODES)(doctor)
app.command(rich_help_panel=NODES)(earnings)
app.command(rich_help_panel=NODES)(spend)
app.add_typer(evidence_commands, name="evidence", rich_help_panel=NODES)
app.add_typer(dispute_commands, name="dispute", rich_help_panel=NODES)
app.add_typer(key_commands, name="key", rich_help_panel=NODES)
app.add_typer(apikey_commands, name="apikey", rich_help_panel=NODES)
app.add_typer(bench_commands, name="bench", rich_help_panel=NODES)
app.add_typer(config_commands, name="config", rich_help_panel=NODES)
app.add_typer(miner_commands, name="miner", rich_help_panel=NODES)
app.add_typer(model_commands, name="models", rich_help_panel=NODES)
app.command(rich_help_panel=STAKES)(status)
app.command(rich_help_panel=STAKES)(audit)
app.command(rich_help_panel=STAKES)(faucet)
app.command(rich_help_panel=STAKES)(vote)
app.command(rich_help_panel=STAKES)(unvote)
app.command(rich_help_panel=STAKES)(withdraw)
app.command(rich_help_panel=STAKES)(rewards)
app.command(rich_help_panel=STAKES)(claim)
app.command(rich_help_panel=OWNERS)(register)
app.command(rich_help_panel=OWNERS)(profile)
app.command(rich_help_panel=OWNERS)(stake)
app.command(rich_help_panel=OWNERS)(unbond)
app.command(rich_help_panel=OWNERS)(commission)
app.command("rotate-key", rich_help_panel=OWNERS)(rotate_key)
app.command(rich_help_panel=OWNERS)(unjail)
app.add_typer(contract_commands, name="contracts", rich_help_panel=OWNERS)
app.add_typer(escrow_commands, name="escrow", rich_help_panel=OWNERS)


def _name_the_command() -> None:
    """Let the examples in all help be commands that the reader can copy."""
    groups = [group.typer_instance for group in app.registered_groups]
    for one in (app, *(group for group in groups if group is not None)):
        for command in one.registered_commands:
            command.help = with_shown_command(_flowing(getdoc(command.callback) or ""))
    assert app.registered_callback is not None
    app.registered_callback.help = with_shown_command(getdoc(cuckoo) or "")


def _flowing(text: str) -> str:
    """Join the lines of each paragraph, which are as long as source allows, so that they break as the terminal does."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(one if one.lstrip().startswith("$") else " ".join(one.split()) for one in paragraphs)


def main() -> None:
    """Run the command that the arguments name, and leave the process with its exit code."""
    sys.exit(_run())


def _run() -> int:
    """Run a command; expected errors become one line on standard error."""
    _name_the_command()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without an arrow must not hide what was done
    try:
        code: object = app(standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk or a reader that left is still told of
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)  # typer does not export the class that has one
        path = context.command_path.split(" ")[1:] if context else []
        shown = " ".join([shown_command(), *path, "--help"])
        said = error.format_message()
        if re.fullmatch(r"No such option: -[\d.]+", said):
            said += ": a number here is 0 or more, and what begins with a dash goes behind --"
        print(f"error: {said} ({shown} shows what there is)", file=sys.stderr)
        return error.exit_code
    except ConfigError as error:
        print(f"error: {with_shown_command(str(error))}", file=sys.stderr)
        return EXIT_MISUSED
    except OverlayError as error:
        print(f"error: {with_shown_command(str(error))}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; Python would complain once more at exit
        return EXIT_FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        with suppress(OSError):
            sys.stdout.close()  # else Python tries once more at exit
        print("error: no space is left where the output goes; what was sent stays sent", file=sys.stderr)
        return EXIT_FAILED
