import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from precbench.checkpoints import weights_file
from precbench.checkpoints.checkpoint_variables import list_variables
from precbench.checkpoints.rounding import round_checkpoint
from precbench.checkpoints.training import save_checkpoint
from precbench.errors import ModelError, OutputError, TargetError, UsageError
from precbench.grids import DecimalGrid, Grid, round_to_decimals

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
_RNG = np.random.default_rng(5)
_KERNEL = _RNG.normal(0, 0.3, (3, 3, 4, 5)).astype(np.float32)
_DEPTHWISE = _RNG.normal(0, 0.3, (3, 3, 4, 1)).astype(np.float32)
_GAMMA = _RNG.normal(1, 0.3, 5).astype(np.float32)


def decimal(plan: Mapping[str, int]) -> dict[str, Grid]:
    return {name: DecimalGrid(number) for name, number in plan.items()}


def _write_legacy(path: Path, *, kernel: Any = _KERNEL, prefix: str = "") -> Path:
    with h5py.File(path, "w") as file:
        root = file.create_group(prefix) if prefix else file
        file.attrs["keras_version"] = b"2.4.0"
        root.attrs["layer_names"] = [b"c", b"bn", b"d"]
        for layer, word, values in (
            ("c", "kernel:0", kernel),
            ("bn", "gamma:0", _GAMMA),
            ("d", "depthwise_kernel:0", _DEPTHWISE),
        ):
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{word}".encode()]
            group.create_dataset(f"{layer}/{word}", data=values)
    return path


