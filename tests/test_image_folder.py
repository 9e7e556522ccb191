"""Folders of images: against torchvision's transforms and hand-made pixels, and what is said of what does not fit."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from harness.api import DataError
from harness.engine.torchvision_compat import import_torchvision
from harness_datasets import decoding
from harness_datasets.decoding import decode_image, decode_images
from harness_datasets.image_folder import SUFFIXES, ImageFolder, ImageFolderOptions


def write_image(path, color=(10, 20, 30), size=(4, 4), **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **how)
    return path


def noise(size, seed=0):
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Two classes, their images written in no order; red counts the class, green the image, blue the split."""
    for split, blue in (("test", 1), ("train", 0)):
        for red, name in reversed(list(enumerate(("ant", "bee")))):
            for green in (2, 0, 1):
                write_image(tmp_path / split / name / f"{green}.png", (red, green, blue))
    return tmp_path


def load(root, **options):
    return ImageFolder(ImageFolderOptions(root=root, **options)).load()


def refusal(root, **options):
    with pytest.raises(DataError) as error:
        load(root, **options)
    assert error.value.exit_code == 4
    return str(error.value)


def test_images_are_sorted_by_class_then_name(folder):
    data = load(folder)
    assert data.classes == ("ant", "bee")
    assert data.train_images.shape == data.test_images.shape == (6, 3, 4, 4)
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.dtype == np.int64
    for images, labels, blue in ((data.train_images, data.train_labels, 0), (data.test_images, data.test_labels, 1)):
        assert labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert images[:, :, 0, 0].tolist() == [[red, green, blue] for red in (0, 1) for green in (0, 1, 2)]


def test_order_and_content_do_not_depend_on_the_number_of_threads(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(200)]
    for number, path in enumerate(paths):
        noise((3, 3), number).save(path)
    expected = np.stack([np.asarray(noise((3, 3), number)).transpose(2, 0, 1) for number in range(200)])
    for workers in (1, 2, 7):
        assert (decode_images(paths, channels=3, image_size=None, workers=workers) == expected).all()


def test_images_are_decoded_into_the_array_that_is_given(folder, tmp_path):
    paths = sorted((folder / "train" / "ant").iterdir())
    given = []

    def empty(shape):
        given.append(np.memmap(tmp_path / "images", np.uint8, "w+", shape=shape))
        return given[0]

    assert decode_images(paths, channels=3, image_size=None, empty=empty) is given[0]
    assert (given[0] == decode_images(paths, channels=3, image_size=None)).all()


def test_no_more_results_are_waiting_than_are_allowed():
    begun, taken = [], []
    with ThreadPoolExecutor(4) as pool:
        for result in decoding._in_order(pool, lambda task: begun.append(task) or task, range(50), ahead=6):
            assert len(begun) <= len(taken) + 6
            taken.append(result)
    assert taken == list(range(50))


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".JPEG", ".Png"])
def test_every_documented_suffix_is_read(folder, suffix):
    write_image(folder / "train" / "ant" / f"9{suffix}", (200, 200, 200))
    assert load(folder).train_images[3].tolist() == np.full((3, 4, 4), 200).tolist()


def test_hidden_files_and_files_of_other_kinds_are_ignored(folder):
    (folder / "train" / "ant" / ".hidden.png").write_text("no image")
    (folder / "train" / "ant" / "notes.txt").write_text("no image")
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / "labels.csv").write_text("")
    assert len(load(folder).train_images) == 6


@pytest.mark.parametrize("size", [(7, 13), (13, 7), (31, 20), (5, 5), (3, 9), (640, 427)])
def test_resizing_agrees_with_torchvisions_resize_and_center_crop(tmp_path, size):
    import_torchvision()
    from torchvision.transforms import v2

    noise(size).save(tmp_path / "image.png")
    peer = v2.Compose([v2.Resize(5, v2.InterpolationMode.BILINEAR, antialias=True), v2.CenterCrop(5)])(noise(size))
    got = decode_image(tmp_path / "image.png", channels=3, image_size=5)
    assert (got == np.asarray(peer).transpose(2, 0, 1)).all()


def test_images_of_different_sizes_are_brought_to_the_size_that_is_given(folder):
    write_image(folder / "train" / "ant" / "9.png", (50, 60, 70), size=(20, 9))
    data = load(folder, image_size=3)
    assert data.train_images.shape == (7, 3, 3, 3)
    assert data.train_images[3, :, 1, 1].tolist() == [50, 60, 70]


def test_orientation_in_the_files_metadata_is_applied(tmp_path):
    image, exif = noise((6, 4)), Image.Exif()
    # 6: the camera was turned; to be shown, the image is turned clockwise
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    got = decode_image(tmp_path / "turned.png", channels=3, image_size=None)
    assert (got.transpose(1, 2, 0) == np.rot90(np.asarray(image), -1)).all()


def test_one_channel_is_luma_and_three_repeat_gray(folder, tmp_path):
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B
    write_image(tmp_path / "red.png", (255, 0, 0))
    assert (decode_image(tmp_path / "red.png", channels=1, image_size=None) == round(0.299 * 255)).all()
    Image.new("L", (2, 2), 77).save(tmp_path / "gray.png")
    assert decode_image(tmp_path / "gray.png", channels=3, image_size=None).tolist() == np.full((3, 2, 2), 77).tolist()
    assert load(folder, channels=1).train_images.shape == (6, 1, 4, 4)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "CMYK"])
