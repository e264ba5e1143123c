"""`gancli doctor`: check of the installation."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from gancli.cli.app import LOOK, app, command
from gancli.cli.console import Output
from gancli.cli.errors import TORCH_PAIR_CURE
from gancli.errors import RunError
from gancli.run_paths import found_below


@command(app, "doctor", examples=("gancli doctor", "gancli doctor --json"), panel=LOOK)
def doctor(out: Output) -> None:
    """Check this installation: versions, devices, weight files, and what of gancli's lies in the current folder.

    The exit code is 1 if gancli cannot work.
    """
    versions = {name: _version(name) for name in ("torch", "torchvision")}
    try:
        for name in versions:
            import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        pair = ", ".join(f"{name} {found or 'missing'}" for name, found in versions.items())
        raise RunError(
            f"torch and torchvision cannot be used together ({pair}): {error}", TORCH_PAIR_CURE
        ) from error

    from gancli.engine.environment import describe_environment
    from gancli.weights import WEIGHTS, home

    environment = describe_environment()
    folder = home() / "weights"
    weights = {
        name: (folder / entry.file).is_file() or entry.installed() is not None
        for name, entry in WEIGHTS.items()
    }
    found_weights = ", ".join(name for name, there in weights.items() if there) or "none yet"
    lines = [
        f"gancli {environment['gancli']}, Python {environment['python']}, {environment['platform']}",
        *(f"{name} {found or 'missing'}" for name, found in environment["packages"].items()),
        f"CPU: {environment['cpu']}, {environment['threads']} threads",
        f"GPU: {', '.join(environment['gpus']) or 'none; training runs on the CPU'}",
        f"bf16: {'computed' if environment['bf16'] else 'emulated'}, {environment['bf16_cost']:.2f} times the time of "
        "float32 for a convolution (train.precision=auto chooses)",
        f"weight files in {folder} or installed: {found_weights}",
        "torch and torchvision fit each other",
    ]
    here = found_below()
    if here:
        rows = [(each.what, each.kind, str(each.path)) for each in here]
        lines += ["", "in this folder:", out.table(("what", "kind", "path"), rows)]
    out.result(
        {
            **environment,
            "weights_folder": folder,
            "weights": weights,
            "here": [{"what": each.what, "kind": each.kind, "path": each.path} for each in here],
        },
        "\n".join(lines),
        quiet="ok",
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
