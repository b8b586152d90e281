"""The life of tasks through pure cores: the straight line, and each way in which it may break."""

from protocol.effects import Accepted, Refused, SendArtifact, Stage
from protocol.notes import NoteName
from protocol.records import TaskAwarded, TaskDone
from protocol.units import TaskId
from tests.sim.world import World

SETTLE_MS = 3000
"""Time in which a fresh network finds itself."""
LINE = [
    ("coordinator0", NoteName.TASK_ACCEPTED),
    ("coordinator0", NoteName.TASK_OFFERED),
    ("miner", NoteName.CLAIM_SENT),
    ("coordinator0", NoteName.CLAIM_RECEIVED),
    ("coordinator0", NoteName.TASK_AWARDED),
    ("miner", NoteName.AWARD_RECEIVED),
    ("miner", NoteName.JOB_STARTED),
    ("miner", NoteName.JOB_FINISHED),
    ("miner", NoteName.RESULT_SENT),
    ("coordinator0", NoteName.RESULT_RECEIVED),
    ("coordinator0", NoteName.TASK_DONE),
    ("miner", NoteName.RECEIPT_RECEIVED),
]


def settled(**options: object) -> World:
    """A world whose miners are connected and known."""
    world = World(**options)  # type: ignore[arg-type]
    world.run(SETTLE_MS)
    return world


def accept(world: World, **options: object) -> TaskId:
    """Submit one task and get its id."""
    request = world.submit(**options)  # type: ignore[arg-type]
    assert world.run(1000, lambda: request in world.replies)
    answer = world.replies[request]
    assert isinstance(answer, Accepted), answer
    return answer.task


def ended(world: World, task: TaskId) -> bool:
    """The app was told the end."""
    return any(update.stage in (Stage.DONE, Stage.FAILED) for update in world.updates[task])


def finish(world: World, task: TaskId, limit_ms: int = 60_000) -> Stage:
    """Let the task end, and say how; it must end once."""
    assert world.run(limit_ms, lambda: ended(world, task)), world.notes[-20:]
    world.run(2000)
    ends = [update for update in world.updates[task] if update.stage in (Stage.DONE, Stage.FAILED)]
    assert len(ends) == 1
    return ends[0].stage


def holder(world: World, task: TaskId) -> str:
    """Name of the miner with the latest award."""
    awarded = [note for _, _, note in world.noted(NoteName.TASK_AWARDED) if note.task == task]
    return next(name for name in world.machines if world.staking_id(name) == awarded[-1].fields["miner"])


def test_task__idle_network__walks_the_straight_line() -> None:
    world = settled()
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    wanted = {name for _, name in LINE}
    walked = [
        ("miner" if machine.startswith("miner") else machine, note.name)
        for _, machine, note in world.notes
        if note.task == task and note.name in wanted
    ]
    assert walked == LINE
    assert not world.judged


def test_task__idle_network__costs_one_claim_and_reaches_the_drawn_first() -> None:
    world = settled(miners=8)
    for _ in range(20):
        assert finish(world, accept(world)) is Stage.DONE
    assert len(world.noted(NoteName.CLAIM_SENT)) <= 1.4 * 20
    ranks = [note.fields["rank"] for _, _, note in world.noted(NoteName.TASK_AWARDED)]
    assert ranks.count(0) >= 18


def test_tasks__many_at_once__all_end_and_every_miner_is_paid() -> None:
    world = settled(miners=4)
    requests = [world.submit() for _ in range(60)]
    assert world.run(60_000, lambda: len(world.noted(NoteName.RECEIPT_RECEIVED)) == 60)
    tasks = {world.replies[request].task for request in requests}  # type: ignore[attr-defined]
    assert len(tasks) == 60
    assert all(world.updates[task][-1].stage is Stage.DONE for task in tasks)
    assert {machine for _, machine, _ in world.noted(NoteName.RECEIPT_RECEIVED)} == {f"miner{i}" for i in range(4)}
    assert not world.judged


def test_miner__dies_mid_job__task_is_offered_again_within_lease() -> None:
    world = settled()
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    first = holder(world, task)
    died = world.now
    world.crash(first)
    assert world.run(10_000, lambda: len(world.noted(NoteName.TASK_AWARDED)) == 2)
    assert world.now - died <= world.params.lease_ms + 500
    assert finish(world, task) is Stage.DONE
    assert holder(world, task) != first


def test_miner__engine_hangs__task_is_taken_back() -> None:
    world = settled()
    for machine in world.machines.values():
        machine.hangs = True
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.AWARD_RECEIVED)))
    first = holder(world, task)
    for name, machine in world.machines.items():
        machine.hangs = name == first
    assert finish(world, task) is Stage.DONE
    expired = world.noted(NoteName.TASK_LEASE_EXPIRED)
    assert [note.fields["miner"] for _, _, note in expired] == [world.staking_id(first)]


def test_miner__artifact_is_garbage__is_judged_and_another_does_it() -> None:
    world = settled()
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    first = holder(world, task)

    def spoil(name: str, effect: object) -> object:
        if name == first and isinstance(effect, SendArtifact):
            store = world.machines[name].store
            # Of the right size: another would not even be read.
            store._artifacts[effect.digest] = bytes(len(store._artifacts[effect.digest]))
        return effect

    world.tamper = spoil  # type: ignore[assignment]
    assert finish(world, task) is Stage.DONE
    assert (("coordinator0", first, "artifact.signature")) in world.judged
    assert holder(world, task) != first


def test_offer__every_first_bulletin_lost__is_made_again() -> None:
    lost: list[str] = []

    def lose(_sender: str, _receiver: str, message: object) -> bool:
        if type(message).__name__ == "Bulletin" and len(lost) < 3:
            lost.append("bulletin")
            return True
        return False

    world = settled(lose=lose)
    lost.clear()
    assert finish(world, accept(world)) is Stage.DONE
    assert len(lost) == 3


