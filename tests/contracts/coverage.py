"""Which lines of the contracts the tests of contracts/SPEC.md §15 reach: ``make contracts-coverage``.

A pytest plugin. It runs only those tests, has anvil trace every call in them, and fails when a line of our sources was
not reached that is not among ``UNREACHED``.
"""

from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from contracts.bindings import CONTRACT_NAMES, is_code_of, load
from contracts.compile import EVM_VERSION, FOLDER
from tests.contracts.specification import TEXT
from tests.support.anvil import Anvil

TRACER = """{seen: {}, fault: function () {}, result: function () { return this.seen; }, step: function (log) {
  var at = toHex(log.contract.getAddress());
  if (!this.seen[at]) { this.seen[at] = {}; }
  this.seen[at][log.getPC()] = 1;
}}"""
"""Gives the program counters of a call, by the address of their code."""
UNREACHED: frozenset[tuple[str, str]] = frozenset()
"""Contract and text of lines that no test can reach, each with its reason beside it."""
Line = tuple[str, str, int]
"""Contract, source relative to contracts/src, and number."""


class Coverage:
    """Collects program counters while tests run, and says at the end which lines they are."""

    def __init__(self) -> None:
        self.counters: dict[str, set[int]] = defaultdict(set)

    def watch(self, anvil: Anvil, method: str, parameters: tuple[Any, ...], answer: Any) -> None:
        """Trace what was just sent or is about to be read."""
        if method == "eth_call":
            trace = anvil.asked("debug_traceCall", parameters[0], "latest", {"tracer": TRACER})
        elif method == "eth_getTransactionReceipt" and answer is not None and answer["to"]:
            trace = anvil.asked("debug_traceTransaction", parameters[0], {"tracer": TRACER})
        else:
            return
        for address, counters in trace.items():
            code = bytes.fromhex(anvil.asked("eth_getCode", address, "latest")[2:])
            for name in CONTRACT_NAMES:
                if is_code_of(load(name), code):
                    self.counters[name].update(map(int, counters))

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        named = [item for item in items if f"`{getattr(item, 'originalname', item.name)}`" in TEXT]
        config.hook.pytest_deselected(items=[item for item in items if item not in named])
        items[:] = named

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        missed, all_lines = [], 0
        for name in CONTRACT_NAMES:
            lines = set(lines_of(name))
            reached = {line for counter, line in counters_of(name) if counter in self.counters[name]}
            all_lines += len(lines)
            missed += [line for line in sorted(lines - reached) if (name, text_of(line)) not in UNREACHED]
        print(f"\n{all_lines - len(missed)} of {all_lines} lines of the contracts are reached")
        for line in missed:
            print(f"not reached by {line[0]}: {line[1]}:{line[2]}: {text_of(line)}")
        if missed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def counters_of(name: str) -> Iterator[tuple[int, Line]]:
    """Give the program counters of a contract with the lines of our sources that they belong to."""
    from vyper import ast as vyper_ast
    from vyper.compiler import CompilerData
    from vyper.compiler.input_bundle import FilesystemInputBundle
    from vyper.compiler.settings import Settings
    from vyper.ir.compile_ir import assembly_to_evm

    source = FOLDER / "src"
    bundle = FilesystemInputBundle([metadata.distribution("snekmate").locate_file(""), source])
    data = CompilerData(bundle.load_file(source / f"{name}.vy"), bundle, settings=Settings(evm_version=EVM_VERSION))
    code, maps = assembly_to_evm(data.assembly_runtime)
    assert is_code_of(load(name), code), f"{name}: run python -m contracts.compile"
    for counter, node in maps["pc_raw_ast_map"].items():
        while node is not None and not isinstance(node, vyper_ast.nodes.Stmt):
            node = node._parent
        if node is None or node.lineno is None or node.get_ancestor(vyper_ast.FunctionDef) is None:
            continue  # what the compiler adds: selectors, getters, checks of arguments
        path = Path(node.module_node.resolved_path)
        if path.is_relative_to(source):
            yield counter, (name, str(path.relative_to(source)), node.lineno)


def lines_of(name: str) -> Iterator[Line]:
    """Give every line of our sources that is code of a contract."""
    return (line for _, line in counters_of(name))


def text_of(line: Line) -> str:
    """Give the text of a line."""
    return (FOLDER / "src" / line[1]).read_text().splitlines()[line[2] - 1].strip()


def pytest_configure(config: pytest.Config) -> None:
    coverage = Coverage()
    Anvil.watcher = coverage.watch
    config.pluginmanager.register(coverage)
