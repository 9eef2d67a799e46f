"""The exceptions a caller may want to catch: mistakes a user can mend, said so that he can."""

from __future__ import annotations

from pathlib import Path


class CellLMError(Exception):
    """Anything wrong that the user, not the programmer, can put right."""

    status = 2
    """Exit status of a command that ends so."""


class InputError(CellLMError, ValueError):
    """A file or setting is not what was expected.

    The message names the file, the field, what was expected, what was found and what to type next.
    """

    def __init__(
        self,
        *,
        file: Path | str,
        field: str,
        expected: str,
        found: str,
        remedy: str,
    ) -> None:
        self.file = str(file)
        self.field = field
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(
            f"{file}: {field}\n  expected: {expected}\n  found:    {found}\n  do this:  {remedy}",
        )


class VocabularyMismatch(InputError):
    """Two artefacts were made with different gene vocabularies, so their gene indices do not mean the same."""

    def __init__(self, *, file: Path | str, found: str, expected: str, remedy: str) -> None:
        super().__init__(
            file=file,
            field="vocabulary",
            expected=f"vocabulary {expected[:12]}…",
            found=f"vocabulary {found[:12]}…",
            remedy=remedy,
        )
