"""The miner's half of the lottery: which offers it hears, when its slot comes, and what it may still promise.

Spec: SPEC.md §7. Rules for editors: a claim is on disk before it leaves (sign-once); outstanding claims plus jobs
never exceed the device's places plus the look-ahead that hides one award round trip.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, final

from protocol.effects import CancelTimer, Connect, Persist, Send
from protocol.errors import InvalidMessage
from protocol.events import GossipReceived, ModelState
from protocol.notes import NoteName
from protocol.records import ClaimSigned
from protocol.roles.core import EMPTY, Core
from protocol.roles.miner.coverage import UNCOVERED
from protocol.roles.miner.credit import worth
from protocol.roles.miner.news import News, Offered, fault_of_terms, news_of
from protocol.roles.miner.objecting import Objecting
from protocol.roles.miner.open_offers import Choice, OpenOffer, OpenOffers, OutstandingClaim, taken_of
from protocol.roles.miner.service import Service
from protocol.roles.miner.urgency import MAX_HEARD_PER_COORDINATOR, LeastUrgent
from protocol.roles.miner.wheel import seat_of
from protocol.roles.miner.working import Working
from protocol.stake.epoch import acceptable_epochs
from protocol.stake.lottery import slot_ms
from protocol.units import PeerId, StakingId, TaskId, UnixMillis, Wei
from protocol.wire.messages import Bulletin, Claim, Decline
from protocol.wire.statements import AwardStatement, ClaimStatement

MAX_OPEN_OFFERS: Final = 4096
"""Offers remembered at once; beyond it the oldest are forgotten (their coordinators offer again)."""
LONGEST_SLEEP_MS: Final = 60_000
"""How long (ms) nobody looks at offers when there is none."""
ROOM_PAUSE_MS: Final = 1000
"""Pause (ms) before an offer is looked at again that its coordinator's escrow or credit does not cover now."""
TOO_MANY: Final = "too_many_offers"


