"""Takes the picture of the portal that the README shows: a devnet at work, in the system's Chromium.

.venv/bin/python -m tests.support.portal_picture .github/pictures/portal.png
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.support.browser import running_chromium, visitor_of
from tests.support.devnet import devnet

MINERS = 7
TASKS = 3
FIGURES_MS = 1300
"""Until the figures show that somebody works."""
HALF_WAY = """() => {
  for (const animation of document.getAnimations()) {
    animation.pause();
    const isSpark = animation.effect.target.classList.contains("spark");
    if (isSpark) animation.currentTime = animation.effect.getTiming().duration * (0.3 + 0.4 * Math.random());
  }
}"""
"""Holds offers and claims where they are seen."""
WINDOW = {"width": 1280, "height": 880}


def take(path: Path) -> None:
    """Run a network, ask it for pictures, and save what the portal shows meanwhile."""
    flags = ("--engine", "instant", "--delay-ms", "2500", "--miners", str(MINERS), "--coordinators", "2")
    with (
        running_chromium() as chromium,
        tempfile.TemporaryDirectory() as folder,
        devnet(Path(folder), *flags) as network,
    ):
        visitor = visitor_of(chromium, network.url, viewport=WINDOW)
        visitor.visit("network")
        page = visitor.page
        expect(page.locator("#map svg .node")).to_have_count(MINERS + 2)
        with network.client as client:

            def ask() -> None:
                for _ in range(TASKS):
                    client.post("/v1/tasks", json={"prompt": "a red heart"}).raise_for_status()

            ask()
            expect(page.locator("#feed li.done")).to_have_count(TASKS)
            ask()
            page.wait_for_timeout(FIGURES_MS)
            ask()
            page.locator(".spark.claim").nth(2).wait_for(state="attached")
            page.evaluate(HALF_WAY)
        page.screenshot(path=path)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
