"""The command line starts fast: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "h5py", "pandas", "skimage", "PIL", "scipy")
PROGRAM = """
import json, sys
sys.argv = ["gancli", *json.loads(sys.argv[1])]
try:
    from gancli.cli.main import main
    main()
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("train", "ffgan", "--help"), ("score", "--help"), ("no-such-command",)],
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert modules_after(*arguments).isdisjoint(HEAVY)


def test_listing_recipes_loads_no_torch() -> None:
    assert modules_after("recipes", "ls").isdisjoint(HEAVY)


def test_the_package_offers_its_functions_without_loading_them() -> None:
    program = (
        "import sys, gancli; print(sorted(dir(gancli))); print('torch' in sys.modules, 'h5py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names, loaded = done.stdout.splitlines()
    assert loaded == "False False"
    for name in ("prepare", "pretrain_encoder", "train", "sample", "load_recipe"):
        assert f"'{name}'" in names


def test_every_offered_function_is_there() -> None:
    program = "import gancli; print([n for n in gancli.__all__ if n[0] != '_' and not callable(getattr(gancli, n))])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import gancli

    with pytest.raises(AttributeError, match="nothing"):
        gancli.nothing  # noqa: B018
