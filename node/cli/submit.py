"""``cuckoo submit``: one prompt to a coordinator, one picture back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.account import JsonOption, OptionalNetworkOption
from node.cli.drawn_picture import DrawnPicture, check_output, save, tell

if TYPE_CHECKING:
    from node.cli.api import ApiClient, Json
    from node.cli.progress import Reporter
    from node.receipts import ChainToAsk, ReceiptFindings

DEFAULT_API = "http://127.0.0.1:8000"


def submit(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the picture shows.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Save it here, over what is there.  \\[picture.png, or picture-2.png, … where that is taken]"
        ),
    ] = None,
    api: Annotated[str, typer.Option(help="A coordinator's API.", envvar="CUCKOO_API")] = DEFAULT_API,
    api_key: Annotated[str | None, typer.Option(help="API key.", envvar="CUCKOO_API_KEY")] = None,
    model: Annotated[str | None, typer.Option(help="Model; the network's default when left out.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size in pixels, as 128x128.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture.")] = None,
    negative: Annotated[str | None, typer.Option(help="What the picture should not show.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Weight of the prompt.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Scheduler, as 'euler a'.")] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Begin from this picture.")] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw anew only where this is transparent, or else light.")
    ] = None,
    strength: Annotated[float | None, typer.Option(help="How far --image is left behind, up to 1.")] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help="png or webp; as --out ends when left out.")
    ] = None,
    quality: Annotated[int | None, typer.Option(help="Of a WebP, 1 to 100; nothing is lost when left out.")] = None,
    embed_prompt: Annotated[bool, typer.Option("--embed-prompt", help="Write the prompt into the file.")] = False,
    may_be_disputed: Annotated[
        bool, typer.Option("--may-be-disputed", help="Let jurors see prompt and picture, should it be wrong.")
    ] = False,
    bootstrap: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MULTIADDR", help="Order over the overlay: an entry point, /ip4/…/p2p/PEER_ID. Repeatable."
        ),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Order over the overlay, by the entry points of --network.")
    ] = False,
    params: Annotated[
        str | None, typer.Option(help="Over the overlay: network's name or FILE.toml.  \\[that of --network, mainnet]")
    ] = None,
    patience: Annotated[
        float | None, typer.Option(help="Over the overlay: wait so long (s) for a coordinator that is gone.  \\[17]")
    ] = None,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Over the overlay: let only the miner that draws it read it.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show/--no-show", help="Show the picture in the terminal, where it can.")
    ] = True,
    as_json: JsonOption = False,
    network: OptionalNetworkOption = None,
    chain_rpc: Annotated[str | None, typer.Option(metavar="URL", help="Or: a chain to check it against.")] = None,
    staking: Annotated[str | None, typer.Option(metavar="0x…", help="Staking contract, with --chain-rpc.")] = None,
) -> None:
    """Have one picture made, watch its progress, and save it.

    $ cuckoo submit "a red heart" --out heart.png

    $ cuckoo submit "a green turtle" --api http://203.0.113.7:8000 --seed 7 --steps 20

    $ cuckoo submit "a blue heart" --image heart.png --strength 0.7 --out blue.webp

    $ cuckoo submit "a yellow star" --image heart.png --mask right-half.png --out half.png

    With --bootstrap or --overlay no HTTP is needed: coordinators are found in the network itself, and if one dies in
    the middle, it is waited for, and then the next draws the picture. It is paid once.

    $ cuckoo submit "a red heart" --overlay --network network.toml

    $ cuckoo submit "a blue heart" --overlay --network network.toml --image heart.png --strength 0.7

    $ cuckoo submit "a red heart" --bootstrap /ip4/203.0.113.7/tcp/4001/p2p/16Uiu2HA… --params testnet

    With --sealed no coordinator can read the prompt or see the picture: only the miner that draws it can, and what
    runs on its owner's machine.

    $ cuckoo submit "a red heart" --overlay --sealed --network network.toml
    """
    from node.cli.api import ApiClient
    from node.cli.progress import Reporter
    from node.cli.running import run_until_stopped
    from node.receipts import ChainToAsk
    from protocol.errors import ConfigError

    check_output(out)
    if out is not None and output_format is not None and ends_otherwise(out, output_format):
        raise ConfigError(f"--format: {output_format} is not what --out {out} ends in: leave one of them out")
    check_numbers({"--guidance": guidance, "--strength": strength, "--patience": patience})
    check_sealed(
        sealed,
        over_overlay=overlay or bool(bootstrap),
        shown={
            "--image": image is not None,
            "--mask": mask is not None,
            "--strength": strength is not None,
            "--may-be-disputed": may_be_disputed,
        },
    )
    if may_be_disputed and image is not None:
        raise ConfigError("--may-be-disputed: what begins from --image is never shown to jurors: leave it out")
    chain = ChainToAsk.given(chain_rpc, staking, network)
    order = {
        "prompt": prompt,
        "model": model,
        "size": size,
        "steps": steps,
        "seed": seed,
        "negative_prompt": negative,
        "guidance": guidance,
        "scheduler": scheduler,
        "source": picture_to_send(image, "--image"),
        "mask": picture_to_send(mask, "--mask"),
        "strength": strength,
        "output_format": output_format or ("webp" if out is not None and out.suffix.lower() == ".webp" else None),
        "output_quality": quality,
        "embed_prompt": embed_prompt or None,
        "may_be_disputed": may_be_disputed or None,
    }

    otherwise = Path("picture.webp" if output_format == "webp" else "picture.png")
    wishes: dict[str, Any] = {name: value for name, value in order.items() if value is not None}

    async def run() -> None:
        reporter = Reporter()
        if overlay or bootstrap:
            from node.cli.submit_overlay import Entries, draw_over_overlay, findings_of

            entries = Entries.given(bootstrap, network, params)
            with reporter.shown():
                drawn = await draw_over_overlay(wishes, entries, api_key, patience, reporter, sealed=sealed)
            path = save(out, drawn.picture, otherwise=otherwise)
            with saved_already(path):
                findings = await findings_of(drawn, chain)
        else:
            async with ApiClient(api, api_key) as client:
                with reporter.shown():
                    reporter.say("submitting")
                    last, picture = await draw(client, in_base64(wishes), reporter)
                path = save(out, picture, otherwise=otherwise, still_at=client.address_of(last["url"]))
                with saved_already(path):
                    findings = await receipt_findings(client, last["task"], picture, chain)
            drawn = DrawnPicture(last["task"], str(last["miner"]), picture)
        tell(drawn, path, findings, as_json=as_json, show=show)

    raise typer.Exit(run_until_stopped(run))


async def draw(client: "ApiClient", order: "Json", reporter: "Reporter") -> "tuple[Json, bytes]":
    """Submit an order and follow it; give the last update and the picture.

    Raises:
        ConfigError, Unavailable: It was refused, or ended without a picture.
    """
    from contextlib import aclosing

    from protocol.errors import Unavailable

    accepted = await client.submit(order)
    last: Json = {}
    async with aclosing(client.updates(accepted["task"])) as updates:  # type: ignore[type-var]  # it is a generator
        async for last in updates:
            reporter.update(last)
    if last.get("stage") != "done":
        raise Unavailable(f"task {accepted['task'][:12]} ended without a picture: {last.get('reason', 'unknown')}")
    return last, await client.picture(last["url"])


async def receipt_findings(
    client: "ApiClient", task: str, picture: bytes, chain: "ChainToAsk | None"
) -> "ReceiptFindings":
    """Fetch and check the receipt of a task, against the chain where one is given."""
    from node.receipts import check_receipt, decode_receipt, look_up_domain

    receipt = decode_receipt(await client.receipt(task))
    domain = key = None
    if chain is not None:
        domain, key = await look_up_domain(chain, receipt.statement.coordinator)
    return check_receipt(receipt, task=bytes.fromhex(task), picture=picture, domain=domain, registered_key=key)


@contextmanager
def saved_already(path: Path) -> Iterator[None]:
    """Say in what goes wrong with a receipt that the picture is there: whoever reads only that orders it again."""
    from protocol.errors import ConfigError, Unavailable

    try:
        yield
    except (ConfigError, Unavailable) as error:
        said = f"{path} is saved, but its receipt is not checked: {error}"
        raise (ConfigError(said) if isinstance(error, ConfigError) else Unavailable(said)) from None


def in_base64(wishes: "Json") -> "Json":
    """Write files as JSON holds them."""
    from base64 import b64encode

    return {name: b64encode(wish).decode() if isinstance(wish, bytes) else wish for name, wish in wishes.items()}


def picture_to_send(path: Path | None, flag: str) -> bytes | None:
    """Read a picture to send, once its header shows that it would be taken.

    Raises:
        ConfigError: Naming the flag: it cannot be read, or is no picture that tasks begin from.
    """
    if path is None:
        return None
    from protocol.errors import ConfigError, InvalidMessage
    from protocol.params import MAX_INPUT_BYTES
    from protocol.task.inputs import check_input

    try:
        with path.open("rb") as file:
            data = file.read(MAX_INPUT_BYTES + 1)
        check_input(data)
    except OSError as error:
        raise ConfigError(f"{flag}: {path} cannot be read: {error.strerror}") from None
    except InvalidMessage as problem:
        what = f"more than {MAX_INPUT_BYTES:,} bytes" if problem.rule == "input.oversize" else problem.detail
        raise ConfigError(f"{flag}: {path}: {what}") from None
    return data


def ends_otherwise(out: Path, output_format: str) -> bool:
    """Say whether a file's name promises another kind of picture than will be in it."""
    return out.suffix.lower() in {".png", ".webp"} - {f".{output_format}"}


def check_numbers(given: Mapping[str, float | None]) -> None:
    """Refuse what is no number or below zero, before anything tries to write it down; None was left out.

    Raises:
        ConfigError: Naming the flag.
    """
    from protocol.errors import ConfigError

    for flag, number in given.items():
        if number is not None and not 0 <= number < float("inf"):
            raise ConfigError(f"{flag}: {number:g} is no number from 0 on")


def check_sealed(sealed: bool, *, over_overlay: bool, shown: Mapping[str, bool]) -> None:
    """Refuse to seal what goes to a coordinator in plain words; ``shown`` are the flags of what a seal does not cover.

    Raises:
        ConfigError: Naming --sealed.
    """
    from protocol.errors import ConfigError

    for flag, is_given in shown.items():
        if sealed and is_given:
            raise ConfigError(
                f"--sealed: only what is drawn from a prompt alone, for nobody else, is sealed: leave out {flag}"
            )
    if sealed and not over_overlay:
        raise ConfigError("--sealed: only orders over the overlay are sealed: give --overlay --network, or --bootstrap")
