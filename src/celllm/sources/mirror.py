"""Where a file lies without the network: in a mirror folder, an installed package or the checkout."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib.util import find_spec
from pathlib import Path


def find(folders: Iterable[Path], *, dataset: str, file: str) -> Path | None:
    """Look for a file: in the folder of its dataset, then at the top, then both with `.gz` behind the name (packed)."""
    names = [f"{dataset}/{file}", file, f"{dataset}/{file}.gz", f"{file}.gz"]
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def has_built(folders: Iterable[Path], *, dataset: str, built: Collection[str]) -> bool:
    """Tell whether mirror folders have all files that stand for a dataset's published ones; false where none does."""
    folders = list(folders)
    return bool(built) and all(find(folders, dataset=dataset, file=name) for name in built)


def shipped(url: str, checkout: Path) -> Path | None:
    """Return where the file of a `package:<module>:<path>` or `repo:<path>` address is; none where it is not."""
    scheme, _, rest = url.partition(":")
    if scheme == "repo":
        place = checkout / rest
    else:
        module, _, inside = rest.partition(":")
        spec = find_spec(module)  # the package is not imported, which takes seconds
        if spec is None or not spec.submodule_search_locations:
            return None
        place = Path(spec.submodule_search_locations[0]) / inside
    return place if place.is_file() else None
