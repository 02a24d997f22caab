"""Measure the code against the style targets of CONTRIBUTING.md; fail when one is missed.

Lengths are in lines with docstrings; generated code is left out. A public name has no leading
underscore and sits in no private class or function. Linter pragmas are not counted as comments.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("services", "cli", "scripts")
TESTS = ("tests",)

FUNCTION_P90_MAX = 30
FUNCTION_MAX = 70
MODULE_MAX = 500
MODULE_MEDIAN_RANGE = (50, 300)
COMMENT_RANGE = (2.0, 4.0)

PRAGMA = re.compile(r"#\s*(noqa|type:|pragma:|!|-\*-|ruff:|mypy:)")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Named:
    """Something that a finding can point at."""

    place: str
    lines: int
    is_typed: bool = True
    is_public: bool = False
    has_docstring: bool = True


@dataclass(frozen=True, slots=True)
class Module:
    """What one source file holds."""

    path: str
    lines: int
    has_docstring: bool
    functions: tuple[Named, ...]
    classes: tuple[Named, ...]
    comment_count: int
    print_count: int
    thawed_dataclasses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: a measured value and whether it meets its target."""

    name: str
    value: str
    target: str
    is_met: bool
    offenders: tuple[str, ...] = ()


def is_typed(function: Function) -> bool:
    """Say whether every argument and the result are annotated."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    rest = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    untyped = [
        argument.arg
        for index, argument in enumerate([*named, *rest])
        if argument.annotation is None and not (index == 0 and argument.arg in {"self", "cls"})
    ]
    return function.returns is not None and not untyped


def is_overload(function: Function) -> bool:
    """Say whether this is a signature only, or sets a property that its getter documents."""
    names = {ast.unparse(decorator).split(".")[-1] for decorator in function.decorator_list}
    return bool(names & {"overload", "setter"})


def walk(node: ast.AST, is_public: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Yield classes and functions with whether they are public; what sits in a function is not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            public = is_public and not child.name.startswith("_")
            yield child, public
            yield from walk(child, public and isinstance(child, ast.ClassDef))
        else:
            yield from walk(child, is_public)


def named(path: str, node: ast.ClassDef | Function, is_public: bool) -> Named:
    """Describe one class or function."""
    return Named(
        place=f"{path}:{node.lineno} {node.name}",
        lines=(node.end_lineno or node.lineno) - node.lineno + 1,
        is_typed=isinstance(node, ast.ClassDef) or is_typed(node),
        is_public=is_public,
        has_docstring=ast.get_docstring(node) is not None,
    )


def comments_by_line(source: str) -> dict[int, str]:
    """Find the comments that are not linter pragmas."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string
        for token in tokens
        if token.type == tokenize.COMMENT and not PRAGMA.match(token.string)
    }


def is_thawed(node: ast.AST, comments: dict[int, str]) -> bool:
    """Say whether this is a dataclass that can change with no comment or docstring to say why."""
    if not isinstance(node, ast.ClassDef) or "mutable" in (ast.get_docstring(node) or "").lower():
        return False
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    marks = [mark for mark in marks if re.match(r"(dataclasses\.)?dataclass\b", mark)]
    if not marks or "frozen=True" in marks[0]:
        return False
    first = node.decorator_list[0].lineno
    # Above the decorators, on them, between them and the class, or on its line.
    return not any(line in comments for line in range(first - 1, node.lineno + 1))


def measure(path: Path) -> Module:
    """Read one source file."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    name = str(path.relative_to(ROOT))
    comments = comments_by_line(source)
    nodes = list(walk(tree))
    functions = [
        named(name, node, public)
        for node, public in nodes
        if isinstance(node, Function) and not is_overload(node)
    ]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return Module(
        path=name,
        lines=len(source.splitlines()),
        has_docstring=ast.get_docstring(tree) is not None,
        functions=tuple(functions),
        classes=tuple(named(name, n, p) for n, p in nodes if isinstance(n, ast.ClassDef)),
        comment_count=len(comments),
        print_count=sum(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls),
        thawed_dataclasses=tuple(
            f"{name}:{node.lineno}"
            for node, _ in nodes
            if isinstance(node, ast.ClassDef) and is_thawed(node, comments)
        ),
    )


def modules_below(folders: Sequence[str]) -> list[Module]:
    """Measure every module of the folders that is not generated."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [measure(path) for path in paths if "_pb2" not in path.name]


