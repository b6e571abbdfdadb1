"""The page says what the records say; what is missing is left out, and no name of a stranger becomes markup."""

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

pytest.importorskip("altair", reason="the extra report is not installed")

from precbench.errors import DataError, MissingDependencyError, ModelError, OutputError, UsageError
from precbench.report.html.accuracy import pareto_front
from precbench.report.html.answer import answer
from precbench.report.html.comparing_page import comparing_page
from precbench.report.html.making import make_page, write_report
from precbench.report.html.material import read_run
from precbench.report.html.study_page import study_page
from precbench.report.html.view import Page
from precbench.report.html.writing import page_html, write_figures, write_page
from precbench.study.definition import load_study
from precbench.study.journal import Stage

from .conftest import MakeRun

MANIFEST: dict[str, Any] = {
    "form": "int8",
    "bytes": {"model": 2_480_000, "reference": 9_170_000, "zstd_model": 2_060_000, "zstd_reference": 8_450_000},
    "accuracy": {"flips": {"difference_points": -0.02, "low_points": -0.19, "high_points": 0.15}},
    "time": {
        "ratios": [{"batch": 32, "verdict": "faster", "ratio": {"point": 0.4, "low": 0.39, "high": 0.41}}],
        "provider": "cpu",
        "intra_op_threads": 1,
    },
}


def section(page: Page, anchor: str) -> Any:
    return next((one for one in page.sections if one.anchor == anchor), None)


def names(page: Page) -> list[str]:
    return [figure.name for one in page.sections for figure in one.figures]


def test_a_whole_run_has_every_part(make_run: MakeRun) -> None:
    page = study_page(make_run(), [MANIFEST])
    assert [one.anchor for one in page.sections] == ["decimals", "deployed", "layers", "confusions", "timing", "repeat"]
    assert names(page) == ["accuracy", "time", "bytes", "time-accuracy", "layers"]
    panels = section(page, "confusions").panels
    assert [panel.name for panel in panels][:2] == ["full precision", "all: all.dp1"]
    assert panels[1].pictures
    assert "data:image/png;base64," in page_html(page)


def test_the_answer_gives_decimals_time_and_the_deployed_form_with_their_intervals(make_run: MakeRun) -> None:
    text = "\n".join(answer(make_run(images=4000, level_of_noise=0.2), [MANIFEST]))
    assert re.search(r"From \d decimals? on a loss of 0.5 points is excluded", text)
    assert "Rounding alone changes no time by 1 % or more: all 3 variants are equivalent" in text
    assert (
        "Deployed as int8: 0.270 of the bytes (2.48 MB), 0.400 [0.390, 0.410] of the time at batch 32 (faster)" in text
    )
    assert "-0.02 points [-0.19, +0.15]" in text


def test_few_images_are_inconclusive_and_said_to_be_too_few(make_run: MakeRun) -> None:
    text = "\n".join(answer(make_run(images=200)))
    assert "Inconclusive" in text
    assert "since 200 images show" in text


def test_without_timing_nothing_is_said_of_time(make_run: MakeRun) -> None:
    page = study_page(make_run(timed=False))
    assert "What rounding does to time is not measured." in page.answer
    assert not {"time", "time-accuracy", "samples"} & set(names(page))
    page_html(page)


def test_without_images_the_flips_are_counted(make_run: MakeRun) -> None:
    page = study_page(make_run(pixels=False))
    assert "the images themselves are not at hand" in section(page, "confusions").panels[1].note


def test_a_thousand_classes_are_shown_by_their_most_frequent_confusions(make_run: MakeRun) -> None:
    page = study_page(make_run(classes=1000, images=3000))
    sheets = section(page, "confusions").panels[1].sheets
    assert sheets[0].columns == ["true class", "predicted class", "images"]
    assert len(sheets[0].rows) <= 40
    assert len(page_html(page)) < 6_000_000


def test_three_hundred_variants_fit(make_run: MakeRun) -> None:
    page = study_page(make_run(layers=150))
    assert len(section(page, "layers").figures[0].sheet.rows) == 300
    assert len(page_html(page)) < 6_000_000


def test_of_more_layers_than_a_picture_holds_the_title_says_which_are_drawn(make_run: MakeRun) -> None:
    figure = section(study_page(make_run(layers=150)), "layers").figures[0]
    assert "of the 120 that lose most of 150" in figure.title
    (rows,) = figure.spec["datasets"].values()
    drawn = {row["part"] for row in rows}
    assert len(drawn) == 120
    assert "that lose most" not in section(study_page(make_run(layers=4)), "layers").figures[0].title


