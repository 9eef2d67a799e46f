"""`celllm <command> …`: the same as `python -m celllm <command> …`, but for `import`, see SPOKEN."""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from pathlib import Path

NOT_COMMANDS = {"__init__"}
SPOKEN = {"import_encoder": "import"}  # Python keeps that word, so no module can have it for a name


def commands() -> dict[str, str]:
    """Return each command and the sentence that says what it does. Nothing is imported, so asking costs nothing."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*/commands/*.py")):
        if path.stem not in NOT_COMMANDS:
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            found[SPOKEN.get(path.stem, path.stem)] = text.partition("\n")[0]
    return found


def main() -> None:
    """Run the command that the first argument names, with the other arguments."""
    known = commands()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in {"-h", "--help"}:
        width = max(map(len, known))
        lines = "".join(f"  {command:{width}}  {text}\n" for command, text in known.items())
        sys.stdout.write(f"usage: celllm <command> …\n\n{lines}\ncelllm <command> --help says more.\n")
        return
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "celllm --help lists them"
        sys.stderr.write(f"error: no command {name}; {hint}\n")
        raise SystemExit(2)
    sys.argv[:2] = [f"celllm {name}"]
    module = next((module for module, spoken in SPOKEN.items() if spoken == name), name)
    (path,) = Path(__file__).parent.glob(f"*/commands/{module}.py")
    runpy.run_module(f"celllm.{path.parts[-3]}.commands.{module}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
