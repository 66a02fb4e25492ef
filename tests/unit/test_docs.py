"""The documentation says what the code does: options, exit codes, notices, links and commands."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer
import typer.main

from xlsr_cli.cli.app import app
from xlsr_cli.cli.help import arguments_of
from xlsr_cli.errors import ExitCode
from xlsr_cli.media.picture.metadata import STRIPPED

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "models" / "MODEL_CARD.md"])


def fences(page: Path, *languages: str) -> Iterator[str]:
    """The contents of the fenced code blocks in one of ``languages``."""
    text = page.read_text("utf-8")
    for match in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if match[1] in languages:
            yield match[2]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every ``xlsr …`` in a page's shell blocks, from its name to the next shell operator."""
    for block in fences(page, "bash", "sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=";|&<>()")
            lexer.whitespace_split = True
            lexer.commenters = "#"
            words: list[str] = []
            for word in [*lexer, ";"]:
                if re.fullmatch(r"[;|&<>()]+", word):
                    if words:
                        yield words
                    words = []
                elif words or re.search(r"(^|/)xlsr$", word):
                    words.append(word)


def the_command() -> Any:
    """The command line as Typer has built it."""
    return typer.main.get_command(app)


def children(command: Any) -> dict[str, Any]:
    if not hasattr(command, "list_commands"):
        return {}
    context = typer.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {name: child for name, child in found.items() if child is not None}


@pytest.mark.parametrize("maker", ["make_reference", "make_man"])
def test_pages_made_from_the_code_say_what_it_says(maker: str) -> None:
    spec = importlib.util.spec_from_file_location(maker, DOCS / f"{maker}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.render() == module.PAGE.read_text("utf-8"), f"run: python docs/{maker}.py"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_page_is_what_groff_understands() -> None:
    command = ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", str(DOCS / "xlsr.1")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "xlsr upscale [OPTIONS] INPUT... [OUTPUT]" in re.sub(".\b", "", done.stdout)  # overstruck is bold


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{path} {parameter.name}"
        for path, command in walk(the_command(), "xlsr")
        for parameter in [*arguments_of(command), *options_of(command)]
        if not getattr(parameter, "hidden", False) and not parameter.help
    ]
    assert not silent


def options_of(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in children(command).items():
        yield from walk(child, f"{path} {name}")


def test_every_exit_code_is_explained() -> None:
    page = (DOCS / "exit-codes.md").read_text("utf-8")
    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert documented == {int(code) for code in ExitCode}


def notice_codes() -> set[str]:
    """Every literal ``code=`` that the package gives to a Notice, and those that are put together."""
    return STRIPPED | {
        keyword.value.value
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Notice"
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }


def test_every_notice_is_documented() -> None:
    pages = "".join(page.read_text("utf-8") for page in DOCS.glob("*.md"))
    assert notice_codes()
    assert not {code for code in notice_codes() if f"`{code}`" not in pages}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
    local = {target for pair in targets for target in pair if target and not re.match(r"\w+:|#", target)}
    assert not {target for target in local if not (page.parent / target.split("#")[0]).exists()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_our_own_repository_lead_somewhere(page: Path) -> None:
    ours = (
        r"https://(?:raw\.githubusercontent\.com/xlsr/xlsr-cli|github\.com/xlsr/xlsr-cli/(?:blob|tree))/main/"
    )
    targets = re.findall(ours + r"([^)\s\"#]+)", page.read_text("utf-8"))
    assert not {target for target in targets if not (ROOT / target).exists()}


def test_every_page_is_in_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert not [page.name for page in DOCS.glob("*.md") if f" {page.name}\n" not in navigation]


def test_both_readmes_say_the_same() -> None:
    """The same commands, links, options and exit codes, in the same order."""

    def skeleton(page: str) -> tuple[list[str], list[str], list[str]]:
        text = (ROOT / page).read_text("utf-8")
        code = [
            line.split("  #")[0].rstrip()
            for block in fences(ROOT / page, "bash", "python")
            for line in block.splitlines()
        ]
        links = [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("README")]
        rows = [re.sub(r"[^|]", "", line) for line in text.splitlines() if line.startswith("|")]
        return code, links, rows

    assert skeleton("README.ko.md") == skeleton("README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documentation_exist(page: Path) -> None:
    root = the_command()
    for words in commands(page):
        command = root
        for word in words[1:]:
            command = children(command).get(word, command)
        known = {"--help"} | {
            name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]
        }
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
        assert used <= known, f"{' '.join(words)}: {sorted(used - known)}"
        assert len(words) == 1 or command is not root or used, f"{' '.join(words)}: no such command"


#: What stands in architecture.md are signatures.
EXAMPLES = [page for page in PAGES if page.name != "architecture.md" and any(fences(page, "python"))]


@pytest.mark.parametrize("size", [(288, 288), (900, 1300), (40, 30)])
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_python_in_the_documentation_runs(
    page: Path, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a picture of any size."""
    sample = cv2.imread(str(DOCS / "sample" / "gae-aulenti.png"))
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.resize(sample, size))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "documentation"}
    for block in fences(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_every_room_is_in_the_architecture() -> None:
    rooms = (DOCS / "architecture.md").read_text("utf-8").split("## Rooms\n")[1].split("```")[0]
    package = ROOT / "src" / "xlsr_cli"
    names = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    names |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert not [name for name in names if f"`{name}`" not in rooms]


def test_examples_are_found() -> None:
    assert {"python-api.md", "README.md", "README.ko.md"} <= {page.name for page in EXAMPLES}
