"""The help of one command, the same with every version of Typer.

Almost every release of Typer shows types, arguments and ranges in another way, and releases before 0.26 lose
the help of arguments together with click 8.5. So this module writes both lists itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_args

from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo

from xlsr_cli.cli.values import take_missing_flag, take_plain_values
from xlsr_cli.declaration import Panel
from xlsr_cli.errors import UsageError

#: The flags that show the help of a command.
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

#: Placeholders for values, by type.
_VALUE_NAMES = {"int": "INTEGER", "str": "TEXT"}


class Command(TyperCommand):
    """A command whose help does not depend on Typer's version; for ``app.command(cls=Command)``."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self.callback is not None:
            take_plain_values(self.params, inspect.signature(self.callback, eval_str=True))

    def get_help_option(self, ctx: Any) -> Any:
        """The option ``--help``."""
        return take_missing_flag(super().get_help_option(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words behind the command's name in the usage line."""
        return ["[OPTIONS]", *(argument_usage(argument) for argument in arguments_of(self))]

    def format_arguments(self, ctx: Any, formatter: Any) -> None:
        """Nothing: click 8.5 calls this besides :meth:`format_options`, which writes the arguments."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the list of arguments, and those of options by subject."""
        arguments = [(argument_usage(argument), help_of(argument)) for argument in arguments_of(self)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        options = [entry for entry in self.get_params(ctx) if entry.param_type_name == "option"]
        for panel, members in options_by_panel(options):
            with formatter.section(panel.capitalize()):
                formatter.write_dl([(option_names(option), help_of(option)) for option in members])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on its line."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(TyperGroup):
    """A group of commands that suggests names for a mistyped one."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own flags, and those that Typer adds: for help, and at the top to install completion."""
        return [take_missing_flag(flag) for flag in super().get_params(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As click does, but an unknown name is answered with the nearest commands."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            raise UsageError(_not_a_command(ctx.command_path, args[0], names))
        return super().resolve_command(ctx, args)


def _not_a_command(group: str, name: str, names: list[str]) -> str:
    import difflib

    if name == "help":
        return f"{group} has no command 'help'; '{group} --help' shows the help"
    near = difflib.get_close_matches(name.lower(), names, n=2)
    if near:
        return f"{group} has no command {name!r}; did you mean {' or '.join(near)}?"
    what = "there is no such file, and no such command" if "." in name or "/" in name else "no such command"
    return f"{group} {name}: {what}; the commands are {', '.join(names)}"


def options_by_panel(options: list[Any]) -> list[tuple[str, list[Any]]]:
    """The options that are shown, by the subject that their declaration names."""
    panels: dict[str, list[Any]] = {panel: [] for panel in get_args(Panel)}
    for option in options:
        if not getattr(option, "hidden", False):
            panels[getattr(option, "rich_help_panel", None) or "messages"].append(option)
    return [(panel, members) for panel, members in panels.items() if members]


def arguments_of(command: Any) -> list[Any]:
    """The arguments of ``command``, each with its help."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    for argument in arguments:
        argument.help = argument.help or _declared_help(command, argument.name)
    return arguments


def _declared_help(command: Any, name: str) -> str:
    """The help in the signature of the function: click 8.5 removes the one that Typer has set."""
    annotation = inspect.signature(command.callback).parameters[name].annotation
    declared = [entry for entry in getattr(annotation, "__metadata__", ()) if isinstance(entry, ArgumentInfo)]
    return (declared[0].help if declared else None) or ""


def argument_usage(argument: Any) -> str:
    """``INPUT``, ``[OUTPUT]`` or ``FILES…``; a metavar that ends in several names stands as it is."""
    name = str(argument.metavar or argument.name.upper())
    if "…" in name:
        return name
    name = name.strip("[]") + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def option_names(option: Any) -> str:
    """``-s, --scale FLOAT``: the names of an option, the short one first, and its placeholder."""
    given = [*option.opts, *option.secondary_opts]
    names = ", ".join(sorted(given, key=lambda name: (len(name), name)))
    return names if option.is_flag else f"{names} {value_name(option)}"


def value_name(option: Any) -> str:
    """The placeholder of an option's value: its metavar, its choices or its type."""
    if option.metavar:
        return str(option.metavar)
    choices = _described(option, "choices")
    if choices:
        return "|".join(str(getattr(choice, "value", choice)) for choice in choices)
    kind = _type_name(option).removesuffix(" range")
    return _VALUE_NAMES.get(kind, kind.upper())


def _type_name(option: Any) -> str:
    if not hasattr(option, "type_descriptor"):
        return str(option.type.name)
    annotation = option.type_descriptor.annotation
    return str(next(iter(get_args(annotation)), annotation).__name__)


def help_of(parameter: Any) -> str:
    """The help of a parameter, with its range and its default if it has them."""
    return "  ".join([parameter.help or "", *(f"[{remark}]" for remark in _remarks(parameter))]).strip()


def _remarks(parameter: Any) -> Iterator[str]:
    least, most = _described(parameter, "min"), _described(parameter, "max")
    if least is not None or most is not None:
        yield f"{'' if least is None else f'{least}<='}x{'' if most is None else f'<={most}'}"
    shown = parameter.show_default
    if isinstance(shown, str):
        yield f"default: {shown}"
    elif shown and parameter.default not in (None, False, (), ...):
        yield f"default: {parameter.default}"


def _described(parameter: Any, name: str) -> Any:
    """A property of a parameter's type, which Typer keeps in three places since 0.19."""
    for place in (parameter, getattr(parameter, "type", None), getattr(parameter, "type_descriptor", None)):
        if (found := getattr(place, name, None)) is not None:
            return found
    return None