def test_of_more_variants_than_the_chooser_holds_it_says_how_many_are_left_out(make_run: MakeRun) -> None:
    few, many = make_run(), make_run(decimals=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0))
    extra = many.results["experiments"]
    extra += [{**extra[1], "name": f"layers{n}"} for n in range(5)]
    assert "left out" not in section(study_page(few), "confusions").paragraphs[0]
    found = section(study_page(many), "confusions")
    left = 13 + 6 - 16
    assert f"The last {left} of these are left out." in found.paragraphs[0]


def test_two_experiments_of_a_kind_are_both_shown_under_their_names(make_run: MakeRun) -> None:
    run = make_run()
    first, layers = run.results["experiments"]
    run.results["experiments"].append({**first, "name": "again", "rows": first["rows"][:1]})
    run.results["experiments"].append({**layers, "name": "few", "rows": layers["rows"][:2]})
    page = study_page(run)
    assert names(page) == ["accuracy", "time", "accuracy-again", "time-again", "bytes", "time-accuracy", "layers",
                           "layers-few"]  # fmt: skip
    assert any(text.startswith("again: ") for text in page.answer)
    assert "Layers, one at a time (few)" in section(page, "layers").figures[1].title
    places = {cells[0].text for cells in comparing_page([run, make_run()]).sections[0].figures[0].sheet.rows}
    assert {f"{run.folder}, all", f"{run.folder}, again"} <= places


def test_the_tables_of_each_variant_are_saved_under_its_name(make_run: MakeRun) -> None:
    sheets = [sheet.name for panel in section(study_page(make_run()), "confusions").panels for sheet in panel.sheets]
    assert len(sheets) == len(set(sheets))
    assert "confusion-all-all.dp1" in sheets


def test_a_form_that_was_timed_otherwise_is_not_in_the_plot_against_time(make_run: MakeRun) -> None:
    def costs(manifest: Any) -> list[str]:
        figure = next(
            f for f in section(study_page(make_run(), [manifest]), "decimals").figures if f.name == "time-accuracy"
        )
        return [cells[0].text for cells in figure.sheet.rows]

    otherwise = {**MANIFEST, "time": {**MANIFEST["time"], "provider": "cuda"}}
    assert "int8 (deployed)" in costs(MANIFEST)
    assert "int8 (deployed)" not in costs(otherwise)
    said = section(study_page(make_run(), [otherwise]), "deployed").paragraphs
    assert said[0].startswith("int8 was timed on cuda, 1 thread(s), batch 32")


def test_one_variant_is_enough(make_run: MakeRun) -> None:
    page = study_page(make_run(decimals=(4,), layers=0))
    assert "accuracy" in names(page)
    page_html(page)


