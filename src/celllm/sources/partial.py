"""A file under way: `.partial/{name}`, and beside it a note of what it is a part of.

It is gone on with only where that is safe: the note names the address and the validator (ETag or time of change) that
the server gave, and a server that holds another file by now answers with all of it. Without a validator there is no
note, and the next try starts at the first byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = ".partial"
"""Beside the file's place, so in the same file system."""


class Partial:
    """What has arrived of one file.

    Parameters
    ----------
    place
        Where the whole file is to stand.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place.parent / FOLDER / place.name
        self._note = self.file.with_name(f"{place.name}.json")
        self._sha256 = hashlib.sha256()
        self.size = 0
        """Bytes that have arrived."""
        self.validator: str | None = None
        """What the server calls this state of the file; none: it cannot go on in the middle."""
        self.total: int | None = None
        """Bytes of the whole; none where the server does not say."""
        self.file.parent.mkdir(parents=True, exist_ok=True)

    @property
    def sha256(self) -> str:
        """Checksum of what has arrived, in hex."""
        return self._sha256.hexdigest()

    def open(self, address: str) -> None:
        """Take up what an earlier try left of this address, and leave alone what is of another."""
        self._forget()
        noted = self._read_note()
        validator, total = noted.get("validator"), noted.get("total")
        if not self.file.is_file() or noted.get("url") != address or not isinstance(validator, str):
            return
        self.validator, self.total = validator, total if isinstance(total, int) else None
        with self.file.open("rb") as file:
            while piece := file.read(1 << 20):
                self._sha256.update(piece)
                self.size += len(piece)

    def _read_note(self) -> dict[str, object]:
        try:
            values = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def begin(self, address: str, headers: Mapping[str, str], *, total: int | None) -> None:
        """Start at the first byte.

        Parameters
        ----------
        address
            Where it comes from.
        headers
            Of the answer. A weak ETag says nothing of bytes and is no validator.
        total
            Size of the whole, in bytes; none where the server does not say.
        """
        self.discard()
        self.file.touch()
        etag = headers.get("ETag", "")
        strong = etag if etag and not etag.startswith("W/") else None
        self.validator, self.total = strong or headers.get("Last-Modified"), total
        if headers.get("Accept-Ranges", "").lower() == "none":
            self.validator = None
        if self.validator is not None:
            note = {
                "url": address,
                "validator": self.validator,
                "etag": etag or None,
                "last_modified": headers.get("Last-Modified"),
                "total": total,
            }
            self._note.write_text(json.dumps(note), encoding="utf-8")

    def append(self, pieces: Iterable[bytes]) -> Iterable[int]:
        """Write pieces behind what is there; yields the size so far after each."""
        with self.file.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                self._sha256.update(piece)
                self.size += len(piece)
                yield self.size

    def discard(self) -> None:
        """Remove all that has arrived."""
        self.file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size, self.total, self.validator = 0, None, None

    def finish(self) -> None:
        """Give the file its name."""
        self.file.replace(self.place)
        self._note.unlink(missing_ok=True)
