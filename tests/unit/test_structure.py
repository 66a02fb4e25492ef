"""The house stays in order: short functions, small folders, nothing written twice.

That no files import one another in a circle is a contract of import-linter (``pyproject.toml``); that a
format has one home stands in ``tests/media/picture/test_formats.py``.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "xlsr_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))

LONGEST_FUNCTION = 60
MOST_FILES = 15
#: So many lines of code in a row stand in one place only.
RUN = 10
#: Tokens that are no code.
BLANK = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
)


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def length(function: ast.FunctionDef | ast.AsyncFunctionDef, *, command: bool) -> int:
    """Lines of a function; of a command those behind its signature, which declares its options."""
    first = function.body[0].lineno if command else function.lineno
    assert function.end_lineno is not None
    return function.end_lineno - first + 1


def long_functions(source: str, *, command: bool = False) -> list[tuple[str, int]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    lengths = [(function.name, length(function, command=command)) for function in functions]
    return [(name, lines) for name, lines in lengths if lines > LONGEST_FUNCTION]


def normal_lines(source: str) -> list[tuple[int, str]]:
    """Number and tokens of each line of code, names left out; no comments, no imports."""
    imports = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in BLANK or token.start[0] in imports:
            continue
        is_name = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        lines[token.start[0]].append("name" if is_name else token.string)
    return [(number, " ".join(tokens)) for number, tokens in lines.items()]


def doubles(sources: dict[str, str]) -> list[set[str]]:
    """The places of runs of lines that stand more than once. A run that overlaps itself is a table."""
    found: dict[tuple[str, ...], list[tuple[str, int, int]]] = defaultdict(list)
    for name, source in sources.items():
        lines = normal_lines(source)
        for start in range(len(lines) - RUN + 1):
            run = tuple(text for _, text in lines[start : start + RUN])
            found[run].append((name, start, lines[start][0]))
    return [
        {f"{name}:{number}" for name, _, number in places}
        for places in found.values()
        if any(name != places[0][0] or start - places[0][1] >= RUN for name, start, _ in places)
    ]


def test_functions_are_short() -> None:
    found = {
        place(path): long_functions(path.read_text("utf-8"), command=place(path).startswith("cli/commands/"))
        for path in MODULES
    }
    assert {path: functions for path, functions in found.items() if functions} == {}


def test_folders_are_small() -> None:
    folders = {path.parent for path in MODULES}
    files = {place(folder): sum(path.is_file() for path in folder.iterdir()) for folder in folders}
    assert {folder: count for folder, count in files.items() if count > MOST_FILES} == {}


def test_nothing_is_written_twice() -> None:
    assert doubles({place(path): path.read_text("utf-8") for path in MODULES}) == []


# The tests can fail.


def test_a_long_function_is_found() -> None:
    body = "    x = 1\n" * LONGEST_FUNCTION
    assert long_functions(f"def long():\n{body}") == [("long", LONGEST_FUNCTION + 1)]
    assert long_functions(f"def command():\n{body}", command=True) == []


def test_a_double_is_found_under_other_names() -> None:
    run = [f"{{name}} = {{name}} + {number}" for number in range(RUN)]
    first, second = ("\n".join(run).replace("{name}", name) for name in ("one", "two"))
    assert doubles({"a": first, "b": f"import os\n{second}"}) == [{"a:1", "b:2"}]
    assert doubles({"a": first + "\n\n# again\n" + second}) == [{"a:1", f"a:{RUN + 3}"}]
    assert doubles({"a": first, "b": second.replace("+ 3", "- 3")}) == []
    assert doubles({"a": "x = 1\n" * (RUN + 5)}) == []
