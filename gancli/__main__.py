"""`python -m gancli` is the same as the console script `gancli`."""

from __future__ import annotations

from gancli.cli.main import main

if __name__ == "__main__":
    main()
