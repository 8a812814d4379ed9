"""realuid completion SHELL: print a completion script for bash, zsh or fish."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from realuid.cli.options import console, parse


@dataclass(frozen=True)
class Options:
    """Print a script that completes commands and options: source <(realuid completion bash)"""

    #: The shell.
    shell: Annotated[tyro.conf.Positional[Literal["bash", "zsh", "fish"]], tyro.conf.arg(metavar="SHELL")]


_BASH = """_realuid() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  elif [ "${{word:0:1}}" = "-" ]; then
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _realuid realuid"""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    console.print(script(parse(Options, "completion", arguments, tune=False).shell))


def script(shell: str) -> str:
    """The completion script of a shell; zsh takes that of bash."""
    from realuid.cli.main import COMMANDS

    options = {command: options_of(command) for command in COMMANDS if command != "completion"}
    if shell == "fish":
        lines = [
            f"complete -c realuid -n __fish_use_subcommand -f -a {name} -d '{_quoted(COMMANDS[name])}'"
            for name in options
        ]
        for command, names in options.items():
            seen = f"__fish_seen_subcommand_from {command}"
            lines += [f"complete -c realuid -n '{seen}' -l {name.removeprefix('--')}" for name in names]
        return "\n".join(lines)
    cases = "\n".join(f'      {command}) words="{" ".join(names)}" ;;' for command, names in options.items())
    text = _BASH.format(commands=" ".join(COMMANDS), cases=cases)
    return f"autoload -U +X bashcompinit && bashcompinit\n{text}" if shell == "zsh" else text


def options_of(command: str) -> list[str]:
    """The options of a command, as its help shows them."""
    from realuid.settings import only_shown

    shown = io.StringIO()
    with only_shown(), contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        importlib.import_module(f"realuid.cli.{command.replace('-', '_')}").run(["--help"])
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()))))


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")
