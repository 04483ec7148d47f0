"""What is imported when: quick starts, a lean hot path, and rooms that import only downwards."""

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import headrace

SOURCE = Path(headrace.__file__).parent
HEAVY = {
    "numpy",
    "polars",
    "sqlalchemy",
    "dbos",
    "scipy",
    "deltalake",
    "rich",
    "starlette",
    "uvicorn",
    "jinja2",
    "cloudpickle",
    "alembic",
    "onnx",
    "onnxruntime",
}
SCORING = {
    "click",
    "rich",
    "Pygments",
    "markdown-it-py",
    "mdurl",
    "msgspec",
    "numpy",
    "onnxruntime",
    "uvicorn",
    "uvloop",
    "httptools",
    "h11",
    "prometheus-client",
    "prometheus_client",
    "headrace",
    "typing_extensions",
}


def modules_after(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def top(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def test_importing_headrace_loads_nothing_heavy():
    assert not top(modules_after("import headrace")) & (HEAVY | {"msgspec", "click"})


def test_help_loads_click_alone():
    loaded = top(
        modules_after(
            "from headrace.entrypoints.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
        )
    )
    assert "click" in loaded
    assert not loaded & HEAVY


def test_a_scoring_process_needs_few_distributions_and_little_disk():
    loaded = top(modules_after("import headrace.entrypoints.cli.serve") - modules_after("pass"))
    owners = metadata.packages_distributions()
    needed = {name for module in loaded for name in owners.get(module, [])}
    assert needed <= SCORING, needed - SCORING
    assert len(needed) < 15
    size = sum(
        Path(f.locate()).stat().st_size
        for n in needed - {"headrace"}
        for f in metadata.files(n) or ()
        if Path(f.locate()).is_file()
    )
    assert size < 200e6


def test_the_core_install_stays_small():
    """Every distribution that `pip install headrace` brings, by walking the requirements."""
    from packaging.requirements import Requirement

    found, waiting = set(), ["headrace"]
    while waiting:
        name = waiting.pop()
        if name.lower() in found:
            continue
        found.add(name.lower())
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            extras = {"binary"} if name.lower() == "psycopg" else {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(requirement.name)
    assert len(found) < 55, sorted(found)


def test_no_import_of_our_own_stands_inside_a_function():
    inside = []
    for path in SOURCE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    names = (
                        [node.module or ""]
                        if isinstance(node, ast.ImportFrom)
                        else [a.name for a in node.names]
                        if isinstance(node, ast.Import)
                        else []
                    )
                    inside += [f"{path.name}:{node.lineno}" for name in names if name.split(".")[0] == "headrace"]
    assert inside == []


def test_rooms_import_only_what_stands_below_them():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=SOURCE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_files_and_functions_stay_small():
    long = []
    for path in SOURCE.rglob("*.py"):
        if "migrations" in path.parts:
            continue
        text = path.read_text()
        lines = sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))
        if lines > 400:
            long.append(f"{path.name} {lines}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 > 60:
                long.append(f"{path.name}:{node.lineno} {node.name}")
    assert long == []


def test_only_settings_reads_the_environment():
    readers = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "getenv")
        and "environ" in ast.unparse(node.func)
    }
    assert readers <= {"settings.py"}


def test_every_room_says_why_it_exists():
    for path in SOURCE.rglob("__init__.py"):
        if "examples" not in path.parts:
            assert ast.get_docstring(ast.parse(path.read_text())), path
