"""How those who watch a node see it: Prometheus by its metrics, OpenTelemetry by the spans of tasks.

``tracing`` needs the extra ``otel`` and is imported only where it is switched on.
"""

from node.adapters.telemetry.metrics_server import MetricsServer

__all__ = ["MetricsServer"]
