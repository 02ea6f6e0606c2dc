"""The plan of the house: floors, and no circle. Imports are read from the source, and nothing is run."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = (
    ("_base",),
    ("_kernels", "protocols", "schedules"),
    ("assign", "measure", "reference"),
    ("rules", "streams"),
    ("simulation",),
    ("sweeps", "theory"),
    ("diagnosis",),
    ("claims", "cluster", "testing", "nn"),
    ("cli",),
    ("simulations",),
    ("paper_figures",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules():
    """Dotted names of all files, with their paths."""
    paths = [path for part in ("vqtheory", "simulations", "paper_figures") for path in (ROOT / part).rglob("*.py")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return {name: path for name, path in names.items() if not name.endswith("__main__")}


def imported(name, path, known):
    """The modules of the house that a file imports, each with whether it does so inside a function."""
    tree = ast.parse(path.read_text("utf-8"))
    inside = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef)
        for node in ast.walk(outer)
        if node is not outer
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            wanted = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in wanted:
            parts = target.split(".")
            found = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), None)
            if found is not None and found != name:
                yield found, node in inside


def arrows():
    known = modules()
    return [(name, *arrow) for name, path in known.items() for arrow in imported(name, path, known)]


def room_of(name):
    parts = name.split(".")
    return parts[1] if parts[0] == "vqtheory" and len(parts) > 1 else parts[0]


def test_a_room_imports_from_lower_floors_and_from_itself():
    rooms = {(room_of(one), room_of(other)) for one, other, _ in arrows()} - {
        ("simulations", "vqtheory"),
        ("cli", "vqtheory"),
    }
    up = {(one, other) for one, other in rooms if one != other and other != "vqtheory" and FLOOR[other] > FLOOR[one]}
    assert not up


def test_no_file_is_imported_by_what_it_imports():
    graph: dict[str, set[str]] = {}
    for one, other, _ in arrows():
        graph.setdefault(one, set()).add(other)
    faces = {name for name, path in modules().items() if path.name == "__init__.py"}

    def circle(path):
        for after in graph.get(path[-1], set()) - faces:
            if after in path:
                return [*path[path.index(after) :], after]
            if after not in cleared and (found := circle([*path, after])):
                return found
        cleared.add(path[-1])
        return None

    cleared: set[str] = set()
    assert [found for name in graph if name not in cleared and (found := circle([name]))] == []


def test_imports_inside_functions_keep_something_light():
    """The command line starts without what a command needs, streams without numba and scipy, figures without torch."""
    light = ("vqtheory.cli", "vqtheory.streams", "simulations", "paper_figures")
    inside = {(one, other) for one, other, within in arrows() if within and not one.startswith(light)}
    assert inside == set()


def test_no_private_file_at_the_top():
    top = [path.name for path in (ROOT / "vqtheory").glob("_*.py")]
    assert sorted(top) == ["__init__.py", "__main__.py"]


def test_every_room_has_one_floor():
    rooms = [room for floor in FLOORS for room in floor]
    assert len(rooms) == len(set(rooms))
    assert {room_of(name) for name in modules()} - {"vqtheory"} == set(rooms)
