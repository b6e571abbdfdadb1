"""CIFAR-10 in its authors' layout, with a few images in each batch."""

import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

IMAGES_PER_BATCH = 20
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _short(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


@pytest.fixture
def authors_meta() -> bytes:
    """Return `batches.meta` as published: these are its bytes, which its MD5 digest shows."""
    content = (
        b"\x80\x02}q\x01(" + _short("num_cases_per_batch") + b"q\x02M\x10'" + _short("label_names") + b"q\x03]q\x04("
    )
    content += b"".join(_short(name) + b"q" + bytes([5 + index]) for index, name in enumerate(NAMES))
    return content + b"e" + _short("num_vis") + b"q\x0fM\x00\x0cu."


@pytest.fixture
def authors_batch() -> Callable[[np.ndarray, list[int]], bytes]:
    """Return what writes a batch as Python 2 and its NumPy did, opcode by opcode."""

    def write(images: np.ndarray, labels: list[int]) -> bytes:
        count, raw = len(images), images.tobytes()
        return b"".join(
            [
                b"\x80\x02}q\x01(" + _short("batch_label") + b"q\x02" + _short("training batch 1 of 5") + b"q\x03",
                _short("labels") + b"q\x04]q\x05(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
                _short("data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85",
                b"U\x01b\x87Rq\t(K\x01M" + count.to_bytes(2, "little") + b"M\x00\x0c\x86cnumpy\ndtype\nq\n",
                b"U\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
                b"T" + len(raw).to_bytes(4, "little") + raw + b"tb" + _short("filenames") + b"q\x0c]q\r(",
                b"".join(_short(f"tabby_s_{index:06}.png") for index in range(count)) + b"eu.",
            ]
        )

    return write


@pytest.fixture
def cifar10_folder(tmp_path: Path) -> Path:
    """Return a folder `cifar-10-batches-py` as Python 3 writes it again; each image says its batch and its number."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        images = np.zeros((IMAGES_PER_BATCH, 3, 32, 32), np.uint8)
        images[:, 0] = number
        images[:, 1] = np.arange(IMAGES_PER_BATCH)[:, None, None]
        images[:, 2] = np.arange(32)[:, None]
        labels = [(index + number) % 10 for index in range(IMAGES_PER_BATCH)]
        batch = {b"batch_label": name.encode(), b"labels": labels, b"data": images.reshape(IMAGES_PER_BATCH, -1)}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    meta = {b"num_cases_per_batch": IMAGES_PER_BATCH, b"label_names": [n.encode() for n in NAMES], b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, 2))
    return folder


@pytest.fixture
def cifar10_archive(cifar10_folder: Path) -> Path:
    """Return the folder as `cifar-10-python.tar.gz`, in a folder of its own."""
    path = cifar10_folder.parent / "download" / "cifar-10-python.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(cifar10_folder, cifar10_folder.name)
    return path
