"""A rejected profile: one line for a terminal, and every finding for those who want more."""

from collections.abc import Iterable

from runners.checks.finding import Finding, Where
from runners.errors import UsageError

_SCREENFUL = 20


class ProfileError(UsageError):
    """A profile that cannot be used.

    `str()` is the line of the first error, with the number of further ones; `findings`
    holds them all in the order of the file, errors before warnings and remarks.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=_order))
        errors = sum(finding.severity == "error" for finding in self.findings)
        more = f" (and {errors - 1} more)" if errors > 1 else ""
        super().__init__(self.findings[0].line() + more)

    def lines(self) -> list[str]:
        """A line per error, up to a screenful."""
        errors = [each.line() for each in self.findings if each.severity == "error"]
        shown = errors[:_SCREENFUL]
        left = len(errors) - len(shown)
        return [*shown, f"… and {left} more"] if left else shown


def _order(finding: Finding) -> tuple[bool, bool, str, int, int]:
    """Errors first; then by place, what the command line gave at the end."""
    where = finding.where
    place = (where.file, where.line, where.column) if where else ("", 0, 0)
    return (finding.severity != "error", where is None, *place)


def rejected(
    rule: str, why: str, fix: str = "", key: str = "", where: Where | None = None
) -> ProfileError:
    """A ProfileError of one finding."""
    return ProfileError([Finding(rule, "error", key, why, fix, where)])
