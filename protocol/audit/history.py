"""From a record to what each coordinator said, in its own order: only what it signed, in tables that add up.

Spec: SPEC.md §12.1.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.audit.draws import Draw, Drawing
from protocol.audit.record import Entry, Heard, InactiveSeen, RecordHead, ViewSeen
from protocol.audit.report import Fault
from protocol.crypto.keys import address_of_peer_id
from protocol.crypto.publication import Publication, check_publication
from protocol.crypto.typed_data import signer
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.gossip.objections import check_statements
from protocol.stake.field import Field
from protocol.stake.lottery import task_id
from protocol.stake.table import EpochView
from protocol.units import Address, Digest, Epoch, Role, StakingId, TaskId, UnixMillis
from protocol.wire.codec import GOSSIP_PLACE, decode
from protocol.wire.messages import AwardNotice, Bulletin, Closure, Objection, Offer
from protocol.wire.topics import objections_topic, offers_topic

NEW_RUN: Final = 10**8
"""Jump of a publisher's sequence number that is no loss: it begins each run at its clock's nanoseconds."""

FIRST_ATTEMPT: Final = 0
"""Number of a task's first attempt."""


@dataclass(frozen=True, slots=True)
class Said:
    """One bulletin."""

    bulletin: Bulletin
    publication: Publication
    at: UnixMillis
    run: int
    """Of its coordinator, counted from 0 in the record."""

    @property
    def name(self) -> str:
        """Name the message to whoever looks for it in the record."""
        return f"message {self.publication.sequence} ({self.publication.digest.hex()[:12]})"


@dataclass(frozen=True, slots=True)
class Offered:
    """One attempt of one task, as it was published."""

    offer: Offer
    said: Said
    draw: Draw


@dataclass(frozen=True, slots=True)
class Awarded:
    """One award, as it was announced."""

    notice: AwardNotice
    said: Said


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of one task, as it was announced."""

    closure: Closure
    said: Said


@dataclass(frozen=True, slots=True)
class Objected:
    """One objection, beside the offer that its claim names, as the coordinator of its decline published it."""

    objection: Objection
    offered: Offered


@dataclass
class Conduct:
    """All that one coordinator said, in the order of its own sequence numbers."""

    coordinator: StakingId
    said: list[Said] = field(default_factory=list)
    offered: list[Offered] = field(default_factory=list)
    awarded: list[Awarded] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    missed: int = 0
    """Messages between those that were heard, by its sequence numbers."""
    runs: int = 1
    twins: list[tuple[Said, Said]] = field(default_factory=list)
    """Different messages under one sequence number."""
    whole_runs: set[int] = field(default_factory=set)
    """Runs of which no message between the first and the last is missing."""

    def attempts(self) -> dict[TaskId, list[Offered]]:
        """Give the attempts of each task, first to last; one that was published again stands once more."""
        attempts: dict[TaskId, list[Offered]] = defaultdict(list)
        for offered in self.offered:
            attempts[offered.offer.task].append(offered)
        for several in attempts.values():
            several.sort(key=lambda one: one.offer.attempt)
        return attempts

    def first_attempts(self) -> list[Offered]:
        """Give each task's first attempt, by which it is drawn; tasks whose first was not heard are left out."""
        return [several[0] for several in self.attempts().values() if several[0].offer.attempt == FIRST_ATTEMPT]

    def winners(self) -> dict[tuple[TaskId, int], Awarded]:
        """Give the award of each attempt; the first where there are several."""
        winners: dict[tuple[TaskId, int], Awarded] = {}
        for award in self.awarded:
            winners.setdefault((award.notice.task, award.notice.attempt), award)
        return winners


@dataclass
class History:
    """What all coordinators said, and under which tables."""

    head: RecordHead
    views: dict[Epoch, EpochView] = field(default_factory=dict)
    conducts: dict[StakingId, Conduct] = field(default_factory=dict)
    objections: list[Objected] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    span_ms: int = 0


