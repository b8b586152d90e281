"""What a thousand simulated nodes work out from the same arguments is worked out once.

Nodes hear the same bytes, draw the same order and check the same signatures. The functions below are pure, so giving
the earlier answer changes nothing but the time; a test runs one seed with and without. What they answer is immutable.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple
from unittest.mock import patch

from protocol.crypto.envelope import opened_by
from protocol.errors import IgnoredMessage
from protocol.gossip.admission import Judgement
from protocol.gossip.verdict import Verdict
from protocol.params import Params
from protocol.roles.core import Core
from protocol.stake.epoch import is_acceptable
from protocol.stake.field import Field
from protocol.stake.lottery import order, task_id, ticket
from protocol.stake.table import EpochView, StakeRow
from protocol.task.offer import offer_digest
from protocol.units import Digest, PeerId, StakingId, UnixMillis
from protocol.wire.codec import decode
from protocol.wire.messages import Bulletin, Offer

MOST = 8192
"""Answers kept of each function; the oldest goes first. What is asked again is asked again soon."""


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


def _rank(miners: Sequence[StakeRow], field: Field, drawn: Digest, params: Params) -> Ranking:
    return Ranking.of(order(miners, field, drawn, params))


def _key_of_offer(coordinator: StakingId, epoch: int, root: bytes, field: bytes, model: str, offer: Offer) -> Any:
    return (id(offer), coordinator, epoch, root, field, model)


class Cleared(NamedTuple):
    """A message in which somebody found no fault, and all that this depends on."""

    topic: str
    author: PeerId
    view: EpochView
    inactive: frozenset[StakingId]
    row: StakeRow
    digest: bytes
    message: Bulletin
    judgement: Judgement


def _judge_once() -> Callable[..., Judgement]:
    """Give ``Core.judge`` that looks for faults of a message once for all who hold the same tables.

    What is each node's own (has it heard this before, is it too much) is asked of each; whoever has another view, or
    may find a fault, looks for itself.
    """
    judge, cleared = Core.judge, dict[bytes, Cleared]()

    def judge_once(core: Core, topic: str, data: bytes, author: PeerId, now: UnixMillis) -> Judgement:
        admission, book = core.admission, core.book
        known = cleared.get(data)
        if (
            known is None
            or book._views.get(known.view.epoch) is not known.view
            or book._inactive != known.inactive
            or known.author != author
            or known.topic != topic
            or not is_acceptable(known.view.epoch, now, core.params)
        ):
            judgement = judge(core, topic, data, author, now)
            message = judgement.message
            if isinstance(message, Bulletin):
                view, row = book.view(message.epoch), admission.speaker_of(message, topic, author, now)
                assert view is not None
                digest = hashlib.sha256(data).digest()
                cleared[data] = Cleared(topic, author, view, book._inactive, row, digest, message, judgement)
                if len(cleared) > MOST:
                    del cleared[next(iter(cleared))]
            return judgement
        try:
            admission.admit(known.message, known.row, known.digest, now)
        except IgnoredMessage as problem:
            return Judgement(Verdict.IGNORE, problem.rule, None)
        return known.judgement

    return judge_once


@contextmanager
def shared_work() -> Iterator[None]:
    """Have all simulated nodes share what is the same for all, for as long as the context lasts."""
    quick = lru_cache(maxsize=MOST)
    read, drawn = quick(decode), quick(ticket)
    draw = remembered(_rank, lambda miners, field, drawn, params: (id(miners), field.codes, drawn, id(params)))
    readers = ("gossip.admission", "roles.coordinator", "roles.miner", "roles.working")
    patches = [
        *(patch(f"protocol.{module}.decode", read) for module in readers),
        *(patch(f"protocol.roles.{module}.order", draw) for module in ("claiming", "offering")),
        *(patch(f"protocol.roles.{module}.ticket", drawn) for module in ("claiming", "offering")),
        patch("protocol.roles.claiming.task_id", quick(task_id)),
        patch("protocol.roles.claiming.offer_digest", remembered(offer_digest, _key_of_offer)),
        patch("protocol.roles.coordinator.opened_by", quick(opened_by)),
        patch.object(Core, "judge", _judge_once()),
        patch.object(Field, "from_bytes", staticmethod(quick(Field.from_bytes))),
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()
