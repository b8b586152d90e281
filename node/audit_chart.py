"""Draws an audit's shares: what each miner won against what the draw gives it, with the band that chance allows."""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol.audit.report import Report, Share
from protocol.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS: Final = 6
"""Coordinators that are drawn: those with the most awards."""
COLUMNS: Final = 3
BAND: Final = 1.96
"""Standard deviations of the band: nineteen of twenty honest shares lie within it."""
NAMED: Final = 12
"""Miners of each panel outside the band that are named."""


def check_can_draw() -> None:
    """Pass where charts can be drawn.

    Raises:
        ConfigError: matplotlib is missing.
    """
    try:
        import matplotlib.figure  # noqa: F401 whether it is there is all that is asked
    except ImportError:
        raise ConfigError("--chart needs matplotlib: install it with pip install 'cuckoo-overlay[audit]'") from None


def draw_chart(report: Report, path: Path) -> None:
    """Write a picture; the suffix says whether SVG or PNG.

    Raises:
        ConfigError: matplotlib is missing, there is nothing to draw, or the file cannot be written.
    """
    check_can_draw()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    awards = {fact.coordinator: fact.awards_checked for fact in report.facts}
    drawn = sorted({share.coordinator for share in report.shares}, key=lambda one: -awards[one])[:MOST_PANELS]
    if not drawn:
        raise ConfigError("--chart: no task of any coordinator was drawn: there are no shares to show")
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    with rc_context({"svg.hashsalt": "cuckoo", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(4.2 * columns, 4.1 * rows + 0.8), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, coordinator in zip(panels, sorted(drawn), strict=False):
            _draw(panel, [share for share in report.shares if share.coordinator == coordinator])
        for panel in panels[len(drawn) :]:
            panel.set_axis_off()
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        left_out = len({share.coordinator for share in report.shares}) - len(drawn)
        more = f" (of {left_out + len(drawn)}, those with the most awards)" if left_out else ""
        figure.suptitle(f"Share won against share drawn by stake, each miner of each coordinator{more}")
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
        except OSError as error:
            raise ConfigError(f"--chart: {path} cannot be written: {error.strerror}") from None


def _draw(panel: "Axes", shares: Sequence[Share]) -> None:
    """Draw the miners of one coordinator."""
    awards = max(shares[0].awards, 1)
    expected = [share.drawn_expected for share in shares]
    most = max([*expected, *(share.won for share in shares), *(share.won_value for share in shares)]) * 1.12 or 1.0
    line = [most * step / 100 for step in range(101)]
    spread = [BAND * sqrt(min(x, 1.0) * (1 - min(x, 1.0)) / awards) for x in line]
    panel.fill_between(
        line,
        [max(x - s, 0.0) for x, s in zip(line, spread, strict=True)],
        [x + s for x, s in zip(line, spread, strict=True)],
        color="#4477aa",
        alpha=0.15,
        linewidth=0,
        label="19 in 20 by chance",
    )
    panel.plot(line, line, color="#4477aa", linewidth=1, label="as drawn")
    for share in shares:
        panel.plot([share.drawn_expected] * 2, [share.won, share.won_value], color="#bbbbbb", linewidth=0.8, zorder=1)
    panel.scatter(expected, [one.won for one in shares], s=26, color="#222222", zorder=3, label="by number of tasks")
    panel.scatter(
        expected,
        [one.won_value for one in shares],
        s=34,
        facecolors="none",
        edgecolors="#cc3311",
        zorder=2,
        label="by price",
    )
    for share in [one for one in shares if _distance(one) > 1][:NAMED]:
        by_number, by_price = abs(share.won - share.drawn_expected), abs(share.won_value - share.drawn_expected)
        panel.annotate(
            f"miner {share.miner}",
            (share.drawn_expected, share.won if by_number >= by_price else share.won_value),
            xytext=(6, 3),
            textcoords="offset points",
            fontsize=8,
        )
    panel.set(
        xlim=(0, most),
        ylim=(0, most),
        xlabel="share of stake in the fields as published",
        ylabel="share won",
        title=f"coordinator {shares[0].coordinator}: {shares[0].tasks:,} tasks, {shares[0].awards:,} awards",
    )
    panel.set_aspect("equal")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(lambda value, _place: f"{value:.0%}")
    panel.spines[["top", "right"]].set_visible(False)


def _distance(share: Share) -> float:
    """How far a miner is from its share, by number or by price, in half widths of the band."""
    away = max(abs(share.won - share.drawn_expected), abs(share.won_value - share.drawn_expected))
    width = BAND * sqrt(share.drawn_expected * (1 - share.drawn_expected) / max(share.awards, 1))
    return away / width if width else 0.0
