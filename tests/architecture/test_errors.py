"""Every error has a place in the table and says what to do."""

import ast
from pathlib import Path

import headrace
from headrace.entrypoints.outcomes import OUTCOMES
from headrace.kernel import errors

SOURCE = Path(headrace.__file__).parent


def descendants(cls):
    return {d for child in cls.__subclasses__() for d in (child, *descendants(child))}


def test_every_kind_is_in_the_table_and_no_other():
    assert {cls.kind for cls in descendants(errors.HeadraceError)} == set(OUTCOMES)


def test_kinds_are_distinct_and_all_stand_in_one_file():
    classes = descendants(errors.HeadraceError)
    assert len({cls.kind for cls in classes}) == len(classes)
    assert {cls.__module__ for cls in classes} == {"headrace.kernel.errors"}


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = errors.__doc__
    for cls in descendants(errors.HeadraceError):
        assert f" {cls.__name__} " in drawn.replace("─", " "), cls


def test_every_raise_says_what_to_do():
    names = {cls.__name__ for cls in descendants(errors.HeadraceError)}
    silent = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                todo = next((k.value for k in node.keywords if k.arg == "todo"), None)
                if todo is None or (isinstance(todo, ast.Constant) and not todo.value):
                    silent.append(f"{path.name}:{node.lineno}")
    assert silent == []


def test_an_error_travels_whole():
    import pickle

    error = errors.SchemaViolation("what", todo="do", row=3, field="f", expected="e")
    assert pickle.loads(pickle.dumps(error)).document() == error.document()
    assert str(error) == "what Expected: e. do"


def test_exit_codes_are_those_of_the_design():
    assert {o.exit_code for o in OUTCOMES.values()} == {1, 2, 3, 4, 5, 70}
    assert all(400 <= o.status < 600 for o in OUTCOMES.values())
