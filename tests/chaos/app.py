"""An app of a chaos run, a process of its own: it orders, dies, and asks for the same orders when it is back.

What it began and what it heard stands in a file, line by line. SIGTERM asks it to begin nothing more; it ends by itself
once every order has its end.
"""

import argparse
import hashlib
import json
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio

from node.apps.app_client import OrderFailed, open_client, order_of
from protocol.errors import Unavailable
from protocol.wire.codec import RECEIPT_PLACE, decode

AGAIN_S = 0.5
"""Before somebody who does not answer is asked again."""
LOOK_S = 0.3
TRIES = 20
"""How often an order that failed over the overlay is made again, under another name: the same one has its end."""
NEVER = frozenset({"cancelled", "wrong_picture"})
"""Ends of an order over the overlay that no death or pause explains: only its app cancels it, and this one does not."""
ATTACHED = 4
"""One order in so many is a call that waits for its picture: it ends with its app."""


@dataclass
class Diary:
    """What this app did, over all its lives."""

    path: Path
    begun: dict[int, str] = field(default_factory=dict)
    """Orders without an end, and the task of each where it is known."""
    next: int = 0

    def read(self) -> None:
        """Take up what earlier lives wrote; a kill may have torn the last line."""
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            number = said["order"]
            self.next = max(self.next, number + 1)
            if said["what"] == "end":
                self.begun.pop(number, None)
            else:
                self.begun[number] = said.get("task", self.begun.get(number, ""))

    def say(self, number: int, what: str, **fields: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"order": number, "what": what, **fields}) + "\n")
        if what == "end":
            self.begun.pop(number, None)
        else:
            self.begun[number] = fields.get("task", self.begun.get(number, ""))


Place = Callable[[int], Awaitable[None]]


async def work(diary: Diary, place: Place, in_flight: int, pause_s: float) -> None:
    """Bring what earlier lives began to its end, then begin orders until told to stop."""
    stopping = trio.Event()
    old = list(diary.begun)
    limit = trio.CapacityLimiter(in_flight)

    async def listen() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                stopping.set()

    async def one(number: int) -> None:
        async with limit:
            await place(number)

    async with trio.open_nursery() as listening:
        listening.start_soon(listen)
        async with trio.open_nursery() as orders:
            for number in old:
                orders.start_soon(one, number)
            while not stopping.is_set():
                number, diary.next = diary.next, diary.next + 1
                diary.say(number, "begun")
                orders.start_soon(one, number)
                await trio.sleep(random.uniform(0, 2 * pause_s))
                while limit.statistics().tasks_waiting > in_flight and not stopping.is_set():
                    await trio.sleep(LOOK_S)
        listening.cancel_scope.cancel()


class OverHttp:
    """Orders by the HTTP API of the coordinators, each order at one of them."""

    def __init__(self, diary: Diary, name: str, urls: list[str], models: list[str]) -> None:
        self._diary = diary
        self._name = name
        self._urls = urls
        self._models = models
        self._client = httpx.AsyncClient(timeout=60, trust_env=False)

    async def place(self, number: int) -> None:
        url = self._urls[number % len(self._urls)]
        body = {"prompt": f"order {number}", "seed": number, "model": self._models[number % len(self._models)]}
        if number % ATTACHED == ATTACHED - 1:
            await self._attached(number, url, body)
        else:
            await self._detached(number, url, body)

    async def _attached(self, number: int, url: str, body: dict[str, Any]) -> None:
        if number in self._diary.begun and self._diary.begun[number] == "sent":
            self._diary.say(number, "end", how="an earlier life waited for it")
            return
        self._diary.say(number, "sent", task="sent")
        answer = await self._ask("POST", f"{url}/v1/images/generations", json=body)
        self._diary.say(number, "end", how="no answer" if answer is None else str(answer.status_code))

    async def _detached(self, number: int, url: str, body: dict[str, Any]) -> None:
        known = self._diary.begun.get(number, "")
        key = {"Idempotency-Key": f"{self._name} {number}"}
        while True:
            answer = await self._ask("POST", f"{url}/v1/tasks", json=body, headers=key)
            if answer is not None and answer.status_code == 202:
                break
            if answer is not None and answer.status_code < 429:
                self._diary.say(number, "end", how=f"refused with {answer.status_code} {answer.text[:200]}", wrong=True)
                return
            await trio.sleep(AGAIN_S)
        task = str(answer.json()["task"])
        if known and known != task:
            self._diary.say(number, "problem", task=task, text=f"the same key was task {known} before")
        self._diary.say(number, "task", task=task, url=url)
        while True:
            seen = await self._ask("GET", f"{url}/v1/tasks/{task}")
            if seen is not None and seen.status_code == 404:
                self._diary.say(number, "end", how="forgotten", wrong=True)
                return
            if seen is not None and seen.status_code == 200 and seen.json()["status"] != "open":
                self._diary.say(number, "end", how=seen.json()["status"], reason=seen.json().get("reason", ""))
                return
            await trio.sleep(LOOK_S)

    async def _ask(self, method: str, url: str, **order: Any) -> httpx.Response | None:
        """Ask; None while nobody answers."""
        try:
            return await self._client.request(method, url, **order)
        except httpx.TransportError:
            return None


async def over_overlay(
    diary: Diary, name: str, entries: tuple[str, ...], models: list[str], in_flight: int, pause_s: float
) -> None:
    """Order over the overlay, as ``cuckoo submit --bootstrap`` does, always by the same key and names."""
    secret = hashlib.sha256(name.encode()).digest()
    async with open_client(entries, network="devnet", secret=secret) as client:

        async def place(number: int) -> None:
            for tried in range(TRIES):
                order = order_of(
                    f"order {number}",
                    seed=number,
                    model=models[number % len(models)],
                    order=hashlib.sha256(f"{name} {number} {tried}".encode()).digest()[:16],
                )
                try:
                    picture = await client.draw(order)
                except OrderFailed as failed:
                    diary.say(number, "failed", code=failed.code)
                    if failed.code in NEVER:
                        diary.say(number, "problem", text=f"nobody did that, and it ended {failed.code}")
                        break
                    if failed.code == "in_doubt":
                        break
                    await trio.sleep(AGAIN_S)
                else:
                    receipt = decode(picture.done.receipt, RECEIPT_PLACE).statement
                    diary.say(number, "end", how="done", task=picture.task.hex(), price=str(receipt.price))
                    return
            diary.say(number, "end", how="given up")

        await work(diary, place, in_flight, pause_s)


async def main(chosen: argparse.Namespace) -> None:
    diary = Diary(chosen.diary)
    diary.read()
    if chosen.urls:
        app = OverHttp(diary, chosen.name, chosen.urls, chosen.models)
        await work(diary, app.place, chosen.in_flight, chosen.pause)
        return
    while True:
        try:
            entries = tuple(chosen.entries)
            await over_overlay(diary, chosen.name, entries, chosen.models, chosen.in_flight, chosen.pause)
            return
        except Unavailable:  # all entry points are down: nobody lets it in
            await trio.sleep(AGAIN_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--diary", type=Path, required=True)
    parser.add_argument("--urls", nargs="*", default=[])
    parser.add_argument("--entries", nargs="*", default=[])
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--in-flight", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.5)
    trio.run(main, parser.parse_args())