def _write_numbered(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for place, name, values in (("conv2d", "c", _KERNEL), ("depthwise_conv2d", "d", _DEPTHWISE)):
            group = file.create_group(f"layers/{place}/vars")
            group.attrs["name"] = name
            group["0"] = values
        file["optimizer/vars/0"] = _GAMMA
    return path


def _write_keras(path: Path, **replaced: bytes | None) -> Path:
    """Write a `.keras` archive; members given as None are left out."""
    config = {
        "class_name": "Functional",
        "config": {
            "name": "m",
            "layers": [
                {"class_name": "Conv2D", "config": {"name": "c"}},
                {"class_name": "DepthwiseConv2D", "config": {"name": "d"}},
            ],
        },
    }
    weights = _write_numbered(path.with_suffix(".inner")).read_bytes()
    members: dict[str, bytes | None] = {
        "metadata.json": b'{"keras_version": "3.15.0"}',
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": weights,
        "assets/words.txt": b"one\ntwo\n",
        **replaced,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                compression = zipfile.ZIP_DEFLATED if name.endswith(".txt") else zipfile.ZIP_STORED
                archive.writestr(name, content, compression)
    return path


def _walk(source: Any) -> dict[str, Any]:
    """Return everything that an HDF5 file holds: attributes of every object, and type, layout and values of each."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        found[f"{name}@"] = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, item.chunks, item.compression, item[()].tobytes())

    with h5py.File(source) as file:
        visit("/", file)
        file.visititems(visit)
    return found


def _assert_only_these_differ(before: Mapping[str, Any], after: Mapping[str, Any], paths: set[str]) -> None:
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == paths


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    return _write_legacy(tmp_path / "w.h5")


def test_the_named_kernel_is_rounded_correctly_and_nothing_else_in_the_file_differs(legacy: Path) -> None:
    output = legacy.with_name("out.h5")
    outcomes = round_checkpoint(legacy, output, decimal({"c/kernel": 2}))
    _assert_only_these_differ(_walk(legacy), _walk(output), {"c/c/kernel:0"})
    with h5py.File(output) as file:
        assert np.array_equal(file["c/c/kernel:0"][()], round_to_decimals(_KERNEL, 2))
    assert [(outcome.initializer, outcome.decimals, outcome.skipped) for outcome in outcomes] == [
        ("c/kernel", 2, None),
        ("bn/gamma", None, "not targeted"),
        ("d/kernel", None, "not targeted"),
    ]


def test_each_variable_has_its_own_decimals(legacy: Path) -> None:
    output = legacy.with_name("out.h5")
    outcomes = {
        outcome.initializer: outcome
        for outcome in round_checkpoint(legacy, output, decimal({"c/kernel": 1, "d/kernel": 3, "bn/gamma": 0}))
    }
    with h5py.File(output) as file:
        for path, name, values in (
            ("c/c/kernel:0", "c/kernel", _KERNEL),
            ("bn/bn/gamma:0", "bn/gamma", _GAMMA),
            ("d/d/depthwise_kernel:0", "d/kernel", _DEPTHWISE),
        ):
            decimals = outcomes[name].decimals
            assert decimals is not None
            assert np.array_equal(file[path][()], round_to_decimals(values, decimals))


def test_the_outcome_counts_elements_and_changed_values(tmp_path: Path) -> None:
    kernel = np.array([0.1, 0.25, 0.125, -0.0], np.float32)
    path = _write_legacy(tmp_path / "w.h5", kernel=kernel)
    outcome = round_checkpoint(path, tmp_path / "out.h5", decimal({"c/kernel": 2}))[0]
    assert (outcome.layer, outcome.elements, outcome.changed) == ("c", 4, 1)


def test_rounding_twice_changes_nothing_more(legacy: Path) -> None:
    once, twice = legacy.with_name("once.h5"), legacy.with_name("twice.h5")
    round_checkpoint(legacy, once, decimal({"c/kernel": 3}))
    assert round_checkpoint(once, twice, decimal({"c/kernel": 3}))[0].changed == 0
    assert once.read_bytes() == twice.read_bytes()


def test_nothing_targeted_gives_the_same_bytes(legacy: Path) -> None:
    output = legacy.with_name("out.h5")
    round_checkpoint(legacy, output, {})
    assert output.read_bytes() == legacy.read_bytes()


def test_a_whole_model_keeps_its_architecture_and_its_optimizer(tmp_path: Path) -> None:
    path = _write_legacy(tmp_path / "model.h5", prefix="model_weights")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = '{"class_name": "Functional"}'
        file["optimizer_weights/adam/iteration"] = 3
    output = tmp_path / "out.h5"
    round_checkpoint(path, output, decimal({"d/kernel": 1}))
    _assert_only_these_differ(_walk(path), _walk(output), {"model_weights/d/d/depthwise_kernel:0"})


def test_a_keras_3_weights_file_is_rounded(tmp_path: Path) -> None:
    path, output = _write_numbered(tmp_path / "m.weights.h5"), tmp_path / "out.weights.h5"
    round_checkpoint(path, output, decimal({"d/kernel": 2}))
    _assert_only_these_differ(_walk(path), _walk(output), {"layers/depthwise_conv2d/vars/0"})


def test_in_a_keras_file_every_other_member_stays_byte_for_byte(tmp_path: Path) -> None:
    path, output = _write_keras(tmp_path / "m.keras"), tmp_path / "out.keras"
    round_checkpoint(path, output, decimal({"c/kernel": 2}))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(output) as new:
        assert new.testzip() is None
        assert new.namelist() == old.namelist()
        for one, two in zip(old.infolist(), new.infolist(), strict=True):
            assert (one.date_time, one.compress_type, one.external_attr) == (
                two.date_time,
                two.compress_type,
                two.external_attr,
            )
            if one.filename != "model.weights.h5":
                assert old.read(one) == new.read(two)
        walked = [_walk(io.BytesIO(archive.read("model.weights.h5"))) for archive in (old, new)]
    _assert_only_these_differ(walked[0], walked[1], {"layers/conv2d/vars/0"})


def test_the_source_itself_may_be_the_output(legacy: Path) -> None:
    round_checkpoint(legacy, legacy, decimal({"c/kernel": 1}))
    with h5py.File(legacy) as file:
        assert np.array_equal(file["c/c/kernel:0"][()], round_to_decimals(_KERNEL, 1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_every_float_type_keeps_its_type_and_byte_order(tmp_path: Path, dtype: str) -> None:
    path = _write_legacy(tmp_path / "w.h5", kernel=_KERNEL.astype(dtype))
    output = tmp_path / "out.h5"
    round_checkpoint(path, output, decimal({"c/kernel": 2}))
    with h5py.File(output) as file:
        values = file["c/c/kernel:0"]
        assert values.dtype == np.dtype(dtype)
        native = _KERNEL.astype(np.dtype(dtype).newbyteorder("="))
        assert np.array_equal(values[()], round_to_decimals(native, 2))


def test_compressed_and_chunked_values_keep_their_layout(tmp_path: Path) -> None:
    path = _write_legacy(tmp_path / "w.h5")
    with h5py.File(path, "r+") as file:
        del file["c/c/kernel:0"]
        file.create_dataset("c/c/kernel:0", data=_KERNEL, chunks=(1, 3, 4, 5), compression="gzip", shuffle=True)
    output = tmp_path / "out.h5"
    round_checkpoint(path, output, decimal({"c/kernel": 2}))
    _assert_only_these_differ(_walk(path), _walk(output), {"c/c/kernel:0"})


@pytest.mark.parametrize("values", [np.float32(0.123), np.zeros((0, 3), np.float32)])
def test_scalars_and_empty_arrays_are_rounded_too(tmp_path: Path, values: Any) -> None:
    path = _write_legacy(tmp_path / "w.h5", kernel=values)
    outcome = round_checkpoint(path, tmp_path / "out.h5", decimal({"c/kernel": 1}))[0]
    assert outcome.elements == np.size(values)


def test_a_targeted_integer_variable_is_skipped_with_the_reason(tmp_path: Path) -> None:
    path = _write_legacy(tmp_path / "w.h5", kernel=np.arange(4))
    outcome = round_checkpoint(path, tmp_path / "out.h5", decimal({"c/kernel": 1}))[0]
    assert outcome.decimals is None
    assert outcome.skipped == "int64 is not rounded; float16, float32, float64 are"


def test_a_bfloat16_variable_is_skipped_with_the_reason(tmp_path: Path) -> None:
    path = _write_numbered(tmp_path / "m.weights.h5")
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/0"].attrs["dtype"] = "bfloat16"
    outcome = round_checkpoint(path, tmp_path / "out.h5", decimal({"c/kernel": 1}))[0]
    assert outcome.skipped is not None
    assert outcome.skipped.startswith("bfloat16 is not rounded")


def test_a_variable_without_a_dataspace_is_skipped(tmp_path: Path) -> None:
    path = _write_legacy(tmp_path / "w.h5", kernel=h5py.Empty("f4"))
    assert round_checkpoint(path, tmp_path / "out.h5", decimal({"c/kernel": 1}))[0].skipped is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path: Path, bad: float) -> None:
    path = _write_legacy(tmp_path / "w.h5", kernel=np.array([0.5, bad], np.float32))
    with pytest.raises(ModelError, match=r"c/kernel in .* holds 1 NaN or infinite values of 2") as caught:
        round_checkpoint(path, tmp_path / "out.h5", decimal({"c/kernel": 1}))
    assert "leave that variable out" in caught.value.remedy
    assert list(tmp_path.iterdir()) == [path]


def test_not_finite_values_elsewhere_do_not_matter(tmp_path: Path) -> None:
    path = _write_legacy(tmp_path / "w.h5", kernel=np.array([np.nan], np.float32))
    assert round_checkpoint(path, tmp_path / "out.h5", decimal({"d/kernel": 1}))[2].decimals == 1


def test_an_unknown_variable_is_refused_with_the_nearest(legacy: Path) -> None:
    with pytest.raises(TargetError, match="has no variable 'c/kernels'") as caught:
        round_checkpoint(legacy, legacy.with_name("out.h5"), decimal({"c/kernels": 1}))
    assert "c/kernel" in caught.value.remedy


def test_a_variable_like_none_is_refused_with_some_that_there_are(legacy: Path) -> None:
    with pytest.raises(TargetError) as caught:
        round_checkpoint(legacy, legacy.with_name("out.h5"), decimal({"####": 1}))
    assert caught.value.remedy == "known are c/kernel, bn/gamma, d/kernel"


@pytest.mark.parametrize("decimals", [-1, 13, 1.5, True])
def test_decimals_outside_0_to_12_are_refused(legacy: Path, decimals: Any) -> None:
    with pytest.raises(UsageError, match="the number of decimals is"):
        round_checkpoint(legacy, legacy.with_name("out.h5"), decimal({"c/kernel": decimals}))


# Files that are not what they should be.


def _refusal(path: Path, suffix: str = ".h5") -> ModelError:
    with pytest.raises(ModelError) as caught:
        round_checkpoint(path, path.with_name(f"out{suffix}"), decimal({"c/kernel": 1}))
    assert not path.with_name(f"out{suffix}").exists()
    return caught.value


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    error = _refusal(tmp_path / "no.h5")
    assert error.problem.endswith("no.h5 does not exist")
    assert ".keras file" in error.remedy


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.h5").mkdir()
    assert _refusal(tmp_path / "d.h5").problem.endswith("d.h5 is a directory")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.h5").touch()
    assert _refusal(tmp_path / "e.h5").problem.endswith("e.h5 is empty")


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("no HDF5")
    assert _refusal(tmp_path / "x.h5").problem.endswith("is neither HDF5 nor a .keras archive")


def test_hdf5_that_keras_did_not_write_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["measurements"] = [1.0]
    error = _refusal(tmp_path / "x.h5")
    assert error.problem.endswith("is HDF5 but holds no Keras weights")
    assert "weights or a whole model" in error.remedy


def test_truncated_hdf5_is_refused_wherever_it_ends(legacy: Path) -> None:
    whole = legacy.read_bytes()
    cut = legacy.with_name("cut.h5")
    for length in range(1, len(whole) - 1, 211):
        cut.write_bytes(whole[:length])
        _refusal(cut)


def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = _write_keras(tmp_path / "m.keras").read_bytes()
    cut = tmp_path / "cut.keras"
    for length in range(1, len(whole) - 1, 499):
        cut.write_bytes(whole[:length])
        _refusal(cut, ".keras")


@pytest.mark.parametrize("missing", ["config.json", "model.weights.h5"])
def test_an_archive_that_is_no_keras_file_is_refused(tmp_path: Path, missing: str) -> None:
    error = _refusal(_write_keras(tmp_path / "m.keras", **{missing: None}), ".keras")
    assert error.problem.endswith(f"is an archive without {missing}, so no .keras file")


@pytest.mark.parametrize(
    ("member", "content", "problem"),
    [
        ("config.json", b"{", "cannot be read"),
        ("config.json", b"\xff\xfe\x00", "cannot be read"),
        ("config.json", b"[]", "has an architecture that is no JSON object"),
        ("model.weights.h5", b"", "holds weights that are not HDF5"),
        ("model.weights.h5", b"PK", "holds weights that are not HDF5"),
    ],
)
def test_an_archive_with_a_damaged_member_is_refused(tmp_path: Path, member: str, content: bytes, problem: str) -> None:
    assert problem in _refusal(_write_keras(tmp_path / "m.keras", **{member: content}), ".keras").problem


def test_an_archive_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = _write_keras(tmp_path / "m.keras")
    content = bytearray(path.read_bytes())
    content[content.index(b"keras_version") + 3] ^= 0xFF
    path.write_bytes(content)
    assert _refusal(path, ".keras").problem.endswith("fails the checksum of metadata.json")


def test_an_archive_with_two_members_of_one_name_is_refused(tmp_path: Path) -> None:
    path = _write_keras(tmp_path / "m.keras")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", "{}")
    assert _refusal(path, ".keras").problem.endswith("is an archive with two members of one name")


def test_an_architecture_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_file, "_MAX_CONFIG_BYTES", 10)
    assert _refusal(_write_keras(tmp_path / "m.keras"), ".keras").problem.endswith("architecture of more than 10 bytes")


def test_an_archive_that_would_unpack_to_far_more_than_it_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(1 << 20))
    monkeypatch.setattr(weights_file, "_BOMB_FLOOR_BYTES", 1 << 19)
    assert "declares 1048576 bytes at model.weights.h5 and stores" in _refusal(path, ".keras").problem


def test_a_dataset_of_absurd_size_is_refused(legacy: Path) -> None:
    with h5py.File(legacy, "r+") as file:
        file.create_dataset("bomb", shape=(1 << 34,), dtype="f4", chunks=True, compression="gzip")
    assert "at most 4,294,967,296" in _refusal(legacy).problem


def test_a_damaged_weights_file_in_an_archive_is_named_by_the_archive(tmp_path: Path) -> None:
    whole = _write_numbered(tmp_path / "w.h5").read_bytes()
    path = _write_keras(tmp_path / "m.keras", **{"model.weights.h5": whole[:500]})
    assert _refusal(path, ".keras").problem.startswith(str(path))


def test_values_that_hdf5_cannot_decode_are_refused(tmp_path: Path) -> None:
    path = _write_legacy(tmp_path / "w.h5")
    with h5py.File(path, "r+") as file:
        del file["c/c/kernel:0"]
        file.create_dataset("c/c/kernel:0", data=_KERNEL, chunks=True, fletcher32=True)
    content = bytearray(path.read_bytes())
    content[content.rindex(_KERNEL.tobytes()[:40])] ^= 0xFF
    path.write_bytes(content)
    assert "is damaged HDF5" in _refusal(path).problem


def test_external_links_are_not_followed(legacy: Path) -> None:
    with h5py.File(legacy, "r+") as file:
        del file["c/c/kernel:0"]
        file["c/c/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert _refusal(legacy).problem.endswith("holds an external link, /c/c/kernel:0; what it leads to is not read")


def test_soft_links_are_not_followed(legacy: Path) -> None:
    with h5py.File(legacy, "r+") as file:
        file["elsewhere"] = h5py.SoftLink("/c")
    assert "holds a soft link, /elsewhere" in _refusal(legacy).problem


def test_groups_that_contain_themselves_are_refused(legacy: Path) -> None:
    with h5py.File(legacy, "r+") as file:
        file["c/again"] = file["c"]
    assert _refusal(legacy).problem.endswith("holds one object under two names, the second c/again")


def test_values_in_another_file_are_not_followed(legacy: Path) -> None:
    (legacy.parent / "outside.bin").write_bytes(bytes(16))
    with h5py.File(legacy, "r+") as file:
        file.create_dataset("outside", (4,), "f4", external=[(str(legacy.parent / "outside.bin"), 0, 16)])
    assert "holds /outside, whose data is in another file" in _refusal(legacy).problem


def test_virtual_datasets_are_not_followed(legacy: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    with h5py.File(legacy, "r+") as file:
        file.create_virtual_dataset("virtual", layout)
    assert "holds /virtual, whose data is in another file" in _refusal(legacy).problem


def test_a_dataset_whose_filter_loses_bits_is_refused(legacy: Path) -> None:
    with h5py.File(legacy, "r+") as file:
        del file["c/c/kernel:0"]
        file.create_dataset("c/c/kernel:0", data=_KERNEL, chunks=True, scaleoffset=1)
    error = _refusal_at(legacy, {"c/kernel": 3})
    assert "does not keep the values written to it" in error.problem


def _refusal_at(path: Path, decimals: Mapping[str, int]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        round_checkpoint(path, path.with_name("out.h5"), decimal(decimals))
    assert not path.with_name("out.h5").exists()
    return caught.value


@pytest.mark.parametrize(
    ("make", "name", "ending"), [(_write_legacy, "w.h5", ".h5 or .hdf5"), (_write_keras, "m.keras", ".keras")]
)
def test_an_output_of_another_format_is_refused(tmp_path: Path, make: Any, name: str, ending: str) -> None:
    with pytest.raises(OutputError, match=f"must end in {ending}"):
        round_checkpoint(make(tmp_path / name), tmp_path / "out.onnx", decimal({"c/kernel": 1}))


def test_an_output_that_cannot_be_written_is_refused(legacy: Path) -> None:
    (legacy.parent / "taken").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        round_checkpoint(legacy, legacy.parent / "taken" / "out.h5", decimal({"c/kernel": 1}))


def test_no_room_to_unpack_an_archive_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    path = _write_keras(tmp_path / "m.keras")
    monkeypatch.setattr(weights_file.shutil, "copyfileobj", full)
    with pytest.raises(OutputError, match=r"no room to unpack the weights .* No space left") as caught:
        round_checkpoint(path, tmp_path / "out.keras", decimal({"c/kernel": 1}))
    assert "TMPDIR" in caught.value.remedy


def test_a_failed_write_leaves_the_old_output_as_it_was(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    output = legacy.with_name("out.h5")
    output.write_bytes(b"old")
    monkeypatch.setattr(weights_file.shutil, "copyfile", full)
    with pytest.raises(OutputError, match="No space left on device"):
        round_checkpoint(legacy, output, decimal({"c/kernel": 1}))
    assert output.read_bytes() == b"old"
    assert sorted(legacy.parent.iterdir()) == [output, legacy]


def test_rounding_needs_no_tensorflow(legacy: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'tf2onnx', 'onnxruntime'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from precbench.checkpoints.rounding import round_checkpoint\n"
        "from precbench.grids import DecimalGrid\n"
        f"path = Path({str(legacy)!r})\n"
        "print(round_checkpoint(path, path.with_name('out.h5'), {'c/kernel': DecimalGrid(2)}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "changed=" in done.stdout


def test_without_h5py_the_remedy_names_the_extra(legacy: Path) -> None:
    script = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'h5py': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from pathlib import Path\n"
        "from precbench.checkpoints.rounding import round_checkpoint\n"
        "from precbench.errors import MissingDependencyError\n"
        f"try: round_checkpoint(Path({str(legacy)!r}), Path('out.h5'), {{}})\n"
        "except MissingDependencyError as error: print(error.remedy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "pip install 'precbench[keras]'", done.stderr


# Against Keras: a rounded file loads, and holds the rounded values.


@pytest.mark.slow
def test_every_format_loads_in_keras_with_the_kernels_rounded_and_all_else_as_it_was(
    keras: ModuleType, tmp_path: Path
) -> None:
    from precbench.checkpoints.architectures import build

    model = build("MobileNetV2", input_size=32, classes=4, alpha=0.35, seed=1)
    files = save_checkpoint(model, tmp_path)
    model.save(tmp_path / "whole.h5")
    model.save_weights(tmp_path / "bare.weights.h5")
    for path in (files.weights, files.model, tmp_path / "whole.h5", tmp_path / "bare.weights.h5"):
        output = path.with_name(f"rounded-{path.name}")
        kernels = {variable.name: 2 for variable in list_variables(path) if variable.role == "kernel"}
        assert len(kernels) == 53
        assert sum(outcome.changed > 0 for outcome in round_checkpoint(path, output, decimal(kernels))) == 53
        _assert_rounded(_load(keras, output, files.architecture), model)


def _load(keras: ModuleType, path: Path, architecture: Path) -> Any:
    if path.suffix == ".keras" or "whole" in path.name:
        return keras.models.load_model(path, compile=False)
    model = keras.models.model_from_json(architecture.read_text())
    model.load_weights(path)
    return model


def _assert_rounded(rounded: Any, model: Any) -> None:
    for ours, theirs in zip(rounded.variables, model.variables, strict=True):
        before, after = np.asarray(theirs), np.asarray(ours)
        expected = round_to_decimals(before, 2) if theirs.path.endswith("/kernel") else before
        assert np.array_equal(after, expected), theirs.path