def share(name: str, parts: Sequence[tuple[str, bool]]) -> Figure:
    """Make the row of a share that must be whole."""
    missing = tuple(place for place, has in parts if not has)
    value = 100.0 * (len(parts) - len(missing)) / len(parts) if parts else 100.0
    return Figure(name, f"{value:.1f} %", "100 %", not missing, missing)


def lengths(modules: Sequence[Module]) -> list[Figure]:
    """Make the rows about how long modules and functions are."""
    functions = [function for module in modules for function in module.functions]
    sizes = sorted(function.lines for function in functions)
    # Nearest rank, not interpolated: the figure is the length of a real function.
    p90 = sizes[min(len(sizes) - 1, int(len(sizes) * 0.9))]
    long_functions = tuple(
        f"{function.place} ({function.lines})"
        for function in functions
        if function.lines > FUNCTION_MAX
    )
    # Package files are short by nature; the middle is asked of modules that hold code.
    bodies = [module.lines for module in modules if module.functions or module.classes]
    middle = statistics.median(bodies)
    longest = max(module.lines for module in modules)
    long_modules = tuple(f"{m.path} ({m.lines})" for m in modules if m.lines > MODULE_MAX)
    low, high = MODULE_MEDIAN_RANGE
    return [
        Figure("function length, median", f"{statistics.median(sizes):g}", "", is_met=True),
        Figure("function length, p90", f"{p90}", f"<= {FUNCTION_P90_MAX}", p90 <= FUNCTION_P90_MAX),
        Figure(
            "function length, max",
            f"{sizes[-1]}",
            f"<= {FUNCTION_MAX}",
            not long_functions,
            long_functions,
        ),
        Figure("module length, median", f"{middle:g}", f"{low} to {high}", low <= middle <= high),
        Figure(
            "module length, max", f"{longest}", f"<= {MODULE_MAX}", not long_modules, long_modules
        ),
    ]


def figures(modules: Sequence[Module]) -> list[Figure]:
    """Make the table of one part of the tree."""
    functions = [function for module in modules for function in module.functions]
    public = [function for function in functions if function.is_public]
    classes = [c for module in modules for c in module.classes if c.is_public]
    thawed = tuple(place for module in modules for place in module.thawed_dataclasses)
    printing = tuple(module.path for module in modules if module.print_count)
    return [
        Figure("modules", f"{len(modules)}", "", is_met=True),
        Figure("lines", f"{sum(module.lines for module in modules)}", "", is_met=True),
        share("typed functions", [(f.place, f.is_typed) for f in functions]),
        *lengths(modules),
        share("docstrings, modules", [(module.path, module.has_docstring) for module in modules]),
        share("docstrings, public classes", [(c.place, c.has_docstring) for c in classes]),
        share("docstrings, public functions", [(f.place, f.has_docstring) for f in public]),
        Figure("dataclasses not frozen", f"{len(thawed)}", "0, or a reason", not thawed, thawed),
        Figure("modules that print", f"{len(printing)}", "0", not printing, printing),
    ]


def comment_figure(modules: Sequence[Module]) -> Figure:
    """Make the row about comments, over code that has been written for the product."""
    lines = sum(module.lines for module in modules)
    density = 100.0 * sum(module.comment_count for module in modules) / lines
    low, high = COMMENT_RANGE
    return Figure(
        "comments per 100 lines", f"{density:.1f}", f"{low:g} to {high:g}", low <= density <= high
    )


def show(title: str, rows: Sequence[Figure]) -> None:
    """Print one table, and the places behind every missed target."""
    sys.stdout.write(f"{title}\n")
    for row in rows:
        verdict = "" if row.is_met else "  MISSED"
        sys.stdout.write(f"  {row.name:<30}{row.value:>10}  {row.target:<16}{verdict}\n")
    for row in rows:
        if not row.is_met:
            sys.stdout.writelines(f"    {row.name}: {place}\n" for place in row.offenders)


def main() -> int:
    """Print the figures of product and tests; 1 when a target is missed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    # Apart: tests explain themselves by names and docstrings, and are asked for no comments.
    product, tests = modules_below(PRODUCT), modules_below(TESTS)
    tables = {
        ", ".join(PRODUCT): [*figures(product), comment_figure(product)],
        ", ".join(TESTS): figures(tests),
    }
    for title, rows in tables.items():
        show(title, rows)
    return 0 if all(row.is_met for rows in tables.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
