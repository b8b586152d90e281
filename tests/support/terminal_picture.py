"""Takes the picture of the terminal that the README shows: a real order and a real miner, on a devnet that draws.

.venv/bin/python -m tests.support.terminal_picture .github/pictures/terminal.png
"""

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.support.browser import running_chromium
from tests.support.devnet import devnet
from tests.support.terminal import COLUMNS, Seen, in_terminal

CUCKOO = [sys.executable, "-m", "node"]
PAGE = '<body style="margin:0;background:#fff"><div id="all" style="width:900px">{pictures}</div></body>'


def take(path: Path) -> None:
    """Run a network, order pictures of it in a terminal, and look at a miner meanwhile."""
    with (
        running_chromium() as chromium,
        tempfile.TemporaryDirectory() as folder,
        devnet(Path(folder), "--coordinators", "2", "--miners", "2") as network,
    ):
        file = network.description["network"]
        submit = [*CUCKOO, "submit", "a red heart", "--overlay", "--network", file, "--seed", "7"]
        heart = in_terminal([*submit, "--out", str(Path(folder) / "heart.png")])
        data = Path(network.nodes("miner")[0]["config"]).parent
        again = [
            subprocess.Popen(
                [*submit, "--out", f"{folder}/{n}.png"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for n in range(4)
        ]
        watch = [*CUCKOO, "status", "--node", str(data), "--watch", "--every", "0.5"]
        miner = in_terminal(watch, until=lambda seen: "1 drawn now" in seen.text)
        for one in again:
            one.wait(60)
        shown = [
            svg_of(heart, '$ cuckoo submit "a red heart" --overlay', Path(folder) / "heart.png"),
            svg_of(miner, "$ cuckoo status --node ~/.cuckoo/miner --watch", data),
        ]
        page = chromium.new_page(viewport={"width": 920, "height": 1200}, device_scale_factor=1.5)
        page.set_content(PAGE.format(pictures="<div style='height:12px'></div>".join(shown)))
        page.locator("#all").screenshot(path=path)


def svg_of(seen: Seen, title: str, hidden: Path) -> str:
    """Draw a screen as rich draws consoles; the name of a temporary file becomes its last part."""
    text = Text()
    for row in range(seen.screen.lines):
        for column in range(COLUMNS):
            cell = seen.screen.buffer[row][column]
            text.append(cell.data, Style(color=color_of(cell.fg), bgcolor=color_of(cell.bg), bold=cell.bold))
        text.append("\n")
    lines = [line for line in text.split("\n") if line.plain.strip() and "^C" not in line.plain]
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in lines:
        line.rstrip()
        console.print(Text(hidden.name).join(line.split(str(hidden))), overflow="ignore", no_wrap=True)
    svg = console.export_svg(title=title)
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # its fonts are on the Internet


def color_of(name: str) -> str | None:
    """Give a colour of pyte as rich names it."""
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return {"brown": "yellow"}.get(name, name.replace("bright", "bright_"))


if __name__ == "__main__":
    take(Path(sys.argv[1]))
