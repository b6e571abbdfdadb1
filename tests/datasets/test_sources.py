import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precbench.datasets import Dataset, Splits, load_dataset, load_splits, source_digest
from precbench.datasets.dataset import TrainAndTest
from precbench.datasets.splitting import split_training
from precbench.errors import DataError
from precbench.files import file_digest


@pytest.fixture(autouse=True, scope="module")
def _scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def _sizes(splits: Splits) -> list[int]:
    return [len(part) for _, part in splits]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def parts(pets: Path) -> Path:
    """Return the pets as `train` of a folder, with a test image of each class."""
    root = pets.parent / "parts"
    for name in ("cats", "dogs"):
        (root / "test" / name).mkdir(parents=True)
        (root / "test" / name / "1.png").write_bytes((pets / name / "1.png").read_bytes())
    pets.rename(root / "train")
    return root


def _numbered(count: int, classes: int) -> Dataset:
    """Return images that say their own number in three bytes."""
    images = (np.arange(count)[:, None] // [1, 256, 65536] % 256).astype(np.uint8)[:, None, None]
    names = tuple(str(label) for label in range(classes))
    return Dataset(name="numbered", images=images, labels=np.arange(count) % classes, class_names=names)


def _numbers(part: Dataset) -> list[int]:
    return (part.images.reshape(-1, 3) @ np.array([1, 256, 65536])).tolist()


def test_fifty_thousand_images_become_forty_and_ten_thousand() -> None:
    parts = TrainAndTest(train=_numbered(50_000, 10), test=_numbered(10_000, 10))
    splits = split_training(parts, seed=0, fractions=(0.8, 0.2))
    assert _sizes(splits) == [40_000, 10_000, 10_000]
    for _, part in splits:
        assert set(np.bincount(part.labels)) == {len(part) // 10}


@settings(deadline=None, max_examples=30)
@given(st.integers(40, 300), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.7, 0.8]))
def test_the_drawn_parts_are_disjoint_complete_and_repeatable(
    count: int, classes: int, seed: int, share: float
) -> None:
    whole = TrainAndTest(train=_numbered(count, classes), test=_numbered(7, classes))
    first, again = (split_training(whole, seed=seed, fractions=(share, 1 - share)) for _ in range(2))
    assert sorted(_numbers(first.train) + _numbers(first.validation)) == list(range(count))
    assert _numbers(first.train) == _numbers(again.train)
    assert first.test is whole.test
    for part in (first.train, first.validation):
        assert np.array_equal(part.labels, np.array(_numbers(part)) % classes)


def test_cifar10_draws_validation_from_the_training_images_and_keeps_the_test(cifar10_folder: Path) -> None:
    splits = load_splits("cifar10", fractions=(0.8, 0.2), seed=3, directory=cifar10_folder.parent)
    assert _sizes(splits) == [80, 20, 20]
    assert set(splits.test.images[..., 0].ravel()) == {5}
    drawn = np.concatenate([splits.train.images, splits.validation.images])[:, 0, 0, :2]
    assert sorted(map(tuple, drawn.tolist())) == [(batch, number) for batch in range(5) for number in range(20)]


def test_the_default_is_80_20_where_the_source_brings_its_test(cifar10_folder: Path, parts: Path) -> None:
    assert _sizes(load_splits("cifar10", directory=cifar10_folder)) == [80, 20, 20]
    assert _sizes(load_splits(f"folder:{parts}", size=8)) == [16, 4, 2]


def test_a_folder_without_parts_is_split_in_three(pets: Path) -> None:
    assert _sizes(load_splits(f"folder:{pets}", size=8)) == [12, 4, 4]


def test_one_part_is_the_one_that_load_splits_gives(cifar10_folder: Path) -> None:
    splits = load_splits("cifar10", seed=7, directory=cifar10_folder)
    for name, part in splits:
        alone = load_dataset("cifar10", split=name, seed=7, directory=cifar10_folder)
        assert np.array_equal(alone.images, part.images)
        assert np.array_equal(alone.labels, part.labels)


def test_all_is_the_sources_training_part_then_its_test(cifar10_folder: Path) -> None:
    whole = load_dataset("cifar10", split="all", directory=cifar10_folder)
    assert whole.images[:, 0, 0, 0].tolist() == [batch for batch in range(6) for _ in range(20)]
    assert whole.labels is not None
    assert len(whole.labels) == 120


def test_a_folder_without_parts_comes_back_whole_and_one_with_parts_by_its_part(pets: Path, parts: Path) -> None:
    assert len(load_dataset(f"folder:{parts}", size=8)) == 2
    assert len(load_dataset(f"folder:{parts}", size=8, split="all")) == 22
    assert len(load_dataset(f"folder:{parts / 'train'}", size=8)) == 20


