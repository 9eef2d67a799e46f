"""Run the Python of tutorial.md, and save its pictures: `python docs/tutorial.py docs/figures/tutorial`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt

PAGE = Path(__file__).with_suffix(".md")


def main(folder: Path) -> None:
    """Run each block, and save the figure it leaves as its comment `# figure: NAME` says."""
    plt.switch_backend("agg")
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
        figure = re.search(r"# figure: (\w+)", block)
        if figure:
            plt.savefig(folder / f"{figure.group(1)}.png", dpi=75, bbox_inches="tight")
            plt.close("all")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
