"""Read files line by line, whatever is in them, into records and numbered rejects; CSV is in `import_csv`.

Nothing here holds more than one record: a line has a largest length and an order a largest number of lines.
A record is the body of the API call it stands for, loaded by the same schemas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from marshmallow import ValidationError

from service.intake.bulk.adapters.source import Reject, SourceUnreadable
from service.intake.bulk.fields import LOADERS
from service.kit.exact_json import parse_json

Format = Literal["ndjson", "csv"]
Kind = Literal["members", "items", "orders", "refunds", "events"]

LONGEST_LINE_BYTES: Final = 2**20
_LONGEST_DETAIL: Final = 500
_ENDINGS: Final[dict[str, Format]] = {".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv"}
_BOM: Final = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One good record: the numbers of its lines, and the loaded body with its own id in it."""

    line_nos: tuple[int, ...]
    body: dict[str, Any]


def guess_format(path: Path) -> Format:
    """Tell the format by a file's ending.

    Raises:
        SourceUnreadable: an ending that says nothing.
    """
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(_ENDINGS)
        raise SourceUnreadable(f"{path.name} ends in none of {known}; say which format it has") from None


class Lines:
    """The lines of a binary stream, numbered from 1, with what has been read so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.count = 0
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Return the hash of everything read so far, in hexadecimal."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield number and bytes of each line, its end included; None for one that is too long."""
        while line := self._stream.readline(LONGEST_LINE_BYTES):
            self._see(line)
            self.count += 1
            if self.count == 1:
                line = line.removeprefix(_BOM)
            if len(line) < LONGEST_LINE_BYTES or line.endswith(b"\n"):
                yield self.count, line
                continue
            yield self.count, None
            while (rest := self._stream.readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
                self._see(rest)
            self._see(rest)

    def _see(self, line: bytes) -> None:
        self._hash.update(line)
        self.bytes += len(line)


def reject(line_no: int, code: str, detail: str) -> Reject:
    """Return a numbered reject whose detail can be stored and read, whatever the file held."""
    if not detail.isprintable():
        # isprintable also refuses line breaks and lone surrogates, so that a detail stays one line of text.
        detail = "".join(sign if sign.isprintable() else "�" for sign in detail)
    return Reject(line_no, code, detail[:_LONGEST_DETAIL])


def read_ndjson(lines: Lines, *, kind: Kind) -> Iterator[Record | Reject]:
    """Yield what a file of one JSON object a line holds, in its order."""
    for line_no, raw in lines:
        if raw is None:
            yield reject(line_no, "malformed-request", "the line is longer than 1 MiB")
        elif not raw.isspace():
            try:
                value = parse_object(raw)
            except ValueError as error:
                cut = "" if raw.endswith(b"\n") else "; the file ends in the middle of this line"
                yield reject(line_no, "malformed-request", f"{error}{cut}")
            else:
                yield load(kind, (line_no,), value)[0]


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object exactly, as the body of a request is read.

    Raises:
        ValueError: it is none.
    """
    try:
        value = parse_json(raw)
    except ValueError as error:
        raise ValueError(f"the line {error}") from None
    if not isinstance(value, dict):
        raise ValueError("the line is not a JSON object")
    return value


def load(kind: Kind, line_nos: tuple[int, ...], raw: Mapping[str, Any]) -> list[Record | Reject]:
    """Load a record by the API's own schema, or refuse each of its lines."""
    try:
        return [Record(line_nos, LOADERS[kind](raw))]
    except ValidationError as error:
        detail = "; ".join(_tell(error.messages, ""))
        return [reject(line_no, "invalid", detail) for line_no in line_nos]


def _tell(messages: Any, path: str) -> Iterator[str]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            yield from _tell(inner, path if name == "_schema" else f"{path}/{name}")
    else:
        for message in messages:
            yield f"{path}: {message}" if path else str(message)