def test_a_run_that_is_not_finished_says_so(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    for one in run.results["experiments"]:
        for row in one["rows"]:
            row["timing"] = row["file"] = None
    results = {**run.results, "timing": None, "control": None, "winners": {}}
    (run.folder / "results.json").unlink()
    monkeypatch.setattr("precbench.report.html.material.results_so_far", lambda _folder: results)
    page = make_page([run.folder])
    assert page.answer[0].startswith("This run is not finished")
    assert page.answer[-1] == "What rounding does to time is not measured yet."


def test_a_finished_run_that_is_damaged_does_not_pass_for_unfinished(make_run: MakeRun) -> None:
    run = make_run()
    (run.folder / "results.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        make_page([run.folder])


def test_points_that_are_missing_are_not_passed_over(make_run: MakeRun) -> None:
    run = make_run(images=4000, level_of_noise=0.2, decimals=(1, 2, 3, 4, 5))
    rows = run.experiments("all")[0].planned
    rows[3] |= {"flips": None, "decision": None, "state": "failed", "timing": None, "file": None}  # type: ignore[operator]
    text = "\n".join(answer(run))
    assert "From 5 decimals on a loss of 0.5 points is excluded" in text
    assert "1 of 5 numbers of decimals are not evaluated" in text


def test_a_loss_that_is_shown_everywhere_is_no_inconclusive_result(make_run: MakeRun) -> None:
    run = make_run(images=4000, level_of_noise=5.0, decimals=(1,))
    assert answer(run)[0].startswith("A loss is shown at every number of decimals that is evaluated: 1 decimal")


def test_variants_without_an_interval_are_inconclusive_and_not_unmeasured(make_run: MakeRun) -> None:
    run = make_run()
    for row in run.experiments("all")[0].planned[:2]:
        row["timing"] |= {"verdict": "inconclusive", "ratio": {"point": 1.01, "low": None, "high": None}}
    assert "inconclusive: 1, 2 decimals; equivalent: 3 decimals" in "\n".join(answer(run))


def test_a_class_that_nobody_named_is_a_class_of_its_own(make_run: MakeRun) -> None:
    run = make_run()
    stage = run.stages["predictions"]
    key = next(point.key for point in run._journal.points() if point.name == "all.dp1")
    found = run._journal.predictions(key)
    assert found is not None
    found.classes[:3] = 57
    run._journal.record_predictions(key, found)
    del stage
    sheet = section(study_page(run), "confusions").panels[1].sheets[0]
    assert sheet.columns[0] == "true class"  # 58 classes: the most frequent confusions are listed
    assert any(cells[1].text == "class 57" for cells in sheet.rows)


def test_without_the_packages_nothing_is_begun(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precbench.report.html.installed.find_spec", lambda name: None if name == "altair" else name)
    with pytest.raises(MissingDependencyError, match="a report needs Altair, which is not installed"):
        page_html(study_page(make_run()))


def test_a_form_of_another_model_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", info[:1], info[1:])
    onnx.save(helper.make_model(graph), run.folder / "base.onnx")
    folder = tmp_path / "shipped"
    folder.mkdir()
    files = {name: {"digest": "sha256:0"} for name in ("model.onnx", "reference.npz")}
    value = {"schema_version": 1, "files": files, "reference_outputs": {"tolerance": 0.2}, **MANIFEST}
    (folder / "manifest.json").write_text(json.dumps({**value, "reference": {"digest": "sha256:0"}}))
    with pytest.raises(UsageError, match="was compared with another model"):
        make_page([run.folder, folder])


def test_names_become_no_markup(make_run: MakeRun) -> None:
    bad = "<script>alert(1)</script>"
    run = make_run(names=[bad, "</script><img src=x onerror=alert(1)>", *(str(n) for n in range(8))])
    for one in run.results["experiments"]:
        for row in one["rows"]:
            row["name"] = row["name"].replace("layer0", bad)
            row["parts"] = {key.replace("layer0", bad): n for key, n in row["parts"].items()}
    html = page_html(study_page(run))
    assert bad not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_nothing_in_the_page_is_fetched(make_run: MakeRun) -> None:
    html = page_html(study_page(make_run()))
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!data:|#)', own)
    assert "default-src 'none'" in own
    assert "unsafe-inline" not in re.search(r"script-src ([^;]*);", own)[1]  # type: ignore[index]


def test_runs_are_set_side_by_side(make_run: MakeRun) -> None:
    runs = [make_run(), make_run(images=200)]
    page = comparing_page(runs)
    assert len(page.answer) == 2
    assert "made up" in [cell.text for cell in page.sections[0].sheets[1].rows[0]]
    assert names(page) == ["accuracy", "time"]
    assert (
        len({row[0].text for row in section(page, "runs").sheets[0].rows}) == 2
    )  # of one study: told by their folders
    page_html(page)


def test_figures_are_written_for_papers_and_the_same_run_gives_the_same_pixels(
    make_run: MakeRun, tmp_path: Path
) -> None:
    page = study_page(make_run(layers=2))
    first = {path.name: path.read_bytes() for path in write_figures(page, tmp_path / "a")}
    again = {path.name: path.read_bytes() for path in write_figures(page, tmp_path / "b")}
    assert {"accuracy.svg", "accuracy.png", "layers.svg"} <= set(first) == set(again)
    assert first["accuracy.svg"].startswith(b"<svg")
    pixels = [name for name in first if name.endswith(".png")]
    assert [first[name] for name in pixels] == [again[name] for name in pixels]
    with pytest.raises(OutputError, match="exists already"):
        write_figures(page, tmp_path / "a")


def test_a_page_that_exists_is_not_replaced_unasked(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("mine")
    page = study_page(make_run())
    with pytest.raises(OutputError, match="exists already"):
        write_page(page, tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_the_default_place_replaces_only_what_is_the_runs_own(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.html").write_text("my thesis")
    one, two = make_run(), make_run()
    page = study_page(one)
    assert write_report(page, [one.folder], None, force=False) == one.folder / "report.html"
    assert write_report(page, [one.folder], None, force=False) == one.folder / "report.html"
    with pytest.raises(OutputError, match="exists already"):
        write_report(comparing_page([one, two]), [one.folder, two.folder], None, force=False)
    assert Path("report.html").read_text() == "my thesis"


def test_what_is_no_run_is_refused(tmp_path: Path, make_run: MakeRun) -> None:
    with pytest.raises(OutputError, match="is no run folder"):
        make_page([tmp_path])
    folder = tmp_path / "shipped"
    folder.mkdir()
    files = {name: {"digest": "sha256:0"} for name in ("model.onnx", "reference.npz")}
    bare = {"schema_version": 1, "form": "int8", "files": files, "reference_outputs": {"tolerance": 0.2}}
    (folder / "manifest.json").write_text(json.dumps(bare))
    with pytest.raises(ModelError, match="its manifest does not say accuracy, bytes, time, reference"):
        make_page([folder])
    (folder / "manifest.json").write_text(json.dumps({**bare, **MANIFEST, "reference": {"digest": "sha256:0"}}))
    with pytest.raises(UsageError, match="there is no run among these folders"):
        make_page([folder])
    with pytest.raises(UsageError, match="is a deployed folder beside 2 runs"):
        make_page([make_run().folder, make_run().folder, folder])


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.floats(0, 10), st.floats(0, 100)), min_size=1, max_size=12))
def test_the_front_holds_exactly_what_no_other_beats(found: dict[str, tuple[float, float]]) -> None:
    front = set(pareto_front(found))
    assert front
    for name, (cost, right) in found.items():
        better = [n for n, (c, r) in found.items() if c <= cost and r >= right and (c, r) != (cost, right)]
        assert (name in front) == (not better)


def test_runs_that_were_not_measured_alike_are_said_to_be(make_run: MakeRun) -> None:
    first, second = make_run(), make_run()
    second.results["timing"]["session"]["provider"] = "cuda"
    said = comparing_page([first, second]).answer[-1]
    assert said == f"These runs were not measured alike. provider: {first.folder} cpu; {second.folder} cuda."


def test_to_repeat_it_says_what_has_to_be_given_again(make_run: MakeRun) -> None:
    run = make_run()
    run.results["study"]["data"]["source"] = "cifar10"
    run._journal.record_stage("checkpoint", Stage(key="c", files={}, facts={"given": {"weights.h5": "sha256:12"}}))
    commands = section(study_page(run), "repeat").commands
    folder = f"runs/{run.folder.name}"
    assert commands == [
        f"precbench run made-up.toml --data-dir FOLDER --checkpoint CHECKPOINT -o {folder}",
        f"precbench results {folder} -o results.csv",
        "# weights.h5: sha256:12",
    ]


def test_to_repeat_a_study_that_comes_with_precbench_its_name_is_enough(make_run: MakeRun) -> None:
    run = make_run()
    run.results["study"].update(json.loads(json.dumps(load_study("mobilenetv2-digits").to_json())))
    assert section(study_page(run), "repeat").commands[0].startswith("precbench run mobilenetv2-digits -o ")
    run.results["study"]["accuracy"]["margin_points"] = 3.0
    assert section(study_page(run), "repeat").commands[0].startswith("precbench run mobilenetv2-digits.toml -o ")


def test_files_of_a_base_model_that_was_replaced_are_not_listed(make_run: MakeRun) -> None:
    run = make_run()
    for name, digest in (("base", "b"), ("variant:old", "o"), ("variant:new", "n")):
        facts = {"base": {"variant:old": "another", "variant:new": "b"}.get(name, "")}
        files = {"base.onnx" if name == "base" else f"variants/{name[8:]}.onnx": digest}
        run._journal.record_stage(name, Stage(key=name, files=files, facts=facts))
    listed = [cells[0].text for cells in section(study_page(run), "repeat").sheets[-1].rows]
    assert "variants/new.onnx" in listed
    assert "variants/old.onnx" not in listed


def test_figures_are_drawn_before_the_first_is_written(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = study_page(make_run())
    monkeypatch.setattr("vl_convert.vegalite_to_png", lambda *_args, **_named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_figures(page, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_results_of_what_was_replaced_do_not_pass_for_finished(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    run._journal.forget_stages(["results"])
    monkeypatch.setattr("precbench.report.html.material.results_so_far", lambda _folder: run.results)
    assert not read_run(run.folder).is_finished
