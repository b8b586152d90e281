"""Orders of apps that come over the overlay: the same keys, rates, limits and completion as over HTTP.

An order belongs to the key of its stream, which no other app has; its use is counted like that of the API key that it
brings, or of the address that it calls from.
"""

from dataclasses import replace
from typing import Final, final

from node.adapters.http.accounts import Account, Accounts
from node.adapters.http.beginnings import NOTHING, Beginning, looked_at
from node.adapters.http.errors import ApiError
from node.adapters.http.orders import Orders
from node.adapters.http.requests import TaskRequest
from node.adapters.http.uploads import SharedRoom
from node.desk_ports import FetchInputs, Placed
from protocol.effects import Refused
from protocol.units import PeerId
from protocol.wire.app_messages import MAX_DETAIL, AnyOrder, Order
from protocol.wire.sealed_messages import SealedOrder

NO_KEY: Final = (
    "this coordinator serves known API keys only: send yours (cuckoo submit --api-key); its operator makes one with "
    "cuckoo apikey create, or serves everybody with submit.require_key = false"
)

NO_SEALED: Final = "this coordinator takes no sealed orders: order it plain, or try another coordinator"


@final
class AppOrders:
    """Hands in what apps order on submit streams."""

    def __init__(
        self, orders: Orders, accounts: Accounts, room: SharedRoom, *, require_key: bool, take_sealed: bool
    ) -> None:
        """Share the gateway's orders, accounts and room for pictures; with ``require_key``, only known keys are served.

        What nobody here can read is taken with ``take_sealed`` only.
        """
        self._room = room
        self._take_sealed = take_sealed
        self._orders = orders
        self._accounts = accounts
        self._require_key = require_key

    async def place(self, order: AnyOrder, peer: PeerId, address: str, fetch: FetchInputs) -> Placed | Refused:
        """Hand in one order, or find its task; pictures are fetched once all else is found to be right."""
        if isinstance(order, SealedOrder) and not self._take_sealed:
            return Refused("sealed_not_taken", NO_SEALED)
        if self._require_key and order.api_key is None:
            return Refused("invalid_api_key", NO_KEY)
        try:
            account = self._accounts.identify(
                f"Bearer {order.api_key}" if order.api_key else None, address, require_key=self._require_key
            )
            self._accounts.charge(account)
            # No hash and no site begins so: nobody else's tasks are found, and these by no request over HTTP.
            own = replace(account, scope=f"app-{peer}")
            if isinstance(order, Order) and order.version > 1:
                return await self._place_later_version(order, own, fetch)
            return await self._hand_in(order, own)
        except ApiError as error:
            return Refused(error.code, error.message[:MAX_DETAIL], error.retry_after_s)

    async def _place_later_version(self, order: Order, own: Account, fetch: FetchInputs) -> Placed:
        """Hand in what may begin from pictures, which are on disk before anybody hears that it was taken."""
        known = await self._orders.placed_before(own, order.order.hex())
        beginning = Beginning(
            source=None if order.source is None else order.source.digest,
            mask=None if order.mask is None else order.mask.digest,
            strength=order.strength,
            size=None if known is None else (known.width, known.height),  # which followed from its source
        )
        if known is not None or not order.inputs:
            return await self._hand_in(order, own, beginning)
        self._orders.check(_request(order), beginning)
        with self._room.held(sum(one.size for one in order.inputs), own.share):
            inputs = await fetch(order)
            if inputs is None:
                raise ApiError(408, "timeout", "the pictures did not arrive in time")
            return await self._hand_in(order, own, looked_at(beginning, inputs))

    async def _hand_in(self, order: AnyOrder, own: Account, beginning: Beginning = NOTHING) -> Placed:
        placed = await self._orders.place(
            _request(order),
            own,
            count=1,
            key=order.order.hex(),
            detached=True,
            beginning=beginning,
            collected=True,
            sealed=order.sealed if isinstance(order, SealedOrder) else None,
            may_be_disputed=isinstance(order, Order) and order.may_be_disputed,
        )
        return Placed(placed.tasks[0], placed.specifications[0])


def _request(order: AnyOrder) -> TaskRequest:
    """Say the same as HTTP would; what is sealed is empty."""
    request = TaskRequest(
        prompt="",
        model=order.model,
        size=None if order.size is None else f"{order.size[0]}x{order.size[1]}",
        steps=order.steps,
        guidance=order.guidance,
        seed=0,
        scheduler=order.scheduler,
        output_format=order.output,
        output_quality=order.quality,
        priority=order.priority,
    )
    if isinstance(order, Order):
        said = ("prompt", "negative_prompt", "seed", "embed_prompt")
        return request.model_copy(update={name: getattr(order, name) for name in said})
    return request
