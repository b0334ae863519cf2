"""Cut-outs: alpha, box, files."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

from packshot import Cutout, InvalidArgument, read_made_by
from packshot.cutout import RIM_PX, soft_alpha
from tests.client.pictures import product, texture


def blob(width: int = 60, height: int = 50) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (x - 30) ** 2 / 400 + (y - 25) ** 2 / 200 < 1


def test_alpha_is_opaque_in_the_eroded_mask_soft_at_its_rim_and_nothing_outside():
    mask = blob()
    alpha = soft_alpha(mask)
    depth = np.asarray(distance_transform_edt(mask))
    assert (alpha[depth > RIM_PX + 1.5] == 255).all()
    assert (alpha[~mask] == 0).all()
    rim = mask & (depth < RIM_PX + 0.5)
    assert ((alpha[rim] > 0) & (alpha[rim] < 255)).all()
    np.testing.assert_allclose(alpha[rim], depth[rim] / (RIM_PX + 1) * 255, atol=12)


def test_a_product_that_the_photo_cuts_off_stays_opaque_at_the_photos_border():
    mask = np.zeros((20, 20), bool)
    mask[:, :10] = True
    assert (soft_alpha(mask)[:, 0] == 255).all()
    assert (soft_alpha(np.ones((5, 5), bool)) == 255).all()


def test_where_the_photo_is_transparent_the_product_is_too():
    alpha = np.full((50, 60), 255, np.uint8)
    alpha[:, 25:30], alpha[:, 30:32] = 0, 7
    cutout = Cutout.from_mask(texture(60, 50), blob(), alpha=alpha)
    assert (cutout.alpha == np.minimum(soft_alpha(blob()), alpha)).all()


def test_colours_are_the_photos_own_also_at_the_rim():
    cutout = product()
    np.testing.assert_array_equal(cutout.rgba[cutout.mask][:, :3], cutout.image[cutout.mask])
    assert (cutout.rgba[~cutout.mask] == 0).all()


def test_the_box_surrounds_the_product():
    assert product(width=40, height=24, margin=10).box == (10, 10, 50, 34)


def test_a_png_brings_the_same_product_back(tmp_path):
    image = texture(60, 50)
    cutout = Cutout.from_mask(image, blob(), iou=0.75)
    cutout.save(tmp_path / "cup.png")
    loaded = Cutout.load(tmp_path / "cup.png")
    np.testing.assert_array_equal(loaded.rgba, cutout.rgba)
    np.testing.assert_array_equal(loaded.mask, blob())
    assert read_made_by(tmp_path / "cup.png") == {"iou": 0.75}
    assert [path.name for path in tmp_path.iterdir()] == ["cup.png"]


def test_a_cut_out_cannot_be_changed():
    cutout = product()
    with pytest.raises(AttributeError):
        cutout.iou = 1.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        cutout.alpha[:] = 0


def test_what_is_no_cut_out_is_refused(tmp_path):
    image = texture(6, 4)
    with pytest.raises(InvalidArgument, match=r"cutout.alpha: got 0 everywhere, expected a product"):
        Cutout(image, np.zeros((4, 6), np.uint8))
    with pytest.raises(InvalidArgument, match=r"cutout.alpha: got uint8\[6,4\], expected uint8\[4,6\]"):
        Cutout(image, np.ones((6, 4), np.uint8))
    with pytest.raises(InvalidArgument, match=r"cutout.mask: got uint8\[4,6\], expected bool\[H,W\]"):
        Cutout.from_mask(image, np.ones((4, 6), np.uint8))
    with pytest.raises(InvalidArgument, match=r"cutout.mask: got list, expected bool\[H,W\]"):
        Cutout.from_mask(image, [[True]])
    with pytest.raises(InvalidArgument, match=r"^cutout: got a photo without transparency"):
        Cutout.load(Image.fromarray(image))
    Image.fromarray(image).save(tmp_path / "photo.png")
    with pytest.raises(InvalidArgument, match=r"photo\.png: cutout: got a photo without transparency"):
        Cutout.load(tmp_path / "photo.png")
    with pytest.raises(InvalidArgument, match=r"output: got .*cup\.jpg, expected a name that ends in \.png"):
        product().save(tmp_path / "cup.jpg")
    with pytest.raises(InvalidArgument, match=r"output: got .*expected a place to write to"):
        product().save(tmp_path / "nowhere" / "cup.png")
