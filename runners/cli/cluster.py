"""What the command line does with a cluster besides running: preflight, gc, --server-dry-run."""

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from runners.errors import Exit, TargetError

if TYPE_CHECKING:
    from runners.cluster.api import Connection
    from runners.cluster.gc import Orphan
    from runners.cluster.preflight import Check
    from runners.profiles.load import Loaded

_CONTEXT = click.option("--context", metavar="C", help="Kubeconfig context. [the current one]")
_NAMESPACE = click.option("--namespace", metavar="NS", help="Namespace. [the context's]")
_MARKS = {"ok": "✓", "warning": "!", "failed": "✗", "unknown": "?"}


@click.command()
@click.option(
    "--profile", metavar="P", help="A profile: a path, or a name in profiles/. [standard]"
)
@_CONTEXT
@_NAMESPACE
@click.option("--existing", metavar="NAME", help="Check what measuring this one needs.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a profile key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def preflight(
    profile: str | None,
    context: str | None,
    namespace: str | None,
    existing: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check a cluster for what a profile needs, and print the Role for it. Changes nothing."""
    from runners.cli.flags import DEFAULT_PROFILE
    from runners.cluster.connect import connect
    from runners.cluster.deploy import fitted
    from runners.cluster.existing import find_service
    from runners.cluster.permissions import permissions_for, roles
    from runners.cluster.preflight import check_cluster
    from runners.profiles.load import Override, load_profile, parse_set
    from runners.render import render, to_yaml

    changes = [Override(*parse_set(text), f"--set {text}") for text in settings]
    loaded = load_profile(profile or DEFAULT_PROFILE, changes).profile
    serving = loaded.serving
    connection = connect(context or serving.context, namespace or serving.namespace)
    with closing(connection):
        kind = find_service(connection, existing)["kind"] if existing else None
        objects = {} if existing else render(fitted(connection, loaded, "preflight"), "preflight")
        checks = _asked(connection, lambda: check_cluster(connection, objects, kind))
        wanted = roles(permissions_for(objects, kind), connection.namespace)
    failed = any(check.status == "failed" for check in checks)
    if as_json:
        rows = [{"what": c.what, "status": c.status, "text": c.text} for c in checks]
        print(json.dumps({"checks": rows, "roles": wanted}))
    else:
        _show(checks)
        print("\n# Rights that a run needs; bind them to the user or service account that runs it.")
        print("---\n".join(to_yaml(each) for each in wanted), end="")
    return Exit.TARGET if failed else Exit.DONE


def _asked(connection: "Connection", question: Any) -> Any:
    """Ask the API server; its failures as one line."""
    from runners.cluster.api import ApiError
    from runners.cluster.connect import explained

    try:
        return question()
    except ApiError as error:
        raise explained(error, connection, "check the cluster") from error


def _show(checks: "list[Check]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "checked", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        # As text: a message may hold brackets.
        table.add_row(_MARKS[check.status], check.what, Text(check.text))
    Console(width=None if sys.stdout.isatty() else 110).print(table)


@click.command()
@_CONTEXT
@_NAMESPACE
@click.option("--run", metavar="RUN", help="Only this run's objects, however old they are.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def gc(context: str | None, namespace: str | None, run: str | None, yes: bool) -> int:
    """Remove what killed runs left in a namespace: objects with our label, past their time."""
    from runners.cluster.connect import connect
    from runners.cluster.gc import age_text, orphans

    connection = connect(context, namespace)
    with closing(connection):
        found: list[Orphan] = _asked(connection, lambda: orphans(connection))
        place = f"namespace {connection.namespace}"
        chosen = [each for each in found if (each.run == run if run else each.expired)]
        for each in found:
            left = each.expires_in_s
            state = (
                "left behind" if left is None or left <= 0 else f"its time: {age_text(left)} more"
            )
            click.echo(
                f"{each.run}  {age_text(each.age_s)} old, {state}: {', '.join(each.objects)}"
            )
        if not chosen:
            rest = f"; {len(found)} may be running: remove one with --run RUN" if found else ""
            click.echo(f"nothing to remove in {place}{f' of run {run}' if run else ''}{rest}")
            return Exit.DONE
        names = ", ".join(each.run for each in chosen)
        if not yes and not (sys.stdin.isatty() and click.confirm(f"remove {names}?")):
            click.echo(f"not removed: {names}; add --yes")
            return Exit.DONE
        return _collect(connection, [each.run for each in chosen])


def _collect(connection: "Connection", runs: list[str]) -> int:
    from runners.cluster.teardown import remove, told_leftovers

    problems = []
    for run in runs:
        left = _asked(connection, lambda run=run: remove(connection, run))
        if left:
            problems.append(told_leftovers(connection, run, left))
        else:
            click.echo(f"removed {run}")
    if problems:
        raise TargetError("; ".join(problems))
    return Exit.DONE


def server_dry_run(loaded: "Loaded", as_json: bool) -> int:
    """Everything up to creation, by the API server itself: defaults, schema, admission, quota."""
    from runners.cluster.apply import apply, refuse_foreign
    from runners.cluster.connect import connect
    from runners.cluster.deploy import fitted
    from runners.cluster.preflight import check_cluster, require
    from runners.render import render, to_yaml

    serving = loaded.profile.serving
    connection = connect(serving.context, serving.namespace)
    with closing(connection):
        objects = render(fitted(connection, loaded.profile, "dry-run"))
        require(_asked(connection, lambda: check_cluster(connection, objects)))
        refuse_foreign(connection, objects.values(), "")
        for each in objects.values():
            apply(connection, each, dry_run=True)
    if as_json:
        print(json.dumps({"accepted": True, "manifests": objects}))
        return Exit.DONE
    for finding in loaded.findings:
        print(f"# {finding.severity}: {finding.line()}")
    print(f"# accepted by {connection.server} ({connection.place()}); nothing was created")
    print("---\n".join(to_yaml(each) for each in objects.values()), end="")
    return Exit.DONE
