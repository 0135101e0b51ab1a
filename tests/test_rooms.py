"""The house's rules, held by reading the source: who may import whom, where, and what stays out of sight.

The table is that of docs/architecture.md. A new module at the top of the package is a new room and
wants a row here.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import simhw

PACKAGE = Path(simhw.__file__).parent

FOR_ALL = {"errors", "shipped", "files", "yamlfile"}
EVERY_ROOM_BUT_CLI = {
    "accelerator", "bench", "comparison", "components", "core", "dataflows", "description", "energy", "fast",
    "imports", "mapping", "papers", "parameters", "play", "reference", "reports", "result", "shapes",
    "stepped", "stream", "sweeps", "technology", "trace", "training", "transforms", "tuning", "workload",
}  # fmt: skip
ABOVE_TUNING = EVERY_ROOM_BUT_CLI - {"training", "tuning", "reports", "sweeps", "papers", "bench"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "shapes": set(),
    "stream": set(),
    "shipped": set(),
    "files": set(),
    "yamlfile": set(),
    "fast": set(),
    "core": {"shapes", "stream"},
    "reference": {"shapes", "stream"},
    "trace": {"shapes", "stream"},
    "workload": {"shapes", "stream", "trace", "reference", "parameters"},
    "imports": {"shapes", "stream", "trace", "reference", "workload"},
    "transforms": {"core", "shapes", "fast", "reference", "trace"},
    "parameters": {"core", "reference", "transforms"},
    "components": {"core", "fast"},
    "mapping": {"shapes", "core"},
    "play": {"core", "fast"},
    "dataflows": {"shapes", "core", "mapping", "fast", "play"},
    "stepped": {"shapes", "core", "components"},
    "technology": set(),
    "energy": {"technology"},
    "description": {"core", "components", "dataflows", "parameters", "stepped", "transforms", "technology"},
    "result": set(),
    "comparison": {"result"},
    "accelerator": {
        "shapes", "core", "description", "trace", "reference", "transforms", "parameters", "result", "energy",
        "technology", "play", "stream",
    },
    "training": {"shapes", "fast", "reference", "trace", "workload", "transforms", "parameters"},
    "tuning": ABOVE_TUNING,
    "reports": {"result", "comparison", "energy"},
    "sweeps": EVERY_ROOM_BUT_CLI - {"reports", "training", "papers", "bench"},
    "papers": EVERY_ROOM_BUT_CLI,
    "bench": EVERY_ROOM_BUT_CLI,
    "cli": EVERY_ROOM_BUT_CLI,
    "__init__": EVERY_ROOM_BUT_CLI,
    "__main__": {"cli"},
}  # fmt: skip
IMPORT_LAZILY = {"cli", "__init__"}

# what a room may use from outside the standard library, where the design says so
MAY_USE: dict[str, set[str]] = {
    "errors": set(),
    "shapes": set(),
    "shipped": set(),
    "files": set(),
    "yamlfile": {"yaml"},
    "fast": {"numpy", "numba", "llvmlite"},
    "reference": {"numpy"},
    "stepped": {"numpy", "simpy"},
}
ONLY_IN = {"matplotlib": {"reports"}, "mpl_toolkits": {"reports"}, "numba": {"fast"}, "llvmlite": {"fast"}}

REGISTRIES = {
    ("simhw.core.component", "_KINDS"),
    ("simhw.core.dataflow", "_DATAFLOWS"),
    ("simhw.core.dataflow", "_TWINS"),
    ("simhw.core.transform", "_TRANSFORMS"),
    ("simhw.core.parameters", "_PARAMETERS"),
}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its room and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"


@dataclass(frozen=True)
class Import:
    """One name taken from somewhere: `simhw.core.spec`, `numpy`."""

    target: str
    line: int
    inside_function: bool


def modules(package: Path = PACKAGE) -> list[Module]:
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = ["simhw", *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        found.append(Module(".".join(parts), path, ast.parse(path.read_text("utf-8"))))
    return found


MODULES = modules()
NAMES = {module.name for module in MODULES}
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def imports_of(module: Module, names: set[str]) -> Iterator[Import]:
    """Yield all that a module imports; `from simhw import core` counts as simhw.core."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

    def visit(node: ast.AST, inside: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, inside)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: wants the whole name, not dots"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(full if full in names else str(node.module), node.lineno, inside)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # `import simhw` gives everything that is loaded: what is taken of it counts
            full = f"simhw.{node.attr}"
            if node.value.id == "simhw" and full in names:
                yield Import(full, node.lineno, False)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside or isinstance(node, functions))

    yield from visit(module.tree, False)


