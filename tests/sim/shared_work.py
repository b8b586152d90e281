"""What a thousand simulated nodes work out from the same arguments is worked out once.

Nodes hear the same bytes, draw the same order and check the same signatures. The functions below are pure, so giving
the earlier answer changes nothing but the time; a test runs one seed with and without. What they answer is immutable.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest.mock import patch

from protocol.crypto.envelope import opened_by
from protocol.crypto.keys import NodeKey, keccak256, recover
from protocol.errors import IgnoredMessage
from protocol.gossip.admission import Judgement, Speech
from protocol.gossip.verdict import Verdict
from protocol.params import Params
from protocol.roles.core import Core
from protocol.roles.miner.news import News, news_of
from protocol.stake.book import StakeBook, Tables
from protocol.stake.epoch import epoch_start, is_acceptable
from protocol.stake.field import Field
from protocol.stake.lottery import order, readings
from protocol.stake.table import EpochView, StakeRow
from protocol.units import Address, Digest, Epoch, PeerId, StakingId, UnixMillis
from protocol.wire.codec import decode
from protocol.wire.messages import Bulletin
from tests.sim.gossip import Judge

MOST = 1024
"""Answers kept of each function; the oldest goes first. What is asked again is asked again soon, and a draw of a
thousand miners takes 200 kB: with more of them, what is needed falls out of the processor's caches."""

MOST_READ = 16_384
"""Messages read and hashes made that are kept, which are small: sixteen coordinators greet a thousand nodes at once."""

MOST_SIGNED = 65_536
"""Signatures of which the signer is remembered: a thousand nodes greet sixteen coordinators each at once."""


class Ranking(tuple[StakingId, ...]):
    """An order of miners in which a place is found at once, not by going through it."""

    places: dict[StakingId, int]

    @classmethod
    def of(cls, miners: tuple[StakingId, ...]) -> "Ranking":
        """Index an order."""
        ranking = cls(miners)
        ranking.places = {miner: place for place, miner in enumerate(miners)}
        return ranking

    def __contains__(self, miner: object) -> bool:
        return miner in self.places

    def index(self, miner: Any, *_: Any) -> int:
        """Give the place of a miner."""
        return self.places[miner]


def remembered(function: Callable[..., Any], key: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that remembers its answers by ``key(*arguments)``; failures are not remembered."""
    answers: dict[Any, Any] = {}

    def ask(*arguments: Any) -> Any:
        named = key(*arguments)
        answer = answers.get(named)
        if answer is None:
            # The arguments are kept with the answer, so that no id in a key is given to another object.
            answer = answers[named] = (function(*arguments), arguments)
            if len(answers) > MOST:
                del answers[next(iter(answers))]
        return answer[0]

    return ask


def _ranked(miners: Sequence[StakeRow], field: Field, drawn: Digest, params: Params) -> Ranking:
    return Ranking.of(order(miners, field, drawn, params))


def _judge_once_of(topic: str, data: bytes, author: PeerId) -> Judge:
    """Give how each core judges one message, where faults of it are looked for once for all who hold the same tables.

    What is each node's own (has it heard this before, is it too much) is asked of each; whoever has another view, or
    may find a fault, looks for itself.
    """
    tables: Tables | None = None
    """Of who found no fault; the rest is all that this depends on, and what was found."""
    epoch, begins, ends = Epoch(0), 0, 0
    speech: Speech
    judgement: Judgement

    def judge(core: Core, now: UnixMillis) -> Judgement:
        nonlocal tables, epoch, begins, ends, speech, judgement
        if core.book.tables is tables and (begins <= now < ends or is_acceptable(epoch, now, core.params)):
            try:
                core.admission.admit(speech, now)
            except IgnoredMessage as problem:
                return Judgement(Verdict.IGNORE, problem.rule, None)
            return judgement
        own = core.judge(topic, data, author, now)
        message = own.message
        if isinstance(message, Bulletin):
            epoch, judgement = message.epoch, own
            begins, ends = (epoch_start(Epoch(epoch + number), core.params) for number in (0, 1))
            speech, tables = core.admission.speech(message, topic, data, author, now), core.book.tables
        return own

    return judge


def _signed_once() -> tuple[Callable[..., bytes], Callable[..., Address]]:
    """Give ``NodeKey.sign`` and ``recover`` where what one has signed, the other need not compute: it knows the key."""
    sign, made = NodeKey.sign, dict[tuple[Digest, bytes], Address]()

    def sign_and_tell(key: NodeKey, digest: Digest) -> bytes:
        signature = sign(key, digest)
        made[(digest, signature)] = key.address
        if len(made) > MOST_SIGNED:
            del made[next(iter(made))]
        return signature

    def recover_or_know(digest: Digest, signature: bytes) -> Address:
        return made.get((digest, signature)) or recover(digest, signature)

    return sign_and_tell, recover_or_know


def _news_once() -> Callable[..., News]:
    """Give ``news_of`` that reads each bulletin once for all who hold the same tables; its draws are theirs as well."""
    known: dict[int, tuple[Tables, News]] = {}

    def news_once(message: Bulletin, book: StakeBook, network: Digest, params: Params) -> News:
        answer = known.get(id(message))
        if answer is not None:
            tables, news = answer
            if book.tables is tables and news.params is params:
                return news
        # The news hold the message, so that its id is not given to another.
        news = news_of(message, book, network, params)
        known[id(message)] = book.tables, news
        if len(known) > MOST:
            del known[next(iter(known))]
        return news

    return news_once


def _same_tables(views: Mapping[Epoch, EpochView], inactive: frozenset[StakingId]) -> Any:
    return (frozenset(map(id, views.values())), inactive)


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage for as long as the context lasts: a run makes little, and all that it has looks like some.

    What earlier runs left goes first: no look comes to it while hundreds of small ones follow each other. Nothing is
    thawed: a process of tests has frozen a million objects, which each full look would go through from then on.
    """
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def shared_work() -> Iterator[None]:
    """Have all simulated nodes share what is the same for all, for as long as the context lasts."""
    quick, many = lru_cache(maxsize=MOST), lru_cache(maxsize=MOST_READ)
    read = many(decode)

    def key(miners: Sequence[StakeRow], field: Field, drawn: Digest, params: Params) -> Any:
        return (id(miners), field.codes, drawn, id(params))

    readers = (
        "gossip.admission",
        "roles.coordinator.capability_check",
        "roles.coordinator.coordinator",
        "roles.miner.miner",
        "roles.miner.working",
        "roles.miner.delivering",
    )
    drawn = remembered(readings, key)
    sign, signer = _signed_once()
    hashed = many(keccak256)
    patches = [
        *(patch(f"protocol.{module}.decode", read) for module in readers),
        *(patch(f"protocol.{module}.readings", drawn) for module in ("roles.miner.news", "stake.lottery")),
        patch("protocol.roles.coordinator.offering.order", remembered(_ranked, key)),
        patch("protocol.roles.miner.claiming.news_of", _news_once()),
        patch("protocol.roles.coordinator.capability_check.opened_by", quick(opened_by)),
        patch("protocol.stake.book.Tables", remembered(Tables, _same_tables)),
        patch("tests.sim.gossip.judge_of", _judge_once_of),
        patch.object(NodeKey, "sign", sign),
        *(patch(f"protocol.crypto.{module}.recover", signer) for module in ("envelope", "typed_data")),
        *(patch(f"protocol.crypto.{module}.keccak256", hashed) for module in ("envelope", "typed_data")),
        patch.object(Field, "from_bytes", staticmethod(quick(Field.from_bytes))),
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()
