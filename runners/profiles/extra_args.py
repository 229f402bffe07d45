"""`engine.extra_engine_args`: a file of arguments, laid below engine.args as it is read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runners.checks.finding import Finding
from runners.errors import UsageError
from runners.profiles.document import Node, node_of
from runners.profiles.error import rejected
from runners.profiles.inherit import merge, nested, set_at

if TYPE_CHECKING:
    from runners.convert.extra_arguments import Extra

PATH = ("engine", "extra_engine_args")


@dataclass(frozen=True)
class Served:
    """What the resolved profile serves: engine, its version, GPU type, and the model's URI."""

    engine: str
    version: str
    gpu: str | None
    model: str | None


def with_extra_arguments(tree: Node, served: Served) -> tuple[Node, list[Finding]]:
    """The document with the file's arguments below its own engine.args, the path taken out.

    Raises ProfileError for a file that cannot be read or converted.
    """
    node, section = tree.get(*PATH), tree.get("engine")
    if node is None or section is None:
        return tree, []
    rest = {key: value for key, value in section.mapping.items() if key != PATH[1]}
    tree = replace(tree, value={**tree.mapping, "engine": replace(section, value=rest)})
    if node.value is None:
        return tree, []
    extra = _read(node, served, tree.get("engine", "args"))
    args = nested(("engine", "args"), _placed(node_of(extra.args), node))
    return merge(args, tree), list(extra.findings)


def over_arguments(tree: Node, node: Node, served: Served) -> tuple[Node, list[Finding]]:
    """The file that a flag names: its arguments beat the profile's, each as a whole."""
    extra = _read(node, served, None)
    for name, value in extra.args.items():
        tree = set_at(tree, ("engine", "args", name), node_of(value, node.flag))
    return tree, list(extra.findings)


def _read(node: Node, served: Served, given: Node | None) -> "Extra":
    from runners.convert.extra_arguments import KEY, RULE, extra_arguments, target_of

    where = node.key_where or node.where
    if not isinstance(node.value, str):
        raise rejected(RULE, "takes the path of a YAML file.", key=KEY, where=where)
    folder = Path(node.where.file).absolute().parent if node.where else Path.cwd()
    beside = folder / Path(node.value).expanduser()
    path = beside if beside.is_file() else Path(node.value).expanduser()
    target = target_of(served.version, served.gpu, served.model, folder)
    explicit = given.plain() if given is not None and given.mapping else {}
    try:
        return extra_arguments(path, served.engine, target, explicit, where)
    except UsageError as error:
        raise rejected(RULE, f"{error}.", key=KEY, where=where) from error


def _placed(args: Node, node: Node) -> Node:
    """Findings about a converted argument point at the line that names the file."""
    entries = {
        name: replace(value, where=node.where, key_where=node.key_where)
        for name, value in args.mapping.items()
    }
    return replace(args, value=entries, where=node.where, key_where=node.key_where)
