"""``cuckoo demo``: the whole straight line once, on this machine: a prompt in, a picture and a receipt out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from node.cli.api import ApiClient, Json
    from node.cli.progress import Reporter
    from node.devnet import Devnet

STOP_SECONDS: Final = 4.7
"""How long (s) everything may take to stop, as for a devnet."""
MIN_BENCH_TASKS: Final = 2


def demo(
    prompt: Annotated[str, typer.Argument(help="What the picture shows.")] = "a red heart",
    out: Annotated[
        Path | None,
        typer.Option(help="Save the PNG here, over what is there.  \\[demo.png, or demo-2.png, … if that is taken]"),
    ] = None,
    miners: Annotated[int, typer.Option(help="Miners, with different stakes.")] = 3,
    engine: Annotated[str, typer.Option(help="diffusion, or instant: tiny pictures without work.")] = "diffusion",
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture.")] = None,
    bench: Annotated[int, typer.Option(help="Then measure this many idle tasks, one after another.")] = 0,
) -> None:
    """Start a network here, have one picture made, say who made it and how long each step took, and stop.

    $ cuckoo demo "a green turtle" --out turtle.png

    $ cuckoo demo --engine instant --bench 50          (how fast the network itself is)
    """
    from node.cli.api import ApiClient
    from node.cli.drawn_picture import check_output, save
    from node.cli.progress import Reporter
    from node.cli.running import run_until_stopped
    from node.cli.submit import draw
    from node.devnet import devnet as run_devnet
    from node.devnet_plan import DevnetOptions
    from protocol.errors import ConfigError

    if out is not None and out.suffix.lower() == ".webp":
        raise ConfigError(f"--out: {out}: a demo saves a PNG: let the name end in .png")
    check_output(out)
    if not prompt.strip():
        raise ConfigError("PROMPT: is empty: say what the picture shows")
    if bench and bench < MIN_BENCH_TASKS:
        raise ConfigError(f"--bench: {bench} is not at least {MIN_BENCH_TASKS}, of which a spread can be told")
    options = DevnetOptions(miners=miners, engine=engine, port=0)
    order: Json = {"prompt": prompt} | ({} if seed is None else {"seed": seed})

    async def run() -> None:
        import trio

        begun = trio.current_time()
        with Reporter().shown() as reporter:
            async with run_devnet(options, reporter.say) as network, ApiClient(network.api_urls[0]) as client:
                ready = trio.current_time()
                reporter.say("submitting")
                last, picture = await draw(client, order, reporter)
                delivered = trio.current_time()
                path = save(out, picture, otherwise=Path("demo.png"))
                reporter.stop()
                print(f"network ready in {ready - begun:.1f} s, picture in {delivered - ready:.2f} s: {path}")
                print(await made_by(network, last))
                print(await step_times(client, network, last["task"]))
                print(await receipt_line(client, network, last["task"], picture))
                print(memory_lines(network))
                if bench:
                    print(await measure(client, order, bench, reporter))

    raise typer.Exit(run_until_stopped(run, stop_seconds=STOP_SECONDS))


async def made_by(network: "Devnet", last: "Json") -> str:
    """Say which miner made the picture."""
    for member, staking_id in network.registered():
        if str(staking_id) == last["miner"]:
            address = member.readiness.address if member.readiness else "?"
            return f"made by {member.name}: staking id {staking_id}, key {address}, stake {member.stake_cai:,} CAI"
    return f"made by miner {last['miner']}"


async def step_times(client: "ApiClient", network: "Devnet", task: str) -> str:
    """Say how long each step of a task took, by the coordinator's own journal."""
    from node.task_times import step_durations

    generation_ms = (await client.task(task))["generation_ms"]
    logs = [member.child.log for member in network.members if member.child]
    rows = step_durations(logs, task, generation_ms)
    return "\n".join(f"  {name:<11} {duration:>9.1f} ms   {meaning}" for name, duration, meaning in rows)


async def receipt_line(client: "ApiClient", network: "Devnet", task: str, picture: bytes) -> str:
    """Check the receipt against the chain, and say what it holds.

    Raises:
        Unavailable: It cannot be believed.
    """
    from node.cli.submit import receipt_findings
    from node.receipts import ChainToAsk
    from protocol.errors import Unavailable

    chain = ChainToAsk(network.chain_url, "0x" + network.contracts.staking.hex())
    findings = await receipt_findings(client, task, picture, chain)
    if findings.problems:
        raise Unavailable(f"the receipt cannot be believed: {'; '.join(findings.problems)}")
    return "receipt verified: " + ",\n  ".join(findings.lines())


def memory_lines(network: "Devnet") -> str:
    """Say how much memory each process holds; only the miners' engines have torch in theirs."""
    lines = ["resident memory:"]
    for member in network.members:
        parts = member.child.resident_bytes() if member.child else {}
        lines.append(
            f"  {member.name:<14} " + ", ".join(f"{name} {size / 2**20:.0f} MB" for name, size in parts.items())
        )
    return "\n".join(lines)


async def measure(client: "ApiClient", order: "Json", count: int, reporter: "Reporter") -> str:
    """Submit tasks one after another and say how long it took from submission to award and to delivery."""
    from statistics import quantiles

    from node.adapters.system import SystemClock

    clock = SystemClock()
    awards, deliveries = [], []
    for number in range(count):
        reporter.say(f"measuring {number + 1} of {count}")
        begun = clock.now()
        answer = await client.generate(order)
        deliveries.append(clock.now() - begun)
        news = [update async for update in client.updates(answer["cuckoo"]["task"])]
        awards += [update["at"] - begun for update in news if update["stage"] == "claimed"]
    lines = [f"{count} idle tasks, one after another, over HTTP:"]
    for name, values in (("award", awards), ("delivered", deliveries)):
        marks = quantiles(values, n=20, method="inclusive")
        lines.append(f"  submit -> {name:<10} p50 {marks[9]:.0f} ms, p95 {marks[18]:.0f} ms")
    return "\n".join(lines)
