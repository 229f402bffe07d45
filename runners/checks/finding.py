"""What the validator says about a profile."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
# When the thing that a finding is about would have shown itself.
Fails = Literal[
    "at start-up",  # the engine exits in seconds, while it reads its configuration
    "after loading",  # minutes later, with a GPU allocated and often the weights loaded
    "on deployment",  # Kubernetes or KServe refuses the objects, or no replica becomes ready
    "on each request",  # the server answers with an error
    "silently",  # it runs, with another setting than the profile says
    "in the results",  # it runs, and the numbers mean something else
]
SHOWN_VALUE = 80


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
    """One remark: `rule` is its stable id, `key` the dotted path in the profile.

    value: what is written there. versions: for which the rule holds, in words.
    fails: when it would have shown itself. evidence: how that is known.
    """

    rule: str
    severity: Severity
    key: str
    why: str
    fix: str
    where: Where | None = None
    evidence: str | None = None
    value: Any = None
    versions: str | None = None
    fails: Fails | None = None

    def line(self) -> str:
        """The finding as one line for a terminal."""
        place = f"{self.where}: " if self.where else ""
        key = f"{self.key}: " if self.key else ""
        fix = f" {self.fix}" if self.fix else ""
        return printable(f"{place}{key}{self.why}{fix} [{self.rule}]")

    def paragraph(self) -> str:
        """The finding with all that is known, over several lines."""
        place = f"{self.where}: " if self.where else ""
        value = f": {_shown(self.value)}" if self.value is not None else ""
        lines = [f"{place}{self.severity}: {self.key or 'profile'}{value}", f"    {self.why}"]
        if self.fix:
            lines.append(f"    fix: {self.fix}")
        known = [
            self.rule,
            self.versions or "",
            f"would have failed {self.fails}" if self.fails in _FAILURES else self.fails or "",
        ]
        lines.append(f"    rule: {' · '.join(part for part in known if part)}")
        return "\n".join(printable(line, keep_indent=True) for line in lines)

    def plain(self) -> dict[str, Any]:
        """As JSON takes it; the fields are those of docs/validate.md."""
        return asdict(self)


_FAILURES = {"at start-up", "after loading", "on deployment", "on each request"}


def printable(text: str, *, keep_indent: bool = False) -> str:
    """Without the line breaks and terminal escapes that a file may carry."""
    indent = text[: len(text) - len(text.lstrip(" "))] if keep_indent else ""
    return indent + " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= SHOWN_VALUE else f"{text[: SHOWN_VALUE - 1]}…"
