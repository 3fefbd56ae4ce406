"""The `recurc` program: finds commands, turns errors into one paragraph and an exit code.

A command is a module of this folder that defines `command` (a click command); its file's name is the command's name. What
commands share is in the folder `common`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

# Before torch is loaded: its threads then sleep while they wait for each other, which is several times faster on a busy
# machine and no slower on an idle one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import recurc
import recurc.cli
from recurc.arguments import named_as_options
from recurc.cli.common.output import Console, plain_warnings
from recurc.cli.common.signals import Ended, ended_by_signals
from recurc.cli.common.streams import abandon_stdout, leave_gone_folder, repair, unwritten, writing
from recurc.environment import environment_error
from recurc.errors import RecurcError, UsageError
from recurc.words import own_words

_HERE = __name__.rpartition(".")[2]  # the one file of this folder that is no command
_NO_TABLES = {"convert", "make"}
_INTERRUPTED, _BROKEN_PIPE = 130, 141  # 128 + the signal's number, as shells have it


class _ReaderGone(Exception):
    """Whoever read our output has gone: a BrokenPipeError by another name, of which click would make an exit with code 1."""


class Commands(click.Group):
    """Commands by file name, imported when they are asked for; each gets `--json` and `--debug`, and `--wide` where it prints
    tables."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except BrokenPipeError:
            raise _ReaderGone from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGone from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        files = {name for folder in recurc.cli.__path__ for name in _modules(folder)}
        return sorted(name.replace("_", "-") for name in files if name != _HERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"recurc.cli.{cmd_name.replace('-', '_')}")
        command = getattr(module, "command", None)
        if command is not None:
            _add_common_options(command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            known = f"Commands are {', '.join(self.list_commands(ctx))}"
            raise UsageError(f"no command {args[0]!r}", next=f"Did you mean {near[0]}?" if near else known)
        name, command, rest = super().resolve_command(ctx, args)
        ctx.ensure_object(Console).command = name or "recurc"
        return name, command, rest


def _modules(folder: str) -> list[str]:
    """Names of a folder's modules, packages left out. Raises OSError: it cannot be listed, which pkgutil takes for empty."""
    try:
        found = (inspect.getmodulename(name) for name in os.listdir(folder))
    except NotADirectoryError:  # in an archive
        return [module.name for module in pkgutil.iter_modules([folder]) if not module.ispkg]
    return [name for name in found if name and name.isidentifier() and name != "__init__"]


def _add_common_options(command: click.Command) -> None:
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            _add_common_options(sub)
    have = {name for parameter in command.params for name in parameter.opts}
    common = [("json", "Print one JSON document on stdout."), ("debug", "Show tracebacks.")]
    if command.name not in _NO_TABLES and getattr(command, "invoke_without_command", True):
        common.append(("wide", "Show all columns of tables, whatever the width."))
    for name, text in common:
        if f"--{name}" not in have:
            command.params.append(
                click.Option([f"--{name}"], is_flag=True, expose_value=False, callback=_remember, is_eager=True, help=text)
            )


def _remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if value:
        setattr(ctx.ensure_object(Console), str(parameter.name), True)
    return value


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(recurc.__version__, prog_name="recurc")
@click.option("--debug", is_flag=True, expose_value=False, callback=_remember, is_eager=True, help="Show tracebacks.")
def cli() -> None:
    """Compile trained recursive reasoners into verified microcontroller firmware."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: arguments without the program's name; `sys.argv` when None.

    Returns:
        The exit code: 0 ok, 1 a bug of ours, 2 usage, 3 input, 4 does not fit, 5 fidelity, 6 toolchain, 7 no device,
        8 device differs, 130 interrupted, 143 and 129 ended by SIGTERM and SIGHUP.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    repair()
    console = Console()
    # Known before parsing, so that a mistake in the options themselves is reported the way that was asked for.
    console.json = "--json" in arguments
    console.debug = "--debug" in arguments
    if leave_gone_folder():
        console.note("note: the current folder was removed: nothing can be read or written in it")
    try:
        with ended_by_signals(), named_as_options(), own_words():
            code = _run(console, arguments)
        sys.stdout.flush()
        return code
    except (_ReaderGone, BrokenPipeError):  # whoever read our output has gone
        abandon_stdout()
        return _BROKEN_PIPE
    except OSError as error:  # of the flush
        abandon_stdout()
        return code or _told(console, unwritten(error))


def _run(console: Console, arguments: list[str]) -> int:
    """Run a command; its exit code. What went wrong has been told. Raises _ReaderGone, BrokenPipeError."""
    try:
        _check_not_empty(arguments)
        with plain_warnings():
            result = cli.main(arguments, prog_name="recurc", standalone_mode=False, obj=console)
        return result if isinstance(result, int) else 0
    except RecurcError as error:
        return _told(console, console.blame(error))
    except click.exceptions.NoArgsIsHelpError as error:
        with writing(sys.stderr):
            print(error.ctx.get_help(), file=sys.stderr)
        return 2
    except click.ClickException as error:
        return _told(console, _usage_error(error))
    except (KeyboardInterrupt, click.Abort) as error:
        ended = error if isinstance(error, Ended) else error.__cause__  # click turns every KeyboardInterrupt into an Abort
        by = ended.signal if isinstance(ended, Ended) else None
        with writing(sys.stderr):
            print("interrupted" if by is None else f"ended by {by.name}", file=sys.stderr)
        return _INTERRUPTED if by is None else 128 + by
    except (_ReaderGone, BrokenPipeError):
        raise
    except Exception as error:  # a full disk and the like, or else a bug of ours, whatever it is
        return _told(console, environment_error(error) or _bug(error, console.debug))


def _check_not_empty(arguments: list[str]) -> None:
    """Raises UsageError: an argument is empty. As a path it would be the current folder, as an option's value no value."""
    for i, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        named = option if word.startswith("--") and equals else arguments[i - 1] if i and not word else ""
        if word and not (word.startswith("--") and equals and not value):
            continue
        raise UsageError(
            f"{named} is empty" if named.startswith("-") and named != "--" else "an argument is empty",
            why="so it names nothing; a variable that is not set in the shell leaves such an argument",
            next="Give it a value, or leave it out; a dot names the folder that you are in",
        )


def _told(console: Console, error: RecurcError) -> int:
    """Say what went wrong, in one paragraph unless --debug asks for all of it; its exit code."""
    if console.debug:
        console.traceback()
    console.error(error)
    return error.exit_code


def _usage_error(error: click.ClickException) -> UsageError:
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "recurc"
    return UsageError(error.format_message(), next=f"Run {path} --help")


def _bug(error: Exception, shown: bool) -> RecurcError:
    from jinja2 import UndefinedError

    from recurc.extensions import at_fault
    from recurc.quoting import UnquotedError

    frames = traceback.extract_tb(error.__traceback__)
    templates = [frame for frame in frames if frame.filename.endswith(".j2")]
    last = (templates if isinstance(error, (UndefinedError, UnquotedError)) else [])[-1:] or frames[-1:]
    where = "".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in last)
    why, more = (
        f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
        "" if shown else "; --debug shows the traceback",
    )
    extension = at_fault(error)
    if extension is not None:
        return RecurcError(
            "an extension of recurc failed unexpectedly", where=where,
            why=f"{why}. This is a bug in {extension[0]} ({extension[1]}), not in recurc and not in your input",
            next="Correct it, or report it to whoever made that" + more,
        )  # fmt: skip
    return RecurcError(
        "recurc failed unexpectedly",
        where=where,
        why=f"{why}. This is a bug in recurc, not in your input",
        next="Please report it with the command and its output" + more,
    )