@final
class Claiming:
    """Open offers and outstanding claims of one miner."""

    def __init__(self, core: Core, price_floor: Wei, blocked: frozenset[StakingId], working: Working) -> None:
        """Begin without offers.

        Args:
            core: The miner.
            price_floor: Claim nothing below it (wei per pixel-step).
            blocked: Coordinators that get no work.
            working: What we have in hand, and what each coordinator owes us.
        """
        self._core = core
        self._attempt_limit_ms = core.params.attempt_limit_ms
        self._working = working
        self._coverage = working.income.coverage
        self._price_floor = price_floor
        self._blocked = blocked
        self._offers = OpenOffers()
        self._fresh_from = self._ahead_from = 0
        """Before these moments no open offer is due for a free place, none to look ahead: nobody looks until then."""
        self._wants_fresh = self._wants_ahead = False
        """Whether a place is free, or only the look-ahead."""
        self._wake_at: int | None = None
        """When the one timer for slots fires."""
        self._claims: dict[TaskId, OutstandingClaim] = {}
        self._heard: dict[StakingId, int] = {}
        self._least_urgent = LeastUrgent()
        self._ended: dict[tuple[StakingId, TaskId], int] = {}
        """Attempts that were over before we heard their offers, by coordinator and task: the last of each."""
        self._service = Service(core)
        self._objecting = Objecting(core)
        self.streams: dict[PeerId, StakingId] = {}
        """Coordinators with an open work stream; kept by the miner core."""
        self.connected: AbstractSet[PeerId] = frozenset()
        """Peers with a connection; kept by the miner core."""

    def outstanding(self) -> int:
        """Count the claims that bind us."""
        return len(self._claims)

    def expected_ms(self, models: Mapping[str, ModelState]) -> int:
        """Give how long (ms) the longest work takes that we claimed, once it begins; 0 without claims."""
        return max(
            (
                1000 * claimed.offer.pixel_steps // max(models[claimed.model].pixel_steps_per_s, 1)
                for claimed in self._claims.values()
                if claimed.model in models
            ),
            default=0,
        )

    # Offers

    def on_bulletin(self, event: GossipReceived, models: Mapping[str, ModelState]) -> bool:
        """Take the news of one coordinator: forget what is over, weigh what is new.

        Returns:
            Whether there may be something to do for ``fill``.
        """
        message, core = event.message, self._core
        if isinstance(message, Bulletin):
            news = news_of(message, core.book, core.identity.network_id, core.params)
            if news.over:
                self._end(news.over)
            served = models.get(news.model)
            if served is not None:
                if news.offers:
                    self._weigh(news, event.signer, served)
                if news.is_misnamed:
                    core.on_bad_message(event.signer, InvalidMessage("offer.task"))
        return self._is_due()

    def _is_due(self) -> bool:
        """Say whether ``fill`` has something to do, since it was called last: to claim, or to be woken sooner."""
        if not self._wants_fresh and not self._wants_ahead:
            return False
        nobody_until = self._fresh_from if self._wants_fresh else self._ahead_from
        if self._core.now >= nobody_until:
            return True
        return bool(self._offers) and (self._wake_at is None or nobody_until < self._wake_at)

    def _end(self, over: Iterable[tuple[tuple[StakingId, TaskId], int]]) -> None:
        """Attempts, and those before them, need nobody any more. Only its coordinator can withdraw an offer."""
        offers, ended = self._offers, self._ended
        for named, attempt in over:
            coordinator, task = named
            known = offers.get(task)
            if known is None:
                # The news took a shorter way than the offer.
                ended[named] = max(attempt, ended.pop(named)) if named in ended else attempt
                if len(ended) > MAX_OPEN_OFFERS:
                    del ended[next(iter(ended))]
            elif known.coordinator == coordinator and known.offer.attempt <= attempt and task not in self._claims:
                self._forget(task)

    def _weigh(self, news: News, peer: PeerId, served: ModelState) -> None:
        """Find our rank in the draw of each offer and wait for our slot, or skip the offer for a named reason."""
        now, own, coordinator, offers = self._core.now, self._core.own_id(), news.coordinator, self._offers
        fault, room = self._fault_of_coordinator(coordinator), self._coverage.room(coordinator)
        trust, seat = self._working.delivering.trust(coordinator), None
        for offered in news.offers:
            task = offered.task
            reason = self._fault_of_offer(offered, news, served) or fault
            reason = reason or self._had_already(offered, coordinator, trust)
            if reason is None and offered.price > room:
                reason = UNCOVERED
            if reason == TOO_MANY and self._displaces(offered, coordinator):
                reason = None
            if own is None or reason is not None:
                self._core.note(NoteName.OFFER_SKIPPED, task, reason=reason or "not_registered")
                continue
            draw = offered.draw or news.draw(offered)
            rank, clock = draw.places.get(own) or (None, draw.clock_of(own))
            slot_at = now + (draw.slots.behind_ms(clock) if rank is None else slot_ms(rank, offered.slot_step_ms))
            if task not in offers:
                self._heard[coordinator] = self._heard.get(coordinator, 0) + 1
            heard = OpenOffer(offered.offer, news.model, coordinator, peer, now, slot_at, rank, clock, draw.slots)
            offers[task] = heard
            self._least_urgent.heard(heard)
            if len(offers) > MAX_OPEN_OFFERS:
                self._forget(next(iter(offers)))
            if slot_at < self._fresh_from:
                self._fresh_from = slot_at
            if slot_at < self._ahead_from:
                seat = seat or seat_of(self._core)  # most offers change nothing here
                self._ahead_from = min(self._ahead_from, heard.due_at(seat, len(offers), is_free=False))
            if peer not in self.streams and peer not in self.connected:
                self._core.emit(Connect(peer))

    def _fault_of_offer(self, offered: Offered, news: News, served: ModelState) -> str | None:
        """Say what is wrong with an offer, whoever makes it, None when nothing is."""
        now = self._core.now
        needs_ms = 1000 * offered.pixel_steps // max(served.pixel_steps_per_s, 1)
        pays = offered.price >= self._price_floor * offered.pixel_steps
        is_in_time = offered.deadline > now + needs_ms and needs_ms < self._attempt_limit_ms
        does_it = offered.work in served.works
        if offered.is_plain and is_in_time and pays and does_it:
            return None
        offer, params, drawn_epoch = offered.offer, self._core.params, news.message.epoch
        if offer.accepted_epoch != drawn_epoch and (
            offer.accepted_epoch > drawn_epoch or offer.accepted_epoch in acceptable_epochs(now, params)
        ):
            # Else a coordinator could choose between the draws of two epochs.
            return "early_redraw"
        if not does_it:
            return "work"
        if not is_in_time:
            return "deadline"
        return fault_of_terms(offer, params) if pays else "price"

    def _fault_of_coordinator(self, coordinator: StakingId) -> str | None:
        """Say why we do not work for a coordinator now."""
        if coordinator in self._blocked:
            return "blocked"
        refused = self._coverage.why_refused(coordinator)
        if refused is not None:
            return refused
        return self._service.why_quiet(coordinator)

    def _had_already(self, offered: Offered, coordinator: StakingId, trust: Wei) -> str | None:
        """Say what we know or do already, or trust nobody with, that makes an offer one too many."""
        task, attempt = offered.task, offered.attempt
        if worth(offered.price) > trust:
            return "unpaid"
        if self._working.has(task):
            return "in_hand"
        if self._ended.get((coordinator, task), -1) >= attempt:
            return "ended"
        claimed = self._claims.get(task)
        if claimed is not None and claimed.claim.statement.attempt >= attempt:
            return "claimed"
        if self._heard.get(coordinator, 0) >= MAX_HEARD_PER_COORDINATOR and task not in self._offers:
            return TOO_MANY
        return None

    def _displaces(self, offered: Offered, coordinator: StakingId) -> bool:
        """Forget what is over, or the least urgent of a coordinator's open offers, if this one is more urgent."""
        for task in self._least_urgent.over(self._offers, self._core.now):
            self._forget(task)
        count = self._heard.get(coordinator, 0)
        if count >= MAX_HEARD_PER_COORDINATOR:
            last = self._least_urgent.of(coordinator, self._offers, count).offer
            if last.deadline <= offered.deadline:
                return False
            self._forget(last.task)
        return True

    def _forget(self, task: TaskId) -> None:
        known = self._offers.pop(task, None)
        if known is None:
            return
        left = self._heard.get(known.coordinator, 1) - 1
        if left > 0:
            self._heard[known.coordinator] = left
        else:
            self._heard.pop(known.coordinator, None)
            self._least_urgent.forget(known.coordinator)
        if not self._offers:  # the next one says when its own slot comes
            self._fresh_from = self._ahead_from = self._core.now + LONGEST_SLEEP_MS
            if self._wake_at is not None:
                self._wake_at = None
                self._core.emit(CancelTimer(("slot", EMPTY, 0)))

    # Claims

    def _wake_by(self, moment: int) -> None:
        """Be woken for a slot to come, unless we are woken sooner anyway: most offers are over before our slot."""
        if moment > self._core.now and (self._wake_at is None or moment < self._wake_at):
            self._wake_at = moment
            self._core.set_timer(("slot", EMPTY, 0), moment)

    def on_slot_timer(self) -> None:
        """A slot has come, or its offer is over. ``fill`` claims afterwards, or is woken for the next slot."""
        self._wake_at = None

    def fill(self, places: int, busy: int, ahead: int) -> int:
        """Claim from what is open as long as there is room: our slot has come.

        ``busy`` counts jobs at the engine. Beyond ``places`` only ``ahead`` more are claimed, of what may well wait
        (``OpenOffer.due_at``). Without room nobody is woken for a slot: what makes room calls it. Gives what is taken.
        """
        while True:
            taken = busy + len(self._claims)
            self._wants_fresh, self._wants_ahead = taken < places, 0 < places <= taken < places + ahead
            if not (self._wants_fresh or self._wants_ahead):
                return taken
            best = self._next(is_free=self._wants_fresh)
            if best is None:
                return taken
            self._claim(best)

    def look_anew(self) -> None:
        """What was due and could not be ours may be: a coordinator has its stream, or paid, or a claim is over."""
        self._fresh_from = self._ahead_from = 0

    def _next(self, *, is_free: bool) -> OpenOffer | None:
        """Pick a coordinator by stake-weighted fair queueing, then one of its most urgent offers.

        Where none is due, we are woken for the first that will be.
        """
        now, nobody_until = self._core.now, self._fresh_from if is_free else self._ahead_from
        if now < nobody_until:
            if self._offers:
                self._wake_by(nobody_until)
            return None
        due, first_to_come = self._look(is_free=is_free)
        if not due:
            if is_free:
                self._fresh_from = first_to_come
            else:
                self._ahead_from = first_to_come
            if self._offers:
                self._wake_by(first_to_come)
            return None
        least = self._service.least_served(due)
        return taken_of([due[one] for one in due if one in least], self._core.identity.entropy)

    def _look(self, *, is_free: bool) -> tuple[dict[StakingId, Choice], int]:
        """Find what is due of each coordinator, and when (unix ms) more is; forget what is over."""
        now, streams, claims = self._core.now, self.streams, self._claims
        choices: dict[StakingId, Choice] = {}
        rooms: dict[StakingId, int | None] = {}
        first_to_come, over, made, seat, many = now + LONGEST_SLEEP_MS, [], 0, seat_of(self._core), len(self._offers)
        for open_offer in self._offers.by_deadline():  # hundreds in backlog, for each claim: each look-up here counts
            due_at = open_offer.due_at(seat, many, is_free=is_free)
            if due_at > now:
                first_to_come = min(first_to_come, due_at)
                continue
            offer, coordinator = open_offer.offer, open_offer.coordinator
            if offer.deadline <= now:
                over.append(offer.task)
            elif open_offer.peer in streams and offer.task not in claims:
                if coordinator not in rooms:
                    rooms[coordinator] = self._working.room(coordinator, claims.values())
                    choices[coordinator] = Choice()
                room, choice = rooms[coordinator], choices[coordinator]
                if room is not None and offer.price > room:
                    first_to_come = min(first_to_come, now + ROOM_PAUSE_MS)
                elif room is not None and not choice.is_made:
                    choice.weigh(open_offer, is_ours=seat.has(offer.task))
                    made += choice.is_made
                    if made == len(self._heard):
                        break
        for task in over:
            self._forget(task)
        return {of: choice for of, choice in choices.items() if choice.ours or choice.others}, first_to_come

    def _claim(self, chosen: OpenOffer) -> None:
        """Sign and send one claim; the nonce is on disk first."""
        core, own = self._core, self._core.own_id()
        offer = chosen.offer
        self._forget(offer.task)
        if own is None or offer.deadline <= core.now:
            return
        statement = ClaimStatement(
            task=offer.task,
            attempt=offer.attempt,
            coordinator=chosen.coordinator,
            miner=own,
            offer=chosen.slots.digest(),
            nonce=core.identity.entropy(16),
        )
        claimed, signature = core.sign_named(statement)
        message = Claim(statement=statement, signature=signature)
        time_to_live = 2 * offer.allowance_ms + offer.slot_step_ms + core.params.claim_allowance_ms
        expires_at = UnixMillis(core.now + max(time_to_live, 1000))
        in_slot = self._wants_fresh and core.now <= chosen.slot_at + offer.slot_step_ms
        self._claims[offer.task] = OutstandingClaim(
            message, claimed, chosen.peer, offer, chosen.model, expires_at, chosen.rank, in_slot
        )
        record = ClaimSigned(offer.task, offer.attempt, chosen.coordinator, statement.nonce, claimed)
        core.emit(Persist((record,)), Send(chosen.peer, message))
        core.set_timer(("claim", offer.task, 0), expires_at)
        rank = -1 if chosen.rank is None else chosen.rank
        core.note(NoteName.CLAIM_SENT, offer.task, attempt=offer.attempt, rank=rank)

    def take_award(self, award: AwardStatement, peer: PeerId) -> OutstandingClaim | None:
        """Turn an outstanding claim into work and give it; None when we made no such claim to this peer."""
        known = self._claims.get(award.task)
        if known is None or known.digest != award.claim or known.peer != peer:
            return None
        self._drop(award.task)
        self._service.answered(known.claim.statement.coordinator)
        self._service.charge(known.claim.statement.coordinator, known.offer)
        return known

    def on_decline(self, peer: PeerId, message: Decline) -> None:
        """A claim was refused: the place is free again. The offer comes again if its task still needs somebody."""
        statement = message.statement
        known = self._claims.get(statement.task)
        if known is not None and known.digest == statement.claim and known.peer == peer:
            self._drop(statement.task)
            if statement.reason == "paused":
                self._service.hear_later(statement.coordinator, "paused")
            else:
                self._service.answered(statement.coordinator)
            self._core.note(NoteName.CLAIM_DECLINED, statement.task, reason=statement.reason)
            self._objecting.on_decline(known.claim, known.rank, message, in_slot=known.in_slot)
        else:
            self._service.answered_late(statement.coordinator, statement.claim)

    def on_claim_timer(self, task: TaskId) -> None:
        """No answer in time: the claim binds us no longer."""
        if (claimed := self._claims.get(task)) is not None:
            self._drop(task)
            self._service.left_unanswered(claimed.claim.statement.coordinator, claimed.digest, claimed.offer)
            self._core.note(NoteName.CLAIM_DECLINED, task, reason="unanswered")

    def void(self, peer: PeerId | None = None) -> None:
        """Claims to a coordinator that is gone bind nobody; where none is named, none of our claims binds any more."""
        for task in [task for task, claim in self._claims.items() if peer in (None, claim.peer)]:
            self._drop(task)

    def _drop(self, task: TaskId) -> None:
        del self._claims[task]
        if task in self._offers:
            self.look_anew()
        self._core.emit(CancelTimer(("claim", task, 0)))