class _Faults:
    """Counts what cannot be believed, by rule."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, str]] = {}

    def add(self, rule: str, where: str) -> None:
        count, first = self._counts.get(rule, (0, where))
        self._counts[rule] = (count + 1, first)

    def all(self) -> list[Fault]:
        return [Fault(rule, count, first) for rule, (count, first) in sorted(self._counts.items())]


def history_of(head: RecordHead, entries: Iterable[Entry], chain: Mapping[Epoch, EpochView] | None = None) -> History:
    """Read a record. What is signed by nobody, or said without the right to, is a fault and left out.

    Args:
        head: Of which network.
        entries: In any order, of one or several recorders.
        chain: Tables and beacons that somebody read from the chain: they count, and not the record's.
    """
    history, faults = History(head, dict(chain or {})), _Faults()
    heard: dict[tuple[str, int, Digest], Heard] = {}
    for entry in entries:
        match entry:
            case ViewSeen():
                _take_view(history, entry, faults, chain)
            case InactiveSeen():
                pass  # for people: who was jailed moves no draw, and a field may leave out whom it likes
            case Heard(publication=publication):
                # Several records of one network hold the same messages.
                heard.setdefault((publication.publisher, publication.sequence, publication.digest), entry)
    drawing = Drawing(head)
    spoken: dict[StakingId, list[tuple[Heard, Bulletin]]] = defaultdict(list)
    objections: list[tuple[Publication, Objection]] = []
    for entry in heard.values():
        message = _message_of(head, entry.publication, faults)
        if isinstance(message, Bulletin) and _may_speak(history, entry.publication, message, faults):
            spoken[message.coordinator].append((entry, message))
        elif isinstance(message, Objection):
            objections.append((entry.publication, message))
    for coordinator, bulletins in sorted(spoken.items()):
        believed = _of_this_network(head, bulletins, faults)
        believed.sort(key=lambda one: (one[0].publication.sequence, one[0].publication.digest))
        if believed:
            history.conducts[coordinator] = _conduct(coordinator, believed, history, drawing)
    history.objections = _objections(history, objections, faults)
    times = [entry.at for entry in heard.values()]
    history.span_ms = max(times) - min(times) if times else 0
    history.faults = faults.all()
    return history


def _of_this_network(
    head: RecordHead, bulletins: Iterable[tuple[Heard, Bulletin]], faults: _Faults
) -> list[tuple[Heard, Bulletin]]:
    """Leave out a coordinator's messages by a key that has offers, not one of them named as on the network of the head.

    Each key by itself: whoever changes a head can make tables and offers for it, but not sign them as another does.
    """
    by_key: dict[str, list[tuple[Heard, Bulletin]]] = defaultdict(list)
    for one in bulletins:
        by_key[one[0].publication.publisher].append(one)
    believed = []
    for key, said in by_key.items():
        named = [
            offer.task == task_id(head.network_id, by.coordinator, offer.accepted_epoch, offer.boot, offer.number)
            for _, by in said
            for offer in by.offers
        ]
        if named and not any(named):
            faults.add("record.network", f"{key}: no task has its name on the network of the first line")
        else:
            believed += said
    return believed


def _take_view(history: History, seen: ViewSeen, faults: _Faults, chain: Mapping[Epoch, EpochView] | None) -> None:
    """Keep a view whose rows have the root that stands beside them, and that agrees with one seen before."""
    view = seen.view
    if chain is not None and view.epoch not in chain:
        faults.add("record.view", f"epoch {view.epoch}: the chain has none")
        return
    if view.table.root != seen.root:
        faults.add("record.root", f"the table of epoch {view.epoch}")
        return
    known = history.views.setdefault(view.epoch, view)
    if (known.table.root, known.beacon) != (view.table.root, view.beacon):
        faults.add("record.view", f"epoch {view.epoch}: two tables or beacons, or not those of the chain")


def _message_of(head: RecordHead, publication: Publication, faults: _Faults) -> Bulletin | Objection | None:
    """Give what was published, if its publisher signed it and it is of this network."""
    where = f"message {publication.sequence} of {publication.publisher[:64]}"
    try:
        check_publication(publication)
        message = decode(publication.data, GOSSIP_PLACE)
    except (InvalidMessage, IgnoredMessage) as error:
        faults.add("record.signature" if error.rule == "gossip.signature" else "record.message", where)
        return None
    network = head.params.name
    topic = offers_topic(network, message.model) if isinstance(message, Bulletin) else objections_topic(network)
    if publication.topic != topic:
        faults.add("record.message", where)
        return None
    return message


def _may_speak(history: History, publication: Publication, bulletin: Bulletin, faults: _Faults) -> bool:
    """Say whether the publisher is that coordinator in the table of which the bulletin holds the root."""
    where = f"message {publication.sequence} of coordinator {bulletin.coordinator}"
    view = history.views.get(bulletin.epoch)
    if view is None:
        faults.add("record.no_table", f"epoch {bulletin.epoch}, {where}")
        return False
    if view.table.root != bulletin.root:
        faults.add("record.other_root", f"epoch {bulletin.epoch}, {where}")
        return False
    row = view.table.by_id.get(bulletin.coordinator)
    if row is None or row.role is not Role.COORDINATOR or row.address != address_of_peer_id(publication.publisher):
        faults.add("record.stranger", where)
        return False
    try:
        Field.from_bytes(bulletin.field, len(view.table.miners))
    except InvalidMessage:
        faults.add("record.message", where)
        return False
    return True


def _is_registered(history: History, address: Address, node: StakingId, role: Role) -> bool:
    """Say whether some table of the record has this key for that node, in that role."""
    rows = (view.table.by_address.get(address) for view in history.views.values())
    return any(row is not None and (row.id, row.role) == (node, role) for row in rows)


def _objections(history: History, heard: Iterable[tuple[Publication, Objection]], faults: _Faults) -> list[Objected]:
    """Give the objections to awards of offers that are in the record, by the very key that published the offer.

    Any other says nothing here: without its offer there is no draw to compare, and a table that somebody made up may
    give a coordinator any key, but not sign its offers with it.
    """
    offers = {(by, one.draw.digest): one for by, conduct in history.conducts.items() for one in conduct.offered}
    believed = []
    for publication, message in heard:
        declined_by, decline = _decliner(history, publication, message, faults), message.decline
        offered = offers.get((decline.coordinator, message.claim.offer))
        if declined_by is None or offered is None:
            continue
        same = (offered.offer.task, offered.offer.attempt) == (decline.task, decline.attempt)
        if same and declined_by == address_of_peer_id(offered.said.publication.publisher):
            believed.append(Objected(message, offered))
    return believed


def _decliner(history: History, publication: Publication, message: Objection, faults: _Faults) -> Address | None:
    """Give the key that signed the decline, if the publisher signed the claim; both as the nodes of some table."""
    where = f"message {publication.sequence} of miner {message.claim.miner}"
    domain = history.head.domain
    try:
        check_statements(message, domain)
        claimed_by = signer(domain, message.claim, message.claim_signature)
        declined_by = signer(domain, message.decline, message.decline_signature)
    except InvalidMessage:
        faults.add("record.message", where)
        return None
    may_claim = _is_registered(history, claimed_by, message.claim.miner, Role.MINER)
    may_decline = _is_registered(history, declined_by, message.decline.coordinator, Role.COORDINATOR)
    if claimed_by != address_of_peer_id(publication.publisher) or not (may_claim and may_decline):
        faults.add("record.stranger", where)
        return None
    return declined_by


def _conduct(
    coordinator: StakingId, bulletins: Sequence[tuple[Heard, Bulletin]], history: History, drawing: Drawing
) -> Conduct:
    """Put what a coordinator said in its order, and see what is missing."""
    conduct = Conduct(coordinator)
    run, last, broken = 0, None, set[int]()
    for entry, bulletin in bulletins:
        step = entry.publication.sequence - last if last is not None else 1
        last = entry.publication.sequence
        if step >= NEW_RUN:
            run += 1
        elif step > 1:
            conduct.missed += step - 1
            broken.add(run)
        said = Said(bulletin, entry.publication, entry.at, run)
        if step == 0 and conduct.said[-1].publication.publisher == entry.publication.publisher:
            conduct.twins.append((conduct.said[-1], said))
        conduct.said.append(said)
        view = history.views[bulletin.epoch]
        conduct.offered += [Offered(offer, said, drawing.draw(bulletin, offer, view)) for offer in bulletin.offers]
        conduct.awarded += [Awarded(notice, said) for notice in bulletin.awards]
        conduct.closed += [Closed(closure, said) for closure in bulletin.closures]
    conduct.runs = run + 1
    conduct.whole_runs = set(range(run + 1)) - broken
    return conduct
