"""What a long search has found so far, kept in a file so that it may be gone on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from simhw.errors import TuningError
from simhw.files import check_output


class Journal:
    """Answers by the question's name, each a line of JSON that is in the file before it is used.

    A search that asks the same questions in the same order and finds old answers here comes to the same
    end. Killed at any moment, a file lacks at most the end of its last line, which is cut off when it is
    opened again. The first line says what search it belongs to. Without a path nothing is kept.
    """

    def __init__(self, path: str | Path | None, search: str, *, resume: bool = False) -> None:
        self.path = None if path is None else Path(path)
        self._answers: dict[str, Any] = {}
        self._file: IO[bytes] | None = None
        if self.path is None:
            return
        check_output(self.path, TuningError)
        begun = self.path.exists() and self.path.stat().st_size > 0
        if begun and not resume:
            raise TuningError(
                f"{self.path}: holds an unfinished search; go on with it by --resume, or remove the file"
            )
        whole = self._read(search) if begun else 0
        self._file = self.path.open("r+b" if begun else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write({"search": search})

    def __contains__(self, question: str) -> bool:
        return question in self._answers

    def __getitem__(self, question: str) -> Any:
        return self._answers[question]

    def add(self, question: str, answer: Any) -> Any:
        """Keep an answer, and return it as it would be read from the file."""
        line = {"ask": question, "is": answer}
        if self._file is not None:
            self._write(line)
        self._answers[question] = json.loads(json.dumps(answer))
        return self._answers[question]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Close it and take the file away: the search has ended."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, search: str) -> int:
        """Take in the answers of the file, and return up to where it is whole."""
        assert self.path is not None
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        try:
            read = [json.loads(line) for line in lines]
            if read and read[0]["search"] != search:
                raise TuningError(
                    f"{self.path}: belongs to another search: its recipe, images, weights or version of "
                    "simhw differ; remove the file to begin anew"
                )
            self._answers = {line["ask"]: line["is"] for line in read[1:]}
        except (ValueError, KeyError, TypeError):
            raise TuningError(
                f"{self.path}: is not the file of a search; remove it, or write to another name"
            ) from None
        return whole

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        if "search" in line:
            os.fsync(self._file.fileno())