def test_the_test_part_of_a_source_needs_no_scikit_learn(cifar10_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    assert len(load_dataset("cifar10", directory=cifar10_folder)) == 20


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.8, 0.3), (1.0, 0.0), (1.0,), ()])
def test_fractions_that_are_no_two_shares_are_refused_where_the_source_brings_its_test(
    cifar10_folder: Path, fractions: tuple[float, ...]
) -> None:
    for load in (load_splits, load_dataset):
        with pytest.raises(DataError, match=r"of train and validation are not two shares of 1") as caught:
            load("cifar10", fractions=fractions, directory=cifar10_folder)
        assert "brings its own test part: give two numbers" in caught.value.remedy
        assert "0.8, 0.2" in caught.value.remedy


def test_two_fractions_are_refused_where_the_source_brings_no_test(pets: Path) -> None:
    for source in ("digits", f"folder:{pets}"):
        with pytest.raises(DataError, match="are not three shares of 1") as caught:
            load_splits(source, fractions=(0.8, 0.2))
        assert caught.value.remedy.endswith("two are for data with a test part of its own")


def test_the_fractions_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are not two shares of 1"):
        load_splits("cifar10", fractions=(0.5, 0.4), directory=tmp_path / "missing")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_outside_the_limits_is_refused(cifar10_folder: Path, seed: int) -> None:
    with pytest.raises(DataError, match=f"the seed {seed} is outside"):
        load_splits("cifar10", seed=seed, directory=cifar10_folder)


def test_too_few_training_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"numbered cannot be split into \(0\.8, 0\.2\)") as caught:
        split_training(TrainAndTest(train=_numbered(5, 5), test=_numbered(5, 5)), seed=0, fractions=(0.8, 0.2))
    assert "more images per class" in caught.value.remedy


def test_parts_of_other_classes_are_no_pair() -> None:
    with pytest.raises(DataError, match="the test part of numbered have other classes"):
        TrainAndTest(train=_numbered(6, 3), test=_numbered(6, 2))


def test_cifar10_without_its_place_names_the_flag() -> None:
    for call in (load_splits, load_dataset, source_digest):
        with pytest.raises(DataError, match="cifar10 is read from disk, and where it lies was not said") as caught:
            call("cifar10")
        assert caught.value.remedy.startswith("name it with --data-dir: the folder that holds cifar-10-batches-py")


def test_a_place_for_what_has_none_is_refused(pets: Path, tmp_path: Path) -> None:
    for spec in ("digits", f"folder:{pets}"):
        with pytest.raises(DataError, match=r"not read from a data directory, and .* was given\nleave out --data-dir"):
            load_splits(spec, directory=tmp_path)


def test_a_bad_image_stops_unless_it_is_to_be_skipped(pets: Path) -> None:
    (pets / "cats" / "bad.png").touch()
    lines: list[str] = []
    for load in (load_splits, load_dataset):
        with pytest.raises(DataError, match="is empty"):
            load(f"folder:{pets}", size=8)
        load(f"folder:{pets}", size=8, on_bad_image="skip", note=lines.append)
    assert lines == 2 * [f"1 file in {pets} skipped: cats/bad.png (is empty: 0 bytes)"]


def test_notes_on_cifar10_are_passed_on(cifar10_folder: Path) -> None:
    lines: list[str] = []
    load_splits("cifar10", directory=cifar10_folder, note=lines.append)
    load_dataset("cifar10", directory=cifar10_folder, note=lines.append)
    assert len(lines) == 2
    assert "test_batch" in lines[1]


def test_a_folder_is_named_even_if_its_path_ends_like_an_archive(pets: Path) -> None:
    renamed = pets.rename(pets.parent / "pets.npz")
    assert len(load_dataset(f"folder:{renamed}", size=8)) == 20


def test_a_folder_without_a_path_is_not_the_working_folder() -> None:
    with pytest.raises(DataError, match="folder: names no folder"):
        load_dataset("folder:")


def test_only_what_is_embedded_has_no_digest(cifar10_folder: Path, pets: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    digests = [
        source_digest("cifar10", directory=cifar10_folder),
        source_digest(f"folder:{pets}"),
        source_digest(f"npz:{tmp_path / 'x.npz'}"),
    ]
    assert all(digest is not None and digest.startswith("sha256:") for digest in digests)
    assert digests[2] == file_digest(tmp_path / "x.npz")
    assert source_digest("digits") is None


def test_the_digest_of_a_missing_file_is_an_error(tmp_path: Path) -> None:
    for source in (f"npz:{tmp_path / 'x.npz'}", f"folder:{tmp_path / 'x'}"):
        with pytest.raises(DataError, match=r"there is no file|does not exist"):
            source_digest(source)
