"""Any history of records, with restarts anywhere, leaves the store as a few dictionaries would."""

import tempfile
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from node.adapters.store import SqliteStore, StoreConflict
from protocol.records import Record, ResultSettled, TaskAccepted, TaskDone, TaskFailed, VoucherIssued
from tests.support.clock import HandClock
from tests.support.records import accepted, awarded, claim, committed, done, failed, issued, task_id

numbers = st.integers(0, 3)
actions = st.one_of(
    st.builds(accepted, numbers),
    st.builds(awarded, numbers, st.integers(0, 2)),
    st.builds(done, numbers),
    st.builds(failed, numbers),
    st.builds(issued, st.integers(0, 5), st.integers(0, 5), st.integers(1, 2)),
    st.builds(claim, numbers),
    st.builds(committed, numbers),
    st.builds(lambda number: ResultSettled(committed(number).award), numbers),
)
RESTART = "restart"


class Expected:
    """The same promises in the plainest form."""

    def __init__(self) -> None:
        self.tasks: dict[bytes, TaskAccepted] = {}
        self.ends: dict[bytes, TaskDone | TaskFailed] = {}
        self.once: set[object] = set()
        self.vouchers: dict[int, VoucherIssued] = {}

    def takes(self, record: Record) -> bool:
        """Apply the record, or say that it contradicts what is there."""
        match record:
            case TaskAccepted():
                if record.task in self.tasks:
                    return False
                self.tasks[record.task] = record
            case TaskDone() | TaskFailed():
                if record.task not in self.tasks or record.task in self.ends:
                    return False
                self.ends[record.task] = record
            case VoucherIssued():
                old = self.vouchers.get(record.miner)
                if old is None or (record.cumulative, record.sequence) > (old.cumulative, old.sequence):
                    self.vouchers[record.miner] = record
            case ResultSettled():
                pass
            case _:
                unknown_task = type(record).__name__ == "TaskAwarded" and record.task not in self.tasks
                if unknown_task or record in self.once:
                    return False
                self.once.add(record)
        return True


@given(st.lists(st.one_of(actions, st.just(RESTART)), max_size=25))
@settings(max_examples=40)
def test_store__any_history__agrees_with_the_plain_form(history):
    async def main() -> None:
        expected = Expected()
        with tempfile.TemporaryDirectory() as folder:
            for run in _runs(history):
                store = SqliteStore(Path(folder), HandClock())
                async with store.opened():
                    for record in run:
                        try:
                            await store.persist((record,))
                            taken = True
                        except StoreConflict:
                            taken = False
                        assert taken == expected.takes(record), record
                    await _compare(store, expected)

    trio.run(main)


def _runs(history: list[object]) -> list[list[Record]]:
    runs: list[list[Record]] = [[]]
    for step in history:
        if step == RESTART:
            runs.append([])
        else:
            runs[-1].append(step)
    return runs


async def _compare(store: SqliteStore, expected: Expected) -> None:
    loaded = await store.load()
    still_open = {task for task in expected.tasks if task not in expected.ends}
    assert {record.task for record in loaded if isinstance(record, TaskAccepted)} == still_open
    assert {record for record in loaded if isinstance(record, VoucherIssued)} == set(expected.vouchers.values())
    for number in range(4):
        stored = await store.task(task_id(number))
        end = expected.ends.get(task_id(number))
        assert (stored and (stored.done or stored.failed)) == end