def test_coordinator__dies_with_accepted_tasks__finishes_them_after_restart() -> None:
    world = settled()
    tasks = [accept(world, key=f"key{index}") for index in range(6)]
    world.crash("coordinator0")
    before = {task: len(world.updates[task]) for task in tasks}
    world.run(500)
    world.start("coordinator0")
    assert world.run(90_000, lambda: all(len(world.updates[t]) > before[t] and ended(world, t) for t in tasks))
    assert all(world.updates[task][-1].stage is Stage.DONE for task in tasks)
    done = [note.task for _, _, note in world.noted(NoteName.TASK_DONE)]
    assert sorted(done) == sorted(set(done)), "nobody is paid twice"


def test_coordinator__restarts__ends_attached_tasks_as_client_gone() -> None:
    world = settled()
    task = accept(world, detached=False)
    world.crash("coordinator0")
    world.start("coordinator0")
    world.run(1000)
    assert world.updates[task][-1].reason == "client_gone"


def test_coordinator__dies_at_every_persisted_step__each_task_ends_once() -> None:
    for step in range(1, 12):
        world = settled(seed=step)
        persisted = 0

        def die(name: str, effect: object, world: World = world, step: int = step) -> object:
            nonlocal persisted
            if name == "coordinator0" and type(effect).__name__ == "Persist":
                persisted += 1
                if persisted == step:
                    machine = world.machines[name]
                    import trio

                    trio.run(machine.store.persist, effect.records)  # type: ignore[attr-defined]
                    world.crash(name)
                    world.at(200, lambda: world.start(name))
                    return None
            return effect

        world.tamper = die  # type: ignore[assignment]
        requests = [world.submit(key=f"key{index}") for index in range(4)]
        world.run(60_000)
        accepted = world.machines["coordinator0"].store._tasks
        answered = [r for r in requests if isinstance(world.replies.get(r), Accepted)]
        for request in answered:
            assert world.replies[request].task in accepted  # type: ignore[attr-defined]
        assert accepted
        assert all(stored.done is not None for stored in accepted.values()), step
        assert not world.judged


def test_miner__receipt_lost__sends_the_result_again_and_gets_the_same_receipt() -> None:
    world = settled()
    dropped: list[object] = []
    world.lose = lambda sender, _receiver, message: (
        sender == "coordinator0" and isinstance(message, bytes) and len(dropped) < 1 and not dropped.append(message)
    )
    task = accept(world)
    assert finish(world, task) is Stage.DONE
    assert world.run(20_000, lambda: bool(world.noted(NoteName.RECEIPT_RECEIVED)))
    assert len(world.noted(NoteName.TASK_DONE)) == 1
    assert len(world.noted(NoteName.RESULT_SENT)) == 2
    stored = world.machines["coordinator0"].store._tasks[task].done
    assert stored is not None
    assert dropped == [stored.receipt]


def test_miner__stream_cut_for_a_moment__keeps_its_task() -> None:
    world = settled()
    task = accept(world)
    assert world.run(5000, lambda: bool(world.noted(NoteName.JOB_STARTED)))
    world.cut("coordinator0", holder(world, task))
    assert finish(world, task) is Stage.DONE
    assert len(world.noted(NoteName.TASK_AWARDED)) == 1


def test_claim__before_its_slot__is_declined_as_early() -> None:
    world = settled(miners=6, latency_ms=(1, 1))
    task = accept(world)
    finish(world, task)
    core = world.machines["coordinator0"].core
    assert core is not None
    # A miner that ignores its slot: it hears of a later rank and claims at once.
    from protocol.roles.miner import claiming

    original = claiming.slot_ms
    claiming.slot_ms = lambda rank, step: 0  # type: ignore[assignment]
    try:
        finish(world, accept(world))
    finally:
        claiming.slot_ms = original
    reasons = [
        note.fields["reason"] for _, name, note in world.noted(NoteName.CLAIM_DECLINED) if name == "coordinator0"
    ]
    assert "early" in reasons


def test_submit__nobody_serves__is_refused_with_reason() -> None:
    world = settled(miners=0)
    request = world.submit()
    world.run(100)
    answer = world.replies[request]
    assert isinstance(answer, Refused)
    assert answer.code == "no_miner"


def test_submit__same_idempotency_key__is_the_same_task() -> None:
    world = settled()
    assert accept(world, key="once") == accept(world, key="once")


def test_vouchers__many_tasks__sum_to_the_prices() -> None:
    world = settled(miners=2)
    for _ in range(5):
        finish(world, accept(world))
    issued = world.machines["coordinator0"].store._issued
    done = [s.accepted.price for s in world.machines["coordinator0"].store._tasks.values() if s.done]
    assert sum(voucher.cumulative for voucher in issued.values()) == sum(done)
    assert max(voucher.issued_total for voucher in issued.values()) == sum(done)


def test_world__same_seed__same_digest() -> None:
    def once(seed: int) -> str:
        world = settled(seed=seed)
        for _ in range(5):
            finish(world, accept(world))
        return world.digest

    assert once(7) == once(7)
    assert once(7) != once(8)


def test_records__one_award_for_each_claim() -> None:
    world = settled(miners=5)
    for _ in range(10):
        world.submit()
    world.run(30_000)
    store = world.machines["coordinator0"].store
    claims = [award.claim for awards in store._awards.values() for award in awards if isinstance(award, TaskAwarded)]
    assert len(claims) == len(set(claims)) >= 10
    assert all(isinstance(stored.done, TaskDone) for stored in store._tasks.values())
