"""Models with LoRAs: their digests, and what the real child draws with them."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from node.adapters.engine.ipc import Loaded, LoadFailed, StyleOrder
from node.adapters.engine.places import find_model
from node.adapters.engine.styles import StyleFile, all_lines, check_styled, styled_digest
from node.adapters.engine.weights import ModelFault, digest_lines, model_digest
from node.model_files.catalog import load_catalog
from node.model_files.check import check
from node.model_files.shelf import Shelf
from protocol.errors import ConfigError
from protocol.task.catalog import Catalog
from protocol.task.model import Style
from tests.support.tiny_style import save_style


@pytest.fixture(scope="module")
def style(tmp_path_factory):
    """A LoRA for the embedded model."""
    from tests.adapters.engine.conftest import MODEL_FOLDER

    path = tmp_path_factory.mktemp("styles") / "watercolour.safetensors"
    return StyleFile(path, save_style(MODEL_FOLDER, path), 1.0)


def load(child, folder, name, styles, digest=None):
    orders = tuple(StyleOrder(path=str(one.path), digest=one.digest, weight=one.weight) for one in styles)
    return child.load(folder, digest or styled_digest(folder, styles=styles), name, styles=orders)


def drawn(child, name):
    child.begin("red heart", model=name, steps=4)
    _, end = child.until_end()
    return np.asarray(Image.open(io.BytesIO(end.data))).astype(int)


def test_all_lines__styles__stand_behind_the_models_files_with_their_weights(model_folder, style):
    half = StyleFile(style.path, style.digest, 0.5)
    lines = all_lines(model_folder, styles=(style, half))
    added = f"{style.digest.hex()}  styles/0@1000.safetensors\n{style.digest.hex()}  styles/1@500.safetensors\n"
    assert lines == digest_lines(model_folder) + added
    assert (
        styled_digest(model_folder, styles=(half,))
        == hashlib.sha256(all_lines(model_folder, styles=(half,)).encode()).digest()
    )
    assert styled_digest(model_folder) == model_digest(model_folder)


def test_check_styled__another_weight_or_file__is_model_corrupt(model_folder, style, tmp_path):
    digest = styled_digest(model_folder, styles=(style,))
    check_styled(model_folder, digest, None, (style,))
    other = tmp_path / "other.safetensors"
    other.write_bytes(style.path.read_bytes() + b" ")
    for changed, said in (
        (StyleFile(style.path, style.digest, 0.9), "with its styles"),
        (StyleFile(other, style.digest, 1.0), "other.safetensors has the digest"),
    ):
        with pytest.raises(ModelFault, match=said) as caught:
            check_styled(model_folder, digest, None, (changed,))
        assert caught.value.reason == "model_corrupt"
    with pytest.raises(ModelFault, match="No such file"):
        check_styled(model_folder, digest, None, (StyleFile(tmp_path / "none.safetensors", style.digest, 1.0),))


def test_load__style__draws_by_its_weight(child, model_folder, style):
    plain = drawn(child, "pocket-emoji")
    changes = []
    for weight in (0.0, 0.5, 1.0):
        chosen = (StyleFile(style.path, style.digest, weight),)
        report = load(child, model_folder, f"styled-{weight}", chosen)
        assert isinstance(report, Loaded), report
        changes.append(np.abs(drawn(child, f"styled-{weight}") - plain).mean())
    assert changes[0] < 0.01
    assert changes[1] > 1
    assert changes[2] > changes[1]
    assert (drawn(child, "pocket-emoji") == plain).all(), "the model itself stays as it is"


def test_load__style_with_another_digest_or_for_another_model__is_model_corrupt(child, model_folder, style, tmp_path):
    digest = model_digest(model_folder)
    assert load(child, model_folder, "wrong", (style,), digest) == LoadFailed(model="wrong", reason="model_corrupt")
    path = tmp_path / "foreign.safetensors"
    foreign = StyleFile(path, save_style(model_folder, path, foreign=True), 1.0)
    report = load(child, model_folder, "foreign", (foreign,))
    assert report == LoadFailed(model="foreign", reason="model_corrupt")


def test_find_model__style_of_the_catalog__lies_by_its_digest_beside_the_pulled_models(style, tmp_path, model_folder):
    entry = load_catalog().models["pocket-emoji"]
    named = Style(digest=style.digest, weight=1.0)
    digest = styled_digest(model_folder, styles=(style,))
    model = entry.model_copy(update={"name": "watercolour", "styles": (named,), "digest": digest})
    place = tmp_path / "styles" / f"{style.digest.hex()}.safetensors"
    with pytest.raises(ConfigError, match=f"put the LoRA with this digest there: {place}"):
        find_model(model, {}, tmp_path)
    place.parent.mkdir()
    place.write_bytes(style.path.read_bytes())
    assert [one.path for one in find_model(model, {}, tmp_path).styles] == [place]
    shelf = Shelf(Catalog(models={"watercolour": model}, default="watercolour"), {}, tmp_path)

    class Untold:
        def begin(self, what, size, done):
            pass

        def advance(self, count):
            pass

    finding = check(shelf, shelf.look(model), Untold())
    assert finding.is_right, finding.detail
    place.write_bytes(b"another")
    assert "not the catalog's" in check(shelf, shelf.look(model), Untold()).detail