def test_other_color_modes_are_read_without_a_warning(tmp_path, mode):
    image = Image.new("RGB", (3, 3), (255, 255, 255)).convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path, **({"transparency": bytes([0, 128])} if mode == "P" else {}))
    assert (decode_image(path, channels=3, image_size=None) == 255).all()


# --- what does not fit


def test_images_that_cannot_be_read_are_all_named_with_their_reasons(folder):
    truncated = folder / "train" / "ant" / "1.jpg"
    noise((64, 64)).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:-2000])
    text = folder / "test" / "bee" / "text.png"
    text.write_text("no image")
    empty = folder / "train" / "bee" / "empty.bmp"
    empty.write_bytes(b"")
    message = refusal(folder)
    assert message.startswith("3 of 15 image files cannot be read; replace or remove them:")
    assert f"{truncated}: image file is truncated" in message
    assert f"{text}: this is no image file that Pillow knows" in message
    assert f"{empty}: this is no image file" in message


def test_no_more_than_five_unreadable_images_are_named_and_the_rest_are_counted(folder):
    for number in range(8):
        (folder / "train" / "ant" / f"bad-{number}.png").write_text("no image")
    message = refusal(folder)
    assert "8 of 20 image files cannot be read" in message
    assert "bad-4.png" in message
    assert "bad-5.png" not in message
    assert message.endswith("and 3 more")


def test_images_deeper_than_8_bits_are_refused_rather_than_clipped(folder):
    path = folder / "train" / "ant" / "deep.png"
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(path)
    assert f"{path}: I;16 pixels of more than 8 bits" in refusal(folder)


def test_folder_of_nothing_but_unreadable_images_is_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "ant").mkdir(parents=True)
        (tmp_path / split / "ant" / "a.png").write_text("no image")
    assert "2 of 2 image files cannot be read" in refusal(tmp_path)


def test_images_of_different_sizes_name_two_files_and_the_option_to_set(folder):
    write_image(folder / "test" / "bee" / "9.png", size=(6, 5))
    message = refusal(folder)
    assert f"{folder / 'train' / 'ant' / '0.png'} is 4x4 pixels" in message
    assert f"{folder / 'test' / 'bee' / '9.png'} is 6x5 (1 of 13 differ" in message
    assert 'set "image_size" (such as 4)' in message


def test_classes_of_one_split_alone_are_named(folder):
    write_image(folder / "train" / "cat" / "0.png")
    write_image(folder / "test" / "Bee" / "0.png")
    assert "the classes differ: only train/ has cat; only test/ has Bee" in refusal(folder)


def test_class_folder_without_images_is_named(folder):
    (folder / "train" / "cat").mkdir()
    write_image(folder / "test" / "cat" / "0.png")
    assert f"{folder / 'train' / 'cat'}: got an empty folder, expected images (jpg, jpeg" in refusal(folder)
    (folder / "train" / "cat" / "0.gif").write_bytes(b"")
    assert "got 1 files of other kinds (0.gif …)" in refusal(folder)


def test_folder_inside_a_class_folder_is_named_rather_than_left_out(folder):
    write_image(folder / "train" / "ant" / "more" / "0.png")
    assert f"{folder / 'train' / 'ant'}: got a folder more/ in it" in refusal(folder)


@pytest.mark.parametrize(("missing", "left"), [("train", "test/"), ("test", "train/")])
def test_missing_split_is_named_with_what_is_there(folder, missing, left):
    (folder / missing).rename(folder / "val")
    message = refusal(folder)
    assert f"{folder}: has no folder {missing}/ (got {left}, val/)" in message
    assert "expected train/<class>/<image> and test/<class>/<image>" in message


def test_empty_folder_lacks_both_splits(tmp_path):
    assert "has no folder train/ and no folder test/ (got nothing)" in refusal(tmp_path)


def test_images_that_lie_in_the_split_without_class_folders_are_explained(folder, tmp_path):
    root = tmp_path / "flat"
    for split in ("train", "test"):
        write_image(root / split / "0.png")
    assert f"{root / 'train'}: got 1 images beside one another, expected a folder for each class" in refusal(root)


def test_root_that_is_no_folder_is_refused(tmp_path):
    assert f"{tmp_path / 'typo'}: got nothing there, expected a folder" in refusal(tmp_path / "typo")
    (tmp_path / "file").write_text("")
    assert "got a file, expected a folder" in refusal(tmp_path / "file")


def test_link_to_nothing_is_named(folder):
    (folder / "train" / "ant" / "link.png").symlink_to(folder / "gone.png")
    assert f"{folder / 'train' / 'ant' / 'link.png'}: cannot be read" in refusal(folder)


@pytest.mark.parametrize("options", [{"image_size": 0}, {"channels": 2}, {"size": 3}])
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    with pytest.raises(ValidationError):
        ImageFolderOptions(root=tmp_path, **options)


# --- the listing


def test_listing_is_json_and_needs_no_decoding(folder):
    (folder / "train" / "ant" / "bad.png").write_text("no image")
    listing = ImageFolder(ImageFolderOptions(root=folder)).listing()
    assert json.loads(json.dumps(listing)) == listing
    assert listing["files"] == 13


def test_listing_changes_with_a_files_name_size_or_time(folder):
    provider = ImageFolder(ImageFolderOptions(root=folder))
    path = folder / "train" / "ant" / "0.png"
    listings = [provider.listing(), provider.listing()]
    assert listings[0] == listings[1]
    os.utime(path, ns=(1, 1))
    listings.append(provider.listing())
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(1, 1))
    listings.append(provider.listing())
    path.rename(path.with_name("5.png"))
    listings.append(provider.listing())
    assert len({listing["sha256"] for listing in listings}) == 4
