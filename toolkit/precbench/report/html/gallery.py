"""Images that changed their class, as small PNG files inside the page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from precbench.report.html.view import Picture

_MOST = 12
_LONGEST = 96  # pixels a side: enough to see what it is, and a page stays small


def flipped_pictures(
    images: NDArray[np.uint8] | None,
    labels: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    names: Sequence[str],
) -> tuple[list[Picture], str]:
    """Return images that are right before and wrong after first, then those gained, then those wrong both ways.

    Args:
        images: uint8 RGB [n, height, width, 3]; None where they are not at hand.
        labels: int64 [n], true classes.
        before: int64 [n], what full precision says.
        after: int64 [n], what the variant says.
        names: of the classes.

    Returns:
        At most 12 pictures, and a note where some are left out or none can be shown.
    """
    flipped = np.flatnonzero(before != after)
    if not flipped.size:
        return [], "No image changes its class."
    if images is None or len(images) != len(labels):
        return [], f"{flipped.size:,} images change their class; the images themselves are not at hand."
    lost, gained = before[flipped] == labels[flipped], after[flipped] == labels[flipped]
    order = flipped[np.argsort(np.where(lost, 0, np.where(gained, 1, 2)), kind="stable")]
    kinds = {0: "bad", 1: "good", 2: ""}
    pictures = []
    for index in order[:_MOST]:
        kind = 0 if before[index] == labels[index] else 1 if after[index] == labels[index] else 2
        caption = (
            f"#{index}, {names[labels[index]]}: {_name(names, before[index])} becomes {_name(names, after[index])}"
        )
        pictures.append(Picture(source=_data_uri(images[index]), caption=caption, tone=kinds[kind]))
    left = flipped.size - len(pictures)
    return pictures, f"{left:,} more images change their class." if left else ""


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else f"class {number}"


def _data_uri(image: NDArray[np.uint8]) -> str:
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST, _LONGEST))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
