"""What several readers ask of one block, in one request: a request costs a node far more than one more answer in it.

Only questions about a block by its hash are asked ahead. Their answers are the same whenever they are asked for,
whatever the chain does meanwhile, so a reader that is given one cannot tell it from one that it asked for itself.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final, final

from node.adapters.chain.answers import CallRefused, Json
from node.adapters.chain.gas_view import Call
from node.adapters.chain.rpc import JsonRpc
from protocol.chain_records import Header

ALONE: Final = 256
"""Questions that are asked alone after a chain node took no batch: it may have been left for another by then."""


@final
class AskedAhead:
    """Asks a first reader's questions together with those that others will have."""

    def __init__(self, rpc: JsonRpc) -> None:
        """Ask by ``rpc``. Nothing is foreseen before ``foreseen`` is set."""
        self._rpc = rpc
        self.foreseen: Callable[[Sequence[Header]], Sequence[Call]] = lambda _: ()
        """Says what will be asked once new blocks are known: of blocks by their hash alone."""
        self._answers: dict[str, Json] = {}
        self._alone = 0
        """Questions that are still to be asked alone."""

    async def of_blocks(self, blocks: Sequence[Header], calls: Sequence[Call]) -> list[Json]:
        """Ask the first questions about new blocks, and along with them what is foreseen.

        Raises:
            CallRefused: The node answered one of these questions with an error.
            Unavailable: No URL gave a usable answer.
        """
        self._answers.clear()
        asked = list(calls) if self._alone else [*calls, *self.foreseen(blocks)]
        is_one_by_one = self._alone > 0 or len(asked) == 1
        self._alone = max(self._alone - 1, 0)
        if not is_one_by_one:
            try:
                answers = await self._rpc.batch_each(asked)
            except CallRefused:
                self._alone = ALONE
            else:
                # What is refused is asked again by whoever wants it, and may be refused by name.
                self._answers = {
                    _name(*call): answer
                    for call, answer in zip(asked[len(calls) :], answers[len(calls) :], strict=True)
                    if not isinstance(answer, CallRefused)
                }
                return [_given(answer) for answer in answers[: len(calls)]]
        return [await self._rpc.call(method, *params) for method, params in calls]

    async def call(self, method: str, *params: Json) -> Json:
        """Give what was asked ahead, once; else ask now.

        Raises:
            CallRefused: The node answered with an error.
            Unavailable: No URL gave a usable answer.
        """
        name = _name(method, params)
        return self._answers.pop(name) if name in self._answers else await self._rpc.call(method, *params)


def _given(answer: Json | CallRefused) -> Json:
    if isinstance(answer, CallRefused):
        raise answer
    return answer


def _name(method: str, params: Sequence[Json]) -> str:
    return json.dumps([method, *params], sort_keys=True)
