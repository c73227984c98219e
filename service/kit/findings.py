"""What is wrong with a definition that staff wrote: faults and findings, each with its place. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from service.kit.errors import FieldError

Texts = Mapping[str, str]
"""The same said in every locale."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that keeps a definition from being read: its public name, where, and what to do."""

    name: str
    pointer: str
    text: Texts


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with what can be read: an error stops publishing, a warning must be seen."""

    name: str
    severity: Severity
    pointers: tuple[str, ...]
    text: Texts


def fault_errors(faults: Iterable[Fault], *, locale: str, at: str = "") -> list[FieldError]:
    """Return faults as a refusal names them; `at` is the pointer of the definition in the request."""
    return [
        FieldError(f"{fault.name}: {fault.text[locale]}", pointer=f"{at}{fault.pointer}") for fault in faults
    ]


def finding_errors(findings: Iterable[Finding], *, locale: str) -> list[FieldError]:
    """Return the findings that are errors as a refusal names them."""
    return [
        FieldError(f"{finding.name}: {finding.text[locale]}", pointer=finding.pointers[0])
        for finding in findings
        if finding.severity == "error"
    ]