def room_of(target: str) -> str | None:
    """Return the room that an import enters, None if it is not of this house."""
    parts = target.split(".")
    if parts[0] != "simhw":
        return None
    return parts[1] if len(parts) > 1 else "__init__"


def trespasses(module: Module, names: set[str]) -> list[str]:
    """Return the imports of a module that the table does not allow."""
    allowed = MAY_IMPORT[module.room] | FOR_ALL | {module.room}
    faults = []
    for found in imports_of(module, names):
        room = room_of(found.target)
        if room == "__init__" and module.room != "__init__":
            continue  # `import simhw`, for its version; what is taken of it is looked at by itself
        if room is not None and room not in allowed:
            faults.append(f"{module.path}:{found.line}: {module.room} may not import {found.target}")
        if room is not None and found.inside_function and module.room not in IMPORT_LAZILY:
            faults.append(f"{module.path}:{found.line}: only cli and __init__ import inside functions")
    return faults


@every_module
def test_every_module_is_in_a_room_of_the_table(module):
    assert module.room in MAY_IMPORT, f"{module.name}: no such room; give it a row"


@every_module
def test_rooms_import_only_what_the_table_allows(module):
    assert trespasses(module, NAMES) == []


@every_module
def test_rooms_use_only_the_packages_that_are_theirs(module):
    for found in imports_of(module, NAMES):
        package = found.target.split(".")[0]
        if package == "simhw" or package in sys.stdlib_module_names:
            continue
        assert package in MAY_USE.get(module.room, {package}), f"{module.path}:{found.line}: {package}"
        assert module.room in ONLY_IN.get(package, {module.room}), f"{module.path}:{found.line}: {package}"


