"""What the validator says about a profile."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Where:
    """A place in a YAML file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Finding:
    """One remark: `rule` is its stable id, `key` the dotted path in the profile."""

    rule: str
    severity: Severity
    key: str
    why: str
    fix: str
    where: Where | None = None
    evidence: str | None = None

    def line(self) -> str:
        """The finding as one line for a terminal."""
        place = f"{self.where}: " if self.where else ""
        key = f"{self.key}: " if self.key else ""
        fix = f" {self.fix}" if self.fix else ""
        line = f"{place}{key}{self.why}{fix} [{self.rule}]"
        # What a file holds may carry line breaks and terminal escapes.
        return " ".join("".join(c if c.isprintable() else " " for c in line).split())
