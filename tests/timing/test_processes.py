"""Plans carried out in real child processes."""

import json
import os
import sys

import pytest

from precbench.errors import ModelError
from precbench.timing.journal import Kind, read_journal
from precbench.timing.processes import ProcessRunner, be_child, child_main, run_child
from precbench.timing.schedule import ProcessPlan

CHILD = """
import os, signal, sys, time
from precbench.errors import ModelError
from precbench.timing.processes import child_main

def prepare(request, plan):
    what = request["what"]
    if what == "refuse":
        raise ModelError("the file is damaged", "export it again")
    if what == "crash":
        raise ValueError("a bug of ours")
    calls = dict.fromkeys(plan.arms, 0)

    def make(arm):
        def call():
            calls[arm] += 1
            if calls["b"] == request.get("at"):
                if what == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if what == "interrupt the caller":
                    os.kill(os.getppid(), signal.SIGINT)
                if what == "fail":
                    raise ModelError("out of memory", "use a smaller --batch")
            time.sleep(0.0005 if arm == "a" else 0.0015)
        return call

    return make, (lambda: {"process": plan.process}) if what == "observe" else None

if __name__ == "__main__":
    sys.exit(child_main(prepare, sys.argv[1:]))
"""

ONCE_AND_WARM_UP = 1 + 1  # calls of an arm before the first block: the warm-up has one round
PER_BLOCK = 2 * (1 + 2)
THIRD_BLOCK = ONCE_AND_WARM_UP + 2 * PER_BLOCK + 1


def plan_of(**changes):
    return ProcessPlan(
        **{
            "replicate": 0,
            "process": 3,
            "arms": ("a", "b"),
            "seed": 2,
            "blocks": 4,
            "calls": 2,
            "warmup_s": 0.0,
            **changes,
        }
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Carry out a plan in a child that does what it is told."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "told_child.py").write_text(CHILD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def carry_out(what, *, plan=None, **request):
        return ProcessRunner("told_child", {"what": what, **request}, folder=folder)(plan or plan_of())

    return carry_out


def test_a_fresh_process_measures_what_the_plan_says(run):
    samples = run("measure")
    assert (samples.ended, samples.failure, samples.lost_block) == ("done", None, None)
    assert samples.elapsed_ns.shape == (4, 4, 3)
    assert samples.order.tolist() == [order for order, _ in zip(plan_of().block_orders(), range(4), strict=False)]
    assert samples.of("a").min() >= 500_000
    assert samples.of("b").min() >= 1_500_000
    assert set(samples.creation_ns) == set(samples.first_run_ns) == {"a", "b"}


def test_what_is_observed_comes_back_with_each_block(run):
    assert run("observe").readings == ({"process": 3},) * 4


def test_a_refusal_arrives_as_the_same_error_with_its_remedy(run):
    samples = run("refuse")
    assert type(samples.failure) is ModelError
    assert (samples.failure.problem, samples.failure.remedy) == ("the file is damaged", "export it again")
    assert samples.ended == "failed: the file is damaged"
    assert (samples.blocks, samples.lost_block) == (0, None)


def test_a_model_that_fails_half_way_leaves_the_blocks_before(run):
    samples = run("fail", at=THIRD_BLOCK)
    assert samples.ended == "failed: out of memory"
    assert samples.failure.remedy == "use a smaller --batch"
    assert (samples.blocks, samples.lost_block) == (2, 2)


def test_a_process_killed_in_its_third_block_leaves_the_first_two(run):
    samples = run("kill", at=THIRD_BLOCK)
    assert samples.ended == "killed by SIGKILL"
    assert samples.failure is None
    assert (samples.blocks, samples.lost_block) == (2, 2)
    assert samples.of("b").min() >= 1_500_000


def test_a_process_killed_at_once_leaves_nothing_and_no_error(run):
    samples = run("kill", at=0)
    assert (samples.ended, samples.blocks, samples.lost_block) == ("killed by SIGKILL", 0, None)


def test_ctrl_c_ends_the_child_and_leaves_the_blocks_before(run):
    samples = run("interrupt the caller", at=THIRD_BLOCK, plan=plan_of(blocks=None, measure_s=60.0))
    assert (samples.ended, samples.failure) == ("interrupted", None)
    assert samples.blocks >= 2
    assert samples.lost_block == samples.blocks


def test_a_bug_in_the_child_keeps_its_traceback(run):
    with pytest.raises(RuntimeError, match="a measuring process ended with status 1") as caught:
        run("crash")
    assert "ValueError: a bug of ours" in str(caught.value)
    assert "in prepare" in str(caught.value)


@pytest.mark.parametrize("path", [None, ""])
def test_no_module_of_the_working_directory_is_imported(run, tmp_path, monkeypatch, path):
    """Whoever unpacks a stranger's archive and measures in it runs nothing of it."""
    for name in ("numpy", "json", "scipy", "precbench"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.delenv("PYTHONPATH", raising=False) if path is None else monkeypatch.setenv("PYTHONPATH", path)
    assert run("measure").ended == "done"


def test_nothing_is_left_in_the_temporary_folder(run, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    run("kill", at=THIRD_BLOCK)
    assert list(temporary.iterdir()) == []


def test_other_work_than_a_plan_can_be_done_in_a_child_and_answers_in_json(tmp_path):
    (tmp_path / "adding_child.py").write_text(
        "import sys\n"
        "from precbench.timing.processes import be_child\n"
        "sys.exit(be_child(lambda call, journal: {'sum': sum(call['numbers'])}, sys.argv[1:]))\n"
    )
    outcome = run_child("adding_child", {"numbers": [1, 2, 4]}, import_folder=tmp_path)
    assert (outcome.ended, outcome.failure, outcome.records) == ("done", None, [])
    assert outcome.result == {"sum": 7}


def call_file(folder, **changes):
    path = folder / "call.json"
    path.write_text(json.dumps({"plan": plan_of().to_json(), "request": None, **changes}), encoding="utf-8")
    return str(path)


def test_a_child_ends_with_its_caller(tmp_path):
    path = call_file(tmp_path)
    assert child_main(lambda *_: (lambda _: lambda: None, None), [path, str(os.getppid() + 1)]) == 130
    assert [kind for kind, _ in read_journal(tmp_path / "journal")] == [Kind.CREATION]


@pytest.mark.parametrize(
    ("error", "status", "left"),
    [
        (None, 0, "result.json"),
        (KeyboardInterrupt(), 130, None),
        (ModelError("gone", "look for it"), 2, "failure.json"),
    ],
)
def test_a_childs_status_says_how_it_ended(tmp_path, error, status, left):
    def work(call, journal):
        if error is not None:
            raise error

    assert be_child(work, [call_file(tmp_path), str(os.getppid())]) == status
    assert {path.name for path in tmp_path.iterdir()} == {"call.json", "journal"} | ({left} if left else set())


def test_the_child_imports_little():
    """A light start leaves more of the budget for measuring."""
    assert "precbench.timing.processes" in sys.modules
    code = "import sys, precbench.timing.processes; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(os.popen(f'{sys.executable} -c "{code}"').read().split())
    assert "numpy" in loaded
    assert not loaded & {"scipy", "onnx", "onnxruntime", "tensorflow", "rich", "typer"}
