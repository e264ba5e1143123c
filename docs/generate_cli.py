"""Writes docs/cli.md, the reference of the command line, from the commands themselves: `make docs`.

Typer's own generator does the work; examples become code blocks. A test compares the file with the commands.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

NOTE = """
Written by `make docs` from the commands' own help; do not edit. Exit codes: [exit-codes.md](exit-codes.md).
"""


def reference() -> str:
    """The whole file."""
    command = [sys.executable, "-m", "typer", "gancli.cli.main", "utils", "docs", "--name", "gancli"]
    text = subprocess.run(
        [*command, "--title", "Command line reference"], check=True, capture_output=True, text=True
    ).stdout
    text = html.unescape(text).replace(r"\[", "[").replace("\b", "")
    # "Examples:" and the indented command lines below it
    text = re.sub(r"\n+([\w ]+:)\n((?:  \$ .*\n)+)", _code_block, text)
    heading, _, rest = text.partition("\n")
    return re.sub(r"[ \t]+\n", "\n", f"{heading}\n{NOTE}{rest}").rstrip() + "\n"


def _code_block(match: re.Match[str]) -> str:
    lines = "\n".join(line.strip().removeprefix("$ ") for line in match[2].splitlines())
    return f"\n\n{match[1]}\n\n```sh\n{lines}\n```\n"


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(reference(), encoding="utf-8")
