"""Decode image files with Pillow, in threads, to one array, which need not be in memory."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.api import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

T = TypeVar("T")

NAMED_AT_MOST = 5
FILES_A_TASK = 16
DEEPER_THAN_8_BIT = ("I", "F")


@dataclass(frozen=True)
class Unreadable:
    """An image file that cannot be decoded, and why."""

    path: Path
    reason: str


def _in_memory(shape: tuple[int, ...]) -> np.ndarray:
    return np.empty(shape, np.uint8)


def decode_images(
    paths: Sequence[Path],
    *,
    channels: Literal[1, 3],
    image_size: int | None,
    workers: int | None = None,
    empty: Callable[[tuple[int, ...]], np.ndarray] = _in_memory,
) -> np.ndarray:
    """Decode ``paths`` to uint8 (N, C, H, W) in their order, whatever the number of ``workers``.

    ``empty`` makes the array that is filled; beside it, a few images for each worker are held at once. Raises ``DataError``
    that names the files which cannot be read, or two files whose sizes differ.
    """
    workers = workers or os.cpu_count() or 1
    tasks = [paths[start : start + FILES_A_TASK] for start in range(0, len(paths), FILES_A_TASK)]

    def decode_task(task: Sequence[Path]) -> list[np.ndarray | Unreadable]:
        return [_decode_or_explain(path, channels, image_size) for path in task]

    with ThreadPoolExecutor(workers) as pool:
        decoded = (image for images in _in_order(pool, decode_task, tasks, ahead=2 * workers) for image in images)
        return _stacked(paths, decoded, empty)


def decode_image(path: Path, *, channels: Literal[1, 3], image_size: int | None) -> np.ndarray:
    """Decode one file, upright, to uint8 (C, H, W); transparency is dropped.

    With ``image_size``: the shorter side is resized to it (bilinear, antialiased) and the center is cropped to a square.
    """
    with Image.open(path) as opened:
        if opened.mode.startswith(DEEPER_THAN_8_BIT):
            raise ValueError(f"{opened.mode} pixels of more than 8 bits; convert the image to 8 bits a channel")
        ImageOps.exif_transpose(opened, in_place=True)
        image = _converted(opened, "L" if channels == 1 else "RGB")
        if image_size is not None:
            image = _resized(image, image_size)
        pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _in_order(
    pool: Executor, work: Callable[[Sequence[Path]], T], tasks: Sequence[Sequence[Path]], *, ahead: int
) -> Iterator[T]:
    """Yield each task's result, in the tasks' order, with at most ``ahead`` of them under way or waiting to be taken."""
    waiting: deque[Future[T]] = deque()
    for task in tasks:
        if len(waiting) == ahead:
            yield waiting.popleft().result()
        waiting.append(pool.submit(work, task))
    while waiting:
        yield waiting.popleft().result()


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        # convert would copy it
        return image
    if "transparency" in image.info:
        # Pillow warns when a palette with transparency is converted at once
        image = image.convert("RGBA")
    return image.convert(mode)


def _resized(image: Image.Image, size: int) -> Image.Image:
    scale = size / min(image.size)
    # the longer side is cut, not rounded, as torchvision's Resize does it
    width, height = (size if side == min(image.size) else int(side * scale) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def _decode_or_explain(path: Path, channels: Literal[1, 3], image_size: int | None) -> np.ndarray | Unreadable:
    try:
        return decode_image(path, channels=channels, image_size=image_size)
    except UnidentifiedImageError:
        # Pillow's message repeats the path
        return Unreadable(path, "this is no image file that Pillow knows")
    except Exception as error:  # noqa: BLE001 (damaged files make decoders raise nearly everything)
        return Unreadable(path, str(error) or type(error).__name__)


def _stacked(
    paths: Sequence[Path],
    decoded: Iterator[np.ndarray | Unreadable],
    empty: Callable[[tuple[int, ...]], np.ndarray],
) -> np.ndarray:
    images: np.ndarray | None = None
    unreadable: list[Unreadable] = []
    first = 0
    differing: list[tuple[Path, tuple[int, ...]]] = []
    for index, pixels in enumerate(decoded):
        if isinstance(pixels, Unreadable):
            unreadable.append(pixels)
            continue
        if images is None:
            # filled as images arrive: a list of them beside their stack would need twice the memory
            images, first = empty((len(paths), *pixels.shape)), index
        if pixels.shape == images.shape[1:]:
            images[index] = pixels
        else:
            differing.append((paths[index], pixels.shape))
    if unreadable or images is None:
        raise _unreadable_error(unreadable, len(paths))
    if differing:
        raise _sizes_error((paths[first], images.shape[1:]), differing, len(paths))
    return images


def _unreadable_error(unreadable: Sequence[Unreadable], total: int) -> DataError:
    named = "".join(f"\n  {file.path}: {file.reason}" for file in unreadable[:NAMED_AT_MOST])
    rest = len(unreadable) - NAMED_AT_MOST
    more = f"\n  and {rest} more" if rest > 0 else ""
    return DataError(
        f"{len(unreadable)} of {total} image files cannot be read; replace or remove {'it' if len(unreadable) == 1 else 'them'}:"
        f"{named}{more}"
    )


def _sizes_error(
    first: tuple[Path, tuple[int, ...]], differing: Sequence[tuple[Path, tuple[int, ...]]], total: int
) -> DataError:
    (path, shape), (other, other_shape) = first, differing[0]
    return DataError(
        f"images differ in size: {path} is {_size(shape)} pixels, {other} is {_size(other_shape)} "
        f'({len(differing)} of {total} differ from the first); set "image_size" (such as {min(shape[1:])}) to have the '
        "shorter side of each resized to it and its center cropped, or bring the files to one size"
    )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]}x{shape[1]}"