@every_module
def test_modules_are_found_by_their_names_and_not_by_text_built_elsewhere(module):
    for call in ast.walk(module.tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("import_module"):
            own = ast.unparse(call.args[0]).startswith("f'{__name__}.")  # a package loading its own files
            assert own or module.room in IMPORT_LAZILY, f"{module.path}:{call.lineno}"


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Return what is left when everything that depends on nothing left is taken away, again and again."""
    left = {name: set(needs) for name, needs in graph.items()}
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    return sorted(left)


def test_no_module_needs_itself_by_way_of_others():
    graph = {module.name: {i.target for i in imports_of(module, NAMES)} - {module.name} for module in MODULES}
    graph["simhw"] = set()  # it imports when it is asked
    assert circles(graph) == []


def test_no_room_needs_itself_by_way_of_others():
    graph: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for module in MODULES:
        rooms = {room_of(found.target) for found in imports_of(module, NAMES)}
        graph[module.room] |= {room for room in rooms if room} - {module.room, "__init__"}
    assert circles(graph) == []


@every_module
def test_only_the_cli_prints(module):
    if module.room == "cli":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) != "print", f"{module.path}:{node.lineno}"
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in ("sys.stdout", "sys.stderr"), f"{module.path}:{node.lineno}"


@every_module
def test_every_module_says_what_it_is_for(module):
    if module.path.stat().st_size:
        assert ast.get_docstring(module.tree), f"{module.path}: has no docstring"


CHANGES = {
    "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "sort",
    "update",
}  # fmt: skip


def changed_at_module_level(module: Module) -> list[str]:
    """Return the places where a function changes something that belongs to the module."""
    owned = {
        target.id
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    owned -= {name for where, name in REGISTRIES if where == module.name}
    faults = []
    for function in ast.walk(module.tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        arguments = {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
        local = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        for node in ast.walk(function):
            name: ast.AST | None = None
            if isinstance(node, ast.Global):
                faults.append(f"{module.path}:{node.lineno}: global {', '.join(node.names)}")
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                name = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.value if node.func.attr in CHANGES else None
            if isinstance(name, ast.Name) and name.id in owned - arguments - local:
                faults.append(f"{module.path}:{name.lineno}: changes {name.id}")
    return faults


@every_module
def test_nothing_at_module_level_ever_changes_but_the_registries(module):
    assert changed_at_module_level(module) == []


# the rules catch what they are there for


def written(tmp_path: Path, room: str, source: str) -> Module:
    path = tmp_path / f"{room}.py"
    path.write_text(source)
    return Module(f"simhw.{room}", path, ast.parse(source))


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("stepped", "from simhw.fast import conv_accumulate"),
        ("stepped", "from simhw import fast"),
        ("stepped", "import simhw.mapping.row_stationary"),
        ("stepped", "import simhw\nsimhw.reference.layers"),
        ("reference", "from simhw.fast.conv import conv_accumulate"),
        ("dataflows", "from simhw.components.mac_unit import MacUnit"),
        ("core", "if True:\n    from simhw import trace"),
        ("result", "from simhw.accelerator import simulate"),
        ("reports", "def f():\n    from simhw.result import Result"),
        ("papers", "from simhw.cli import main"),
    ],
)
def test_an_import_that_the_table_does_not_allow_would_be_found_out(tmp_path, room, source):
    assert trespasses(written(tmp_path, room, source), NAMES)


@pytest.mark.parametrize(
    "source",
    [
        "SEEN = {}\ndef f(x):\n    SEEN[x] = 1",
        "SEEN: list[int] = []\ndef f(x):\n    SEEN.append(x)",
        "SEEN = 0\ndef f():\n    global SEEN\n    SEEN = 1",
    ],
)
def test_state_at_module_level_would_be_found_out(tmp_path, source):
    assert changed_at_module_level(written(tmp_path, "core", source))


def test_a_circle_would_be_found_out():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


# what stays light


def loaded_by(statement: str) -> set[str]:
    """Return the packages that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


HEAVY = {"numpy", "numba", "pydantic", "simpy", "matplotlib", "safetensors", "rich", "yaml"}


def test_importing_simhw_loads_nothing_heavy():
    assert loaded_by("import simhw") & (HEAVY | {"typer"}) == set()


@pytest.mark.skipif(not any((PACKAGE / "cli").glob("*.py")), reason="there is no command yet")
def test_importing_the_command_loads_nothing_heavy():
    assert loaded_by("import simhw.cli") & {"numpy", "numba", "pydantic", "simpy", "matplotlib"} == set()


def test_the_frame_names_no_machine_and_no_transform():
    """Whatever one machine brings stands in its own files: a newcomer changes none of these."""
    import simhw.description.checking  # registers what ships
    from simhw import core, papers, shipped

    assert simhw.description.checking.REGISTERED
    own = {*core.dataflow_kinds(), *core.twin_kinds(), *core.transform_kinds()}
    own |= {*shipped.names("accelerators", ".yaml"), *papers.names()}
    assert {"row_stationary", "sign_order", "snapea", "tolba"} <= own
    frame = [
        *(PACKAGE / "accelerator").rglob("*.py"),
        *(PACKAGE / "core").rglob("*.py"),
        PACKAGE / "result.py",
    ]
    frame += [PACKAGE / "play.py", *(PACKAGE / "cli").rglob("*.py")]
    said = [
        f"{file.relative_to(PACKAGE)}:{number}: {name}"
        for file in frame
        for number, line in enumerate(file.read_text("utf-8").lower().splitlines(), 1)
        for name in own
        if name in line
    ]
    assert said == []


def test_no_source_file_is_longer_than_six_hundred_lines():
    long = {
        str(file.relative_to(PACKAGE)): file.read_text("utf-8").count("\n") for file in PACKAGE.rglob("*.py")
    }
    assert {name: lines for name, lines in long.items() if lines > 600} == {}
