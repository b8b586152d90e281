"""Who else looks at orders and pictures of a coordinator: a program of its operator, a classifier of pictures.

Rules for editors: torch is imported in ``safety_child`` alone, which runs in a process of its own.
"""

from node.adapters.review.hook import HttpHook as HttpHook
from node.adapters.review.safety import SafetyChecker as SafetyChecker
