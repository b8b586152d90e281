"""Looks at finished pictures: decodes two of them and says how far apart they are: a coordinator's one decoder."""

from node.adapters.pictures.comparer import ChildComparer

__all__ = ["ChildComparer"]
