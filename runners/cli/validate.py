"""`validate`: what the engine, KServe and a careful reader would object to in a profile."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from runners.checks.check import all_rules, check
from runners.checks.describe import explain
from runners.checks.finding import Finding
from runners.checks.fix import fix
from runners.cli.flags import engine_overrides
from runners.errors import BenchError, Exit, UsageError
from runners.profiles.error import ProfileError
from runners.profiles.load import Override, load_profile, parse_set

_ORDER = ("error", "warning", "info")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("profiles", nargs=-1, metavar="[P]...")
@click.option("--profile", "named", multiple=True, metavar="P", help="A path or name; repeatable.")
@click.option("--engine-version", metavar="V", help="Check for this version of the engine.")
@click.option("--backend", metavar="B", help="Check for this backend.")
@click.option("--gpu", metavar="GPU", help="Check for this GPU, e.g. H100.")
@click.option("--kserve-version", metavar="V", help="Check for this version of KServe.")
@click.option("--set", "settings", multiple=True, metavar="KEY.PATH=VALUE", help="Set any key.")
@click.option("--strict", is_flag=True, help="Warnings are errors too.")
@click.option("--fix", "fixing", is_flag=True, help="Write P.fixed.yaml and print what differs.")
@click.option(
    "--ask-engine", is_flag=True, help="Ask the installed engine too, and say where we differ."
)
@click.option(
    "--engine-python",
    type=click.Path(path_type=Path),
    metavar="PYTHON",
    help="Interpreter that has the engine, for --ask-engine.",
)
@click.option("--explain", "rule", metavar="RULE", help="Say all that is known about a rule.")
@click.option("--list-rules", is_flag=True, help="List the rules.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/validate.md).")
def validate(profiles: tuple[str, ...], named: tuple[str, ...], **flags: Any) -> int:
    """Check profiles without deploying anything. Exit 0: usable; 2: rejected."""
    if flags["list_rules"]:
        return _list_rules(flags["as_json"])
    if flags["rule"]:
        return _explain(flags["rule"])
    references = (*named, *profiles)
    if not references:
        raise UsageError("no profile: name one with --profile, e.g. --profile standard")
    overrides = _overrides(flags)
    if flags["fixing"] and flags["as_json"]:
        raise UsageError("--fix and --json: --fix prints what differs; ask for JSON afterwards")
    if flags["fixing"]:
        return max(_fix(reference, overrides, flags) for reference in references)
    reports = [_report(reference, overrides, flags) for reference in references]
    if flags["as_json"]:
        print(json.dumps({"schema_version": 1, "profiles": reports}, allow_nan=False))
    else:
        for report in reports:
            _print(report)
    return max(int(report["exit_code"]) for report in reports)


def _overrides(flags: dict[str, Any]) -> list[Override]:
    found = engine_overrides(flags["backend"]) if flags["backend"] else []
    keys = {
        "engine_version": "engine.version",
        "gpu": "resources.gpu.type",
        "kserve_version": "serving.kserve_version",
    }
    for flag, key in keys.items():
        if flags[flag] is not None:
            found.append(Override(key, flags[flag], f"--{flag.replace('_', '-')}"))
    for text in flags["settings"]:
        key, value = parse_set(text)
        found.append(Override(key, value, f"--set {key}"))
    return found


def _report(reference: str, overrides: Sequence[Override], flags: dict[str, Any]) -> dict[str, Any]:
    """What there is to say about one profile, as JSON takes it."""
    findings, path = _findings(reference, overrides, flags)
    severities = {finding.severity for finding in findings}
    worst = next((name for name in _ORDER if name in severities), None)
    rejected = worst == "error" or (flags["strict"] and worst == "warning")
    return {
        "profile": path,
        "verdict": "rejected" if rejected else "warnings" if worst == "warning" else "accepted",
        "exit_code": int(Exit.USAGE if rejected else Exit.DONE),
        "findings": [finding.plain() for finding in findings],
    }


def _findings(
    reference: str, overrides: Sequence[Override], flags: dict[str, Any]
) -> tuple[list[Finding], str]:
    try:
        loaded = load_profile(reference, overrides)
    except ProfileError as error:
        return list(error.findings), reference
    except BenchError as error:
        finding = Finding("profile.unusable", "error", "", f"{error}.", "")
        return [finding], reference
    findings = [*loaded.findings, *check(loaded)]
    if flags["ask_engine"]:
        from runners.checks.ask import asked

        findings += asked(loaded, findings, flags["engine_python"])
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return findings, str(loaded.path)


def _print(report: dict[str, Any]) -> None:
    findings = [_finding(each) for each in report["findings"]]
    for finding in findings:
        print(finding.paragraph())
    counts = {name: sum(f.severity == name for f in findings) for name in _ORDER}
    said = ", ".join(
        f"{count} {name if name == 'info' else name + 's' * (count != 1)}"
        for name, count in counts.items()
        if count
    )
    strictly = report["verdict"] == "rejected" and not counts["error"]
    why = "; --strict counts warnings as errors" if strictly else ""
    print(f"{report['profile']}: {report['verdict']}{f' ({said}{why})' if said else ''}")
    if any(finding.rule == "profile.older-spelling" for finding in findings):
        print("--fix writes it in today's words into a new file")


def _finding(plain: dict[str, Any]) -> Finding:
    from runners.checks.finding import Where

    where = Where(**plain["where"]) if plain["where"] else None
    return Finding(**{**plain, "where": where})


def _fix(reference: str, overrides: Sequence[Override], flags: dict[str, Any]) -> int:
    """Write the fixed file, show what differs, and say what is left to a person."""
    fixed = fix(reference, overrides)
    if fixed is None:
        print(f"{reference}: nothing that --fix could mend")
        report = _report(reference, overrides, flags)
    else:
        print(fixed.diff, end="")
        for choice in fixed.choices:
            print(f"chosen, please check: {choice}")
        for line in fixed.taken_out:
            print(f"taken out, please check: {line}")
        print(f"{fixed.path} written")
        report = _report(str(fixed.path), overrides, flags)
    _print(report)
    return int(report["exit_code"])


def _explain(name: str) -> int:
    found = [rule for rule in all_rules() if rule.id == name]
    if not found and name.startswith("profile."):
        print(f"{name}: about how the file is written, before any rule (docs/profiles.md)")
        return Exit.DONE
    subject = [rule.id for rule in all_rules() if rule.subject == name]
    if subject:
        print("\n".join(subject))
        return Exit.DONE
    if not found:
        from difflib import get_close_matches

        close = get_close_matches(name, [rule.id for rule in all_rules()], n=1, cutoff=0.4)
        meant = f"did you mean {close[0]}?" if close else "see --list-rules"
        raise UsageError(f"--explain {name}: no rule has this name; {meant}")
    print(explain(found[0]))
    return Exit.DONE


def _list_rules(as_json: bool) -> int:
    if as_json:
        fields = ("id", "severity", "fails", "basis", "evidence", "versions", "engines", "targets")
        rows = [
            {"summary": rule.summary, **{name: getattr(rule, name) for name in fields}}
            for rule in all_rules()
        ]
        print(json.dumps(rows))
        return Exit.DONE
    for rule in all_rules():
        print(f"{rule.id}  {rule.severity}  {rule.summary}")
    return Exit.DONE
