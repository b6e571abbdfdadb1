"""Study files, the good and the bad."""

from pathlib import Path

import pytest

from precbench.errors import UsageError
from precbench.study.definition import load_study, shipped_groups, shipped_studies

DIGITS = shipped_studies()["mobilenetv2-digits"]


def changed(tmp_path: Path, old: str, new: str) -> str:
    text = DIGITS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "study.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return str(path)


def test_the_default_study_is_the_papers_four_experiments() -> None:
    study = load_study("mobilenetv2-digits")
    first, second, third, fourth = study.experiment
    assert [e.targets for e in study.experiment] == ["all", "each-group", "combinations", "each-layer"]
    assert first.decimals == second.decimals == (1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert set(third.factorial) == set(study.groups)
    assert fourth.decimals == (1, 3, 5, 7, 9)
    assert study.timing.experiments == ("all",)
    assert set(study.groups) == {"conv1", "expand", "depthwise", "project", "conv"}
    assert study.architecture.name == "MobileNetV2"


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_can_be_read_and_is_named_after_its_file(name: str) -> None:
    assert load_study(name).name == name


def test_groups_are_found_by_the_names_they_fit() -> None:
    names = [
        "Conv1/kernel",
        "block_1_expand/kernel",
        "block_1_depthwise/kernel",
        "block_1_project/kernel",
        "Conv_1/kernel",
    ]
    found = shipped_groups(names)
    assert found is not None
    assert "expand" in found[1]
    assert shipped_groups(["features.0.weight"]) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = ", "epoch = ", r"line 18: unknown key 'training.epoch'\nthe nearest are epochs"),
        ("alpha = 1.0", 'alpha = "1"', r"line 13: architecture.alpha is '1', of type str\ngive a number"),
        ("seed = 884", "seed = true", "data.seed is True"),
        ("decimals = [1, 2, 3, 4, 5, 6, 7, 8, 9]", "decimals = [1, 13]", "is 13, outside 0 to 12"),
        ("decimals = [1, 2, 3, 4, 5, 6, 7, 8, 9]", "decimals = []", "at least one"),
        ("decimals = [1, 2, 3, 4, 5, 6, 7, 8, 9]", 'decimals = ["4"]', r"experiment\[0\].decimals\[0\] is '4'"),
        ("decimals = [1, 3, 5, 7, 9]", "decimals = [1, 3, true]", r"line 54: experiment\[3\].decimals\[2\] is True"),
        ("decimals = [1, 3, 5, 7, 9]", "decimals = [1, 3, 3]", r"line 54: experiment 'layers': .*listed twice"),
        ('targets = "each-layer"', 'targets = "each-layers"', r"targets is 'each-layers'\nthe nearest are each-layer"),
        ('targets = "each-layer"', 'targets = "combinations"', "combinations need groups with decimals of their own"),
        ('name = "layers"', 'name = "all"', "the experiments are .*\n.*a name of its own"),
        ('experiments = ["all"]', 'experiments = ["al"]', r"names 'al'\nthe nearest is all"),
        ("expand = [2, 3], ", "expand = [2, 14], ", "14, outside 0 to 12"),
        ("margin_points = 0.5", "margin_points = 0", "margin_points is 0"),
        ("fractions = [0.6, 0.2, 0.2]", "fractions = [0.6, 0.2]", "fractions that add up to 1"),
        ('preprocessing = "tf" ', 'weights = "mine" ', "line 15: .*weights is 'mine'"),
        ("size = 32 ", "size = 0 ", "size is 0 pixels"),
        ("batch_size = 64", "batch_size = 0", "batch_size is 0"),
        ("learning_rate = 3e-3", "learning_rate = 0", "learning_rate is 0"),
        ("budget_s = ", "budget_s = -", "budget_s is -"),
        ("intra_op_threads = 1", "intra_op_threads = 0", "intra_op_threads is 0"),
        ("schema_version = 2", "schema_version = 1", r"schema_version is 1, this precbench reads 2\nsee models/"),
        ('name = "mobilenetv2-digits"', 'name = "../elsewhere"', "it names the run folder"),
        ('name = "mobilenetv2-digits"\n', "", r"the key 'name' is missing\nadd it: a text in quotes"),
        ("[accuracy]", "[acuracy]", r"line 56: unknown key 'acuracy'\nthe nearest is accuracy"),
        ("[timing]", "[timing", "cannot be read"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key_with_the_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_study(changed(tmp_path, old, new))


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('schema_version = 2\nname = "x"\ndata = 3\n')
    with pytest.raises(UsageError, match=r"data is 3, not a table\nwrite it as \[data\]"):
        load_study(str(path))


def test_empty_groups_are_refused(tmp_path: Path) -> None:
    text = DIGITS.read_text(encoding="utf-8")
    start, end = text.index("conv1 ="), text.index("# The paper's four experiments. A")
    path = tmp_path / "s.toml"
    path.write_text(text[:start] + text[end:])
    with pytest.raises(UsageError, match=r"\[groups\] is empty"):
        load_study(str(path))


def test_an_unknown_study_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"there is no study 'mobilenet-digits'\nthe nearest are mobilenetv2-digits"):
        load_study("mobilenet-digits")


def test_a_missing_study_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no study file .*x\.toml"):
        load_study(str(tmp_path / "x.toml"))
