"""What files were at earlier arrivals: the dataset's own journal, and the lock that is committed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from celllm.config.tables import SourceFile
from celllm.sources import checksums
from celllm.sources.bring import Brought, is_shipped
from celllm.sources.checksums import Checksum
from celllm.sources.progress import Progress
from celllm.sources.verify import Expected


@dataclass(frozen=True)
class Records:
    """What files were at earlier arrivals, and where that is written."""

    table: Path
    """`config/files.tsv`."""
    lock: Path | None
    """`config/checksums.tsv`, committed; none: not kept."""
    journal: Path
    """The dataset's own, in its folder."""
    locks: Path
    """Folder of the files that writers lock."""

    def known(self, row: SourceFile) -> tuple[list[Expected], Checksum | None]:
        """Return what a file has to be, and what it was when it came here before."""
        here = checksums.of(checksums.read(self.journal), dataset=row.dataset, file=row.file)
        expected = [
            Expected(
                said_by=f"as {self.table} says of {row.dataset}",
                remedy="replace the file by the published one, or correct the row if the publisher changed it",
                bytes=row.bytes,
                sha256=row.sha256,
            ),
        ]
        if row.sha256 is not None or self.lock is None or is_shipped(row):
            return expected, here
        locked = checksums.of(checksums.read(self.lock), dataset=row.dataset, file=row.file)
        if locked is not None:
            expected.append(
                Expected(
                    said_by=f"as {self.lock} says since {locked.date}, when it came from {locked.source}",
                    remedy=f"to accept a file that the publisher changed, delete the line of {row.dataset} "
                    f"{row.file} from {self.lock} and try again",
                    bytes=locked.bytes,
                    sha256=locked.sha256,
                ),
            )
        return expected, here or locked

    def write(self, row: SourceFile, brought: Brought, progress: Progress) -> None:
        """Write a file down: in the journal, and in the lock if nothing else says what it has to be."""
        if is_shipped(row):
            return
        today = datetime.now(UTC).date().isoformat()
        line = Checksum(row.dataset, row.file, brought.bytes, brought.sha256, brought.source, today)
        checksums.record(line, self.journal, lock=self.locks / f"{row.dataset}.fetched.lock")
        if row.sha256 is not None or self.lock is None:
            return
        if checksums.of(checksums.read(self.lock), dataset=row.dataset, file=row.file) is not None:
            return
        try:
            checksums.record(line, self.lock, lock=self.locks / "checksums.lock")
        except OSError as error:
            progress.say(f"{self.lock} cannot be written ({error}); add this line to it:\n{line.line().rstrip()}")
