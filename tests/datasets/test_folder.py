import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from precbench.datasets import folder as folder_module
from precbench.datasets.dataset import Dataset, TrainAndTest
from precbench.datasets.folder import folder_digest, has_test_part, read_folder
from precbench.datasets.pictures import read_picture
from precbench.errors import DataError, MissingDependencyError
from precbench.progress import SILENT

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def _image(path: Path, level: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (level,) * len(Image.new(mode, (1, 1)).getbands())
    Image.new(mode, (12, 9), colour if len(colour) > 1 else level).save(path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Return a folder of two classes; each image's level says which one it is."""
    for level, name in enumerate(["dogs/a.png", "cats/b.jpg", "cats/a.PNG", "dogs/10.webp", "dogs/9.bmp"]):
        _image(tmp_path / "pets" / name, 50 * level)
    return tmp_path / "pets"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for part, count in (("train", 4), ("test", 2)):
        for name in ("cats", "dogs"):
            for number in range(count):
                _image(tmp_path / "parts" / part / name / f"{number}.png", 10 * number)
    return tmp_path / "parts"


def _read(path: Path, *, on_bad_image: str = "stop", note: Callable[[str], None] = SILENT.note) -> Dataset:
    found = read_folder(path, size=8, on_bad_image=on_bad_image, note=note)
    assert isinstance(found, Dataset)
    return found


def _notes(path: Path, *, on_bad_image: str = "stop") -> list[str]:
    lines: list[str] = []
    read_folder(path, size=8, on_bad_image=on_bad_image, note=lines.append)
    return lines


def test_the_classes_are_the_sub_folders_and_each_is_read_by_file_name(pets: Path) -> None:
    found = _read(pets)
    assert found.name == "pets"
    assert found.class_names == ("cats", "dogs")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.images.shape == (5, 8, 8, 3)
    assert found.images[:, 4, 4, 0].tolist() == [100, 50, 150, 200, 0]
    assert _notes(pets) == []


def test_each_image_is_what_read_picture_gives(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "x.png")
    assert np.array_equal(_read(tmp_path).images[0], read_picture(tmp_path / "a" / "x.png", size=8).pixels)


def test_what_is_no_image_by_its_name_is_counted_and_named(pets: Path) -> None:
    for name in ("dogs/notes.txt", "dogs/.hidden.png", "readme.md", ".git/x.png", "cats/more/c.png"):
        (pets / name).parent.mkdir(exist_ok=True)
        (pets / name).touch()
    (line,) = _notes(pets)
    assert line == (f"5 files in {pets} ignored, no image by its name or hidden: .git, cats/more, dogs/.hidden.png, …")
    assert len(_read(pets)) == 5


def test_odd_images_are_read_counted_and_named(pets: Path) -> None:
    for name in ("d.png", "e.png", "f.png", "g.png"):
        _image(pets / "dogs" / name, 7, "L")
    _image(pets / "cats" / "t.png", 7, "RGBA")
    _image(pets / "cats" / "c.jpg", 7, "CMYK")
    assert len(_read(pets)) == 11
    assert _notes(pets) == [
        f"1 file in {pets} CMYK, converted without a colour profile: cats/c.jpg",
        f"1 file in {pets} with transparency, laid on white: cats/t.png",
        f"4 files in {pets} grey, repeated as RGB: dogs/d.png, dogs/e.png, dogs/f.png, …",
    ]


def test_a_bad_image_stops_with_its_name_and_the_flag(pets: Path) -> None:
    (pets / "cats" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"the image .*cats/bad\.png is no BMP") as caught:
        _read(pets)
    assert "--on-bad-image skip" in caught.value.remedy


def test_bad_images_are_skipped_counted_and_named_with_the_reason(pets: Path) -> None:
    before = _read(pets)
    (pets / "cats" / "bad.png").write_bytes(b"no image")
    (pets / "dogs" / "0.jpg").touch()
    found = _read(pets, on_bad_image="skip")
    assert np.array_equal(found.images, before.images)
    assert np.array_equal(found.labels, before.labels)
    (line,) = _notes(pets, on_bad_image="skip")
    assert line.startswith(f"2 files in {pets} skipped: cats/bad.png (is no BMP")
    assert line.endswith("dogs/0.jpg (is empty: 0 bytes)")


def test_a_class_without_images_is_refused_by_its_name(pets: Path) -> None:
    (pets / "birds" / "deeper").mkdir(parents=True)
    _image(pets / "birds" / "deeper" / "a.png")
    with pytest.raises(DataError, match=r"the class birds in .* is empty: no file directly in it") as caught:
        _read(pets)
    assert ".jpeg, .jpg" in caught.value.remedy


def test_a_class_whose_images_are_all_skipped_is_refused_by_its_name(pets: Path) -> None:
    for name in ("x.png", "y.png"):
        (pets / "birds" / name).parent.mkdir(exist_ok=True)
        (pets / "birds" / name).touch()
    with pytest.raises(
        DataError, match=r"no image of the class birds in .* can be read; the first is birds/x\.png \(is empty"
    ):
        _read(pets, on_bad_image="skip")


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    with pytest.raises(DataError, match="has no sub-folder"):
        _read(tmp_path)


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        _read(tmp_path / "no")
    with pytest.raises(DataError, match="is no folder") as caught:
        _read(_image(tmp_path / "a.png"))
    assert "one sub-folder of images per class" in caught.value.remedy


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", os.fsdecode(b"\xff")])
def test_a_class_whose_name_cannot_be_printed_is_refused(pets: Path, name: str) -> None:
    _image(pets / name / "x.png")
    with pytest.raises(DataError, match="has no printable name"):
        _read(pets)


def test_a_file_whose_name_cannot_be_printed_is_read_and_shown_escaped(pets: Path) -> None:
    _image(pets / "cats" / os.fsdecode(b"\xff\x1b.png"), 7, "L")
    (line,) = _notes(pets)
    assert line.endswith(r"cats/\udcff\x1b.png")
    assert folder_digest(pets).startswith("sha256:")


def test_a_link_within_the_folder_is_followed(pets: Path) -> None:
    (pets / "dogs" / "z.png").symlink_to(pets / "cats" / "a.PNG")
    assert _read(pets).images[-1, 0, 0, 0] == 100


def test_a_link_to_the_folder_itself_is_followed(pets: Path) -> None:
    (pets.parent / "link").symlink_to(pets)
    assert len(_read(pets.parent / "link")) == 5
    assert folder_digest(pets.parent / "link") == folder_digest(pets)


@pytest.mark.parametrize("target", ["outside.png", "missing.png", "pets/cats/z.png"])
def test_a_link_that_leaves_the_folder_or_leads_nowhere_is_not_read(pets: Path, target: str) -> None:
    _image(pets.parent / "outside.png")
    before = folder_digest(pets)
    (pets / "cats" / "z.png").symlink_to(pets.parent / target)
    with pytest.raises(DataError, match=r"cats/z\.png is a link that leaves the folder or leads nowhere"):
        _read(pets)
    assert len(_read(pets, on_bad_image="skip")) == 5
    assert folder_digest(pets) == before


def test_a_class_that_is_a_link_out_of_the_folder_is_refused(pets: Path) -> None:
    _image(pets.parent / "elsewhere" / "a.png")
    (pets / "birds").symlink_to(pets.parent / "elsewhere")
    for refused in (_read, folder_digest):
        with pytest.raises(DataError, match=r"birds is a link that leaves"):
            refused(pets)


def test_train_and_test_are_parts_of_their_own(parts: Path) -> None:
    found = read_folder(parts, size=8, on_bad_image="stop", note=SILENT.note)
    assert isinstance(found, TrainAndTest)
    assert (len(found.train), len(found.test)) == (8, 4)
    assert found.train.class_names == found.test.class_names == ("cats", "dogs")
    assert has_test_part(parts)


def test_the_notes_count_over_both_parts(parts: Path) -> None:
    for part in ("train", "test"):
        _image(parts / part / "cats" / "grey.png", 5, "L")
    assert _notes(parts) == [f"2 files in {parts} grey, repeated as RGB: train/cats/grey.png, test/cats/grey.png"]


@pytest.mark.parametrize("other", ["validation", "val", "valid"])
def test_a_part_of_another_usual_name_is_refused_not_read_as_a_class(parts: Path, other: str) -> None:
    shutil.copytree(parts / "test", parts / other)
    with pytest.raises(DataError, match=f"has the parts test, train, {other}, not train and test") as caught:
        has_test_part(parts)
    assert caught.value.remedy == "keep exactly train and test: the validation part is drawn from train"
    shutil.rmtree(parts / "test")
    with pytest.raises(DataError, match=f"has the parts train, {other}, not"):
        folder_digest(parts)


def test_a_class_may_be_called_train(pets: Path) -> None:
    _image(pets / "train" / "a.png")
    assert _read(pets).class_names == ("cats", "dogs", "train")
    assert not has_test_part(pets)


def test_parts_of_different_classes_are_refused(parts: Path) -> None:
    _image(parts / "test" / "birds" / "a.png")
    with pytest.raises(DataError, match=r"train and test in .* differ in the classes birds") as caught:
        read_folder(parts, size=8, on_bad_image="stop", note=SILENT.note)
    assert caught.value.remedy == "give both the same sub-folders"


def test_a_part_that_is_a_link_out_of_the_folder_is_refused(parts: Path) -> None:
    (parts / "test").rename(parts.parent / "test")
    (parts / "test").symlink_to(parts.parent / "test")
    with pytest.raises(DataError, match="test is a link that leaves"):
        read_folder(parts, size=8, on_bad_image="stop", note=SILENT.note)


@pytest.mark.parametrize("size", [7, 1025])
def test_a_size_outside_the_limits_is_refused(pets: Path, size: int) -> None:
    with pytest.raises(DataError, match=f"images of {size} x {size} pixels cannot be made"):
        read_folder(pets, size=size, on_bad_image="stop", note=SILENT.note)


def test_an_unknown_answer_to_a_bad_image_is_refused(pets: Path) -> None:
    with pytest.raises(DataError, match="'skp' is no answer to a bad image") as caught:
        _read(pets, on_bad_image="skp")
    assert caught.value.remedy == "choose stop or skip"


def test_more_than_memory_may_hold_is_refused_before_an_image_is_opened(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_MAX_RGB_BYTES", 5 * 8 * 8 * 3)
    assert len(_read(pets)) == 5
    (pets / "cats" / "bad.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"the 6 images in .* would take 1152 bytes as RGB of 8 x 8, over the limit of 960"
    ):
        _read(pets)


def test_a_folder_that_may_not_be_read_says_so(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="pets cannot be read: Permission denied"):
        _read(pets)


def test_the_digest_is_over_names_and_contents_wherever_the_folder_lies(pets: Path) -> None:
    before = folder_digest(pets)
    (pets / "readme.md").write_text("not read, so not counted")
    assert folder_digest(Path(shutil.copytree(pets, pets.parent / "copy"))) == before
    (pets / "cats" / "b.jpg").rename(pets / "cats" / "c.jpg")
    renamed = folder_digest(pets)
    _image(pets / "cats" / "c.jpg", 1)
    assert len({before, renamed, folder_digest(pets)}) == 3


def test_a_pipe_among_the_images_holds_nothing_up(pets: Path) -> None:
    before = folder_digest(pets)
    os.mkfifo(pets / "cats" / "pipe.png")
    assert folder_digest(pets) == before
    with pytest.raises(DataError, match=r"pipe\.png is no file"):
        _read(pets)


def test_the_digest_of_parts_knows_which_part(parts: Path) -> None:
    before = folder_digest(parts)
    (parts / "train").rename(parts / "x")
    (parts / "test").rename(parts / "train")
    (parts / "x").rename(parts / "test")
    assert folder_digest(parts) != before


def test_an_image_that_the_digest_cannot_read_is_an_error(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folder_module, "file_digest", refuse)
    with pytest.raises(DataError, match=r"an image cannot be read: .*Permission denied"):
        folder_digest(pets)


def test_without_pillow_nothing_is_skipped(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match="needs Pillow"):
        _read(pets, on_bad_image="skip")
