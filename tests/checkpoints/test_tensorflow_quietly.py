import subprocess
import sys

import pytest

from precbench.checkpoints import tensorflow_quietly
from precbench.checkpoints.tensorflow_quietly import descriptors_silenced, import_keras, import_quietly
from precbench.errors import MissingDependencyError, UsageError


def _run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_keras_starts_and_computes_without_a_word(keras):
    result = _run(
        "from precbench.checkpoints.tensorflow_quietly import import_keras\n"
        "keras = import_keras()\n"
        "assert keras.backend.backend() == 'tensorflow'\n"
        "keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])(keras.ops.ones((1, 4)))\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_modules_of_checkpoints_import_no_tensorflow():
    result = _run(
        "import sys\n"
        "import precbench.checkpoints.export, precbench.checkpoints.loading\n"
        "print([name for name in ('tensorflow', 'keras', 'tf2onnx', 'h5py') if name in sys.modules])\n"
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    with pytest.raises(MissingDependencyError) as caught:
        import_quietly("no_such_package_for_precbench")
    assert caught.value.problem == "this needs the package no_such_package_for_precbench, which is not installed"
    assert caught.value.remedy == "pip install 'precbench[keras]'"


def test_a_module_that_another_module_lacks_is_the_one_named(tmp_path, monkeypatch):
    (tmp_path / "lacking_module_for_precbench.py").write_text("import still_missing_for_precbench\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match="still_missing_for_precbench"):
        import_quietly("lacking_module_for_precbench")


def test_what_a_module_writes_at_import_is_not_shown(tmp_path, monkeypatch, capfd):
    (tmp_path / "noisy_for_precbench.py").write_text("import os\nos.write(2, b'noise')\nos.write(1, b'noise')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_quietly("noisy_for_precbench")
    assert capfd.readouterr() == ("", "")


def test_what_a_module_wrote_is_shown_when_its_import_fails(tmp_path, monkeypatch, capfd):
    (tmp_path / "failing_for_precbench.py").write_text("import os\nos.write(2, b'the cause')\nraise RuntimeError\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError):
        import_quietly("failing_for_precbench")
    assert "the cause" in capfd.readouterr().err


def test_a_closed_descriptor_is_left_closed(monkeypatch):
    monkeypatch.setattr(tensorflow_quietly, "_is_open", lambda _: False)
    with descriptors_silenced():
        pass


def test_a_process_whose_keras_runs_on_another_backend_is_told(keras, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError) as caught:
        import_keras()
    assert caught.value.problem == "Keras runs on jax in this process; precbench needs TensorFlow"
    assert "KERAS_BACKEND=tensorflow" in caught.value.remedy
