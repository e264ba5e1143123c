"""Cards: the README.md of model, encoder and dataset folders, with a head that model hubs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from gancli.atomic import atomic_file
from gancli.registry import ROWS
from gancli.version import __version__

CARD = "README.md"
DEMO = "demo"  # release of the drawn birds, which are gancli's own
_TERMS = (
    "The weights come from images and captions that have terms of their own: read those of the dataset before you "
    "publish them or what they draw."
)


def model_card(settings: Mapping[str, object], scores: Sequence[Mapping[str, object]] = ()) -> str:
    """Return the card of a model or encoder folder.

    Args:
        settings: Content of its config.yaml.
        scores: Scores of these weights: `metric`, `value`, `std`, `dataset`, `split`, `n_real`, `n_fake`, `protocol`.
    """
    kind = str(settings["kind"])
    dataset = _mapping(settings.get("dataset"))
    name = str(dataset.get("name", "unknown data"))
    row = ROWS.get(kind)
    purpose = row.help.partition("\n")[0] if row is not None else "A network of gancli."
    title = f"{kind} on {name}"
    head: dict[str, object] = {
        "library_name": "gancli",
        "tags": ["gancli", kind, *(["conditional-gan"] if row is not None and row.draws else [])],
        "datasets": [name],
        **_licence(dataset),
    }
    if row is not None and row.pipeline:
        head["pipeline_tag"] = row.pipeline
    if scores:
        head["model-index"] = [{"name": title, "results": [_result(each) for each in scores]}]
    facts = {
        "dataset": ", ".join(
            str(dataset[key]) for key in ("name", "release", "split_rule", "crop_rule") if dataset.get(key)
        ),
        "image size of the dataset": dataset.get("image_size"),
        "recipe": _recipe(settings),
        "steps": settings.get("step"),
        "images seen": settings.get("images_seen"),
        "seed": settings.get("seed"),
        "sha256 of the encoder": settings.get("encoder_hash"),
        "imported from": _imported(settings),
        "made by": f"gancli {settings.get('gancli', __version__)}",
    }
    use = row.usage if row is not None else ""
    parts = [
        f"# {title}",
        purpose,
        _table(("", ""), [(key, value) for key, value in facts.items() if value not in (None, "")]),
        f"## Use\n\n```sh\n{use}\n```" if use else "",
        "## Scores\n\n" + _scores(scores),
        "## Licence\n\n" + ("Apache-2.0, like gancli, which drew the data." if _is_demo(dataset) else _TERMS),
    ]
    return _with_head(head, parts)


def dataset_card(
    *,
    name: str,
    release: str,
    split_rule: str,
    crop_rule: str,
    image_size: int,
    images: Mapping[str, int],
    words: int,
) -> str:
    """Return the card of a dataset folder.

    Args:
        name, release, split_rule, crop_rule, image_size: Those of its manifest.
        images: Number of images per split.
        words: Entries of the vocabulary.
    """
    facts = {
        "release": release,
        "split": split_rule,
        "crop": crop_rule,
        "side of the largest crop in pixels": image_size,
        **{f"images, {split}": f"{number:,}" for split, number in images.items()},
        "entries of the vocabulary": f"{words:,}",
        "made by": f"gancli {__version__}",
    }
    head = {"pretty_name": name, "tags": ["gancli"], **_licence({"release": release})}
    parts = [
        f"# {name}",
        "Images and captions as HDF5 shards of gancli; dataset.json describes them and names the raw files by sha256.",
        _table(("", ""), list(facts.items())),
        "## Use\n\n```sh\ngancli data check .\ngancli data show .\n```",
        "## Licence\n\n"
        + (
            "Apache-2.0, like gancli, which drew the images."
            if release == DEMO
            else "The images and captions keep the terms of their publishers, which do not end with this copy."
        ),
    ]
    return _with_head(head, parts)


def write_card(folder: Path, text: str) -> None:
    """Write a card into a folder."""
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _is_demo(dataset: Mapping[str, object]) -> bool:
    return dataset.get("release") == DEMO


def _licence(dataset: Mapping[str, object]) -> dict[str, object]:
    if _is_demo(dataset):
        return {"license": "apache-2.0"}
    return {"license": "other", "license_name": "terms-of-the-dataset"}


def _recipe(settings: Mapping[str, object]) -> str:
    recipe = settings.get("paper_recipe")
    changed = settings.get("differences")
    differences = [_mapping(each) for each in changed] if isinstance(changed, Sequence) else []
    if recipe is None:
        return "of its own; the paper has none for this dataset"
    listed = ", ".join(
        f"{each.get('key')}={each.get('here')} (paper: {each.get('paper')})" for each in differences
    )
    return f"{recipe}, the paper's" if not listed else f"{recipe} with {listed}"


def _imported(settings: Mapping[str, object]) -> str:
    imported = _mapping(settings.get("imported"))
    files = imported.get("files")
    if not isinstance(files, Sequence):
        return ""
    listed = ", ".join(
        f"{_mapping(file).get('name')} (sha256 {_mapping(file).get('sha256')})" for file in files
    )
    return f"{imported.get('code')}: {listed}"


def _result(score: Mapping[str, object]) -> dict[str, object]:
    """Return a score as model hubs list it."""
    data = {"name": str(score["dataset"]), "type": str(score["dataset"]), "split": str(score["split"])}
    metric = {"type": str(score["metric"]), "name": str(score["protocol"]), "value": score["value"]}
    return {"task": {"type": "image-generation"}, "dataset": data, "metrics": [metric]}


def _scores(scores: Sequence[Mapping[str, object]]) -> str:
    if not scores:
        return "None are recorded here. `gancli card . --results results.csv` writes those of a results.csv."
    rows = []
    for each in scores:
        spread = "" if each["std"] is None else f" ± {each['std']:.4g}"
        counts = " / ".join(str(each[key]) for key in ("n_real", "n_fake") if each[key] is not None)
        data = f"{each['dataset']} {each['split']}".strip()
        rows.append((each["metric"], f"{each['value']:.5g}{spread}", data, counts, each["protocol"]))
    return _table(("metric", "value", "data", "real / generated", "protocol"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _with_head(head: Mapping[str, object], parts: Sequence[str]) -> str:
    front = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"
