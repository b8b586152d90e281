"""What a PromQL expression asks for, so that it can be held against the metrics that nodes have."""

from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser

ADDED = frozenset({"job", "instance"})
"""Labels that Prometheus adds to all it scrapes."""
OF_PROMETHEUS: Mapping[str, frozenset[str]] = {
    "up": frozenset(),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
}
"""What Prometheus has of its own."""


def faults(expression: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """Say what is wrong with an expression; nothing where Prometheus takes it and all it names exists.

    Args:
        expression: PromQL, Grafana's variables in it.
        known: Labels by the name of a sample; counters are those that end as Prometheus has it.
    """
    plain = expression.replace("$__rate_interval", "5m")
    try:
        tree = promql_parser.parse(plain)
    except ValueError as error:
        return [f"{expression}: {error}"]
    return [f"{expression}: {fault}" for fault in _walk(tree, {**known, **OF_PROMETHEUS})]


def labels_of(expression: str, known: Mapping[str, frozenset[str]]) -> set[str]:
    """Give the labels that the result of an expression may have."""
    tree = promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    return _labels(tree, {**known, **OF_PROMETHEUS})


def _children(tree: Any) -> Iterator[Any]:
    for name in ("lhs", "rhs", "expr"):
        if (child := getattr(tree, name, None)) is not None:
            yield child
    yield from getattr(tree, "args", ())


def _selector(tree: Any) -> Any:
    if isinstance(tree, promql_parser.MatrixSelector):
        return tree.vector_selector
    return tree if isinstance(tree, promql_parser.VectorSelector) else None


def _labels(tree: Any, known: Mapping[str, frozenset[str]]) -> set[str]:
    selector = _selector(tree)
    if selector is not None:
        return set(known.get(selector.name, ())) | ADDED
    below = set().union(*(_labels(child, known) for child in _children(tree)))
    if isinstance(tree, promql_parser.AggregateExpr):
        by = set(tree.modifier.labels) if tree.modifier is not None else set()
        is_without = tree.modifier is not None and tree.modifier.type == promql_parser.AggModifierType.Without
        return below - by if is_without else below & by
    return below


def _walk(
    tree: Any,
    known: Mapping[str, frozenset[str]],
) -> Iterator[str]:
    selector = _selector(tree)
    if selector is not None:
        yield from _check_selector(selector, known, is_range=selector is not tree)
    if isinstance(tree, promql_parser.AggregateExpr) and tree.modifier is not None:
        below = _labels(tree.expr, known)
        yield from (f"{label!r} is no label of what is below" for label in tree.modifier.labels if label not in below)
    for child in _children(tree):
        yield from _walk(child, known)


def _check_selector(selector: Any, known: Mapping[str, frozenset[str]], *, is_range: bool) -> Iterator[str]:
    name = selector.name
    if name not in known:
        yield f"there is no metric {name!r}"
        return
    is_counter = name.endswith(("_total", "_sum", "_count", "_bucket"))
    if is_counter != is_range:
        yield f"{name} is a {'counter: take its rate' if is_counter else 'gauge: it has no rate'}"
    for matcher in selector.matchers.matchers:
        if matcher.name not in known[name] | ADDED:
            yield f"{matcher.name!r} is no label of {name}"
