"""The step that distils an encoder: what its key follows, what is made, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prefixbank.artifacts.encoder import encoder_of
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.pooling import pooling_of
from prefixbank.artifacts.tensors import read_heads
from prefixbank.config.running import RunConfig
from prefixbank.config.schema import (
    EncoderConfig,
    FineTuneConfig,
    MultitaskConfig,
    MultitaskRecipe,
    PoolingConfig,
    SamplingConfig,
    StudentConfig,
    StudentRecipe,
    TaskConfig,
)
from prefixbank.core.pairs import side_by_side
from prefixbank.core.training.multitask import fit_multitask
from prefixbank.core.training.settings import FitEvent
from prefixbank.data.encoders.encoder import load_encoder
from prefixbank.data.encoders.files import describe_folder
from prefixbank.data.tasks.task import Examples, Task
from prefixbank.errors import EncoderError, Faults, UsageError
from prefixbank.runtime.context import Context
from prefixbank.runtime.events import Event
from prefixbank.steps.flops import finetuning_flops, outputs_flops
from prefixbank.steps.train_multitask.make import prepare
from prefixbank.steps.train_multitask.step import unit as multitask_unit
from prefixbank.steps.train_student import step as train_student
from prefixbank.steps.train_student.make import fit
from prefixbank.steps.train_student.request import DistillationRequest, heads_for
from prefixbank.store.artifact import Entry
from prefixbank.store.key import key_of
from prefixbank.store.store import Store
from tests.core.training.fits import Killed
from tests.data.encoders.models import FAMILIES, bare_llama, write_encoder
from tests.prepared import copy_store

OPTIM = FineTuneConfig(epochs=1, batch_size=16)
TAUGHT = MultitaskRecipe(optim=OPTIM)
QUICK = StudentRecipe(student=StudentConfig(layers=1), optim=OPTIM)
AS_IT_IS = StudentRecipe(student=StudentConfig(layers=2), optim=FineTuneConfig(epochs=0))
"""The tiny encoder has two layers."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all tests, in which each teacher is made once."""
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture
def context(prepared, home: Store) -> Context:
    """Runs on the CPU, with tasks named alpha, beta, gamma and omega."""
    return Context(home, RunConfig(device="cpu", data_root=str(prepared.tasks)))


@pytest.fixture
def tasks(context: Context) -> dict[str, Task]:
    """Tasks of each kind: alpha and beta of classes, flags of labels, values, pairs."""
    alpha, beta = (context.task(TaskConfig(name=name)) for name in ("alpha", "beta"))
    return {
        "alpha": alpha,
        "beta": beta,
        "values": like(alpha, "values", "regression", lambda one: 100.0 + 20.0 * one),
        "flags": like(
            alpha, "flags", "multilabel", lambda one: np.stack([one, 1 - one], 1).astype(np.uint8)
        ),
        "pairs": replace(alpha, name="pairs", **{split: paired(alpha, split) for split in SPLITS}),
    }


SPLITS = ("train", "validation", "test")


def like(task: Task, name: str, kind: Any, labels: Callable[[np.ndarray], np.ndarray]) -> Task:
    """A task with other labels for the same texts."""
    splits = {
        split: replace(task.split(split), labels=labels(task.split(split).labels))
        for split in SPLITS
    }
    facts = {"metric": "r2", "labels": ()} if kind == "regression" else {"metric": "micro_f1"}
    return replace(task, name=name, kind=kind, **facts, **splits)


def paired(task: Task, split: str) -> Examples:
    """The rows of a split, each text with the one before it."""
    rows = task.split(split)
    return replace(rows, pairs=(rows.texts[-1], *rows.texts[:-1]))


@pytest.fixture
def teach(context: Context):
    """Fine-tune an encoder, the tiny one if no other is named."""

    def make(
        *tasks: Task, recipe: MultitaskRecipe = TAUGHT, encoder: EncoderConfig | None = None
    ) -> Entry:
        files = context.encoder_files(encoder or EncoderConfig(source="tiny"))
        return context.ensure(multitask_unit(context, tasks, files, recipe, "both")).entry

    return make


@pytest.fixture
def teacher(teach, tasks: dict[str, Task]) -> Entry:
    return teach(tasks["alpha"], tasks["beta"])


@pytest.fixture
def distil(context: Context):
    def make(
        teacher: Entry, *tasks: Task, recipe: StudentRecipe = QUICK, force: bool = False
    ) -> Entry:
        made = train_student.unit(context, tasks, teacher, recipe)
        return replace(context, force=force).ensure(made).entry

    return make


def weights_of(entry: Entry) -> dict[str, torch.Tensor]:
    return load_file(encoder_of(entry).folder / "model.safetensors")


def test_untrained_student_with_all_layers_is_its_teacher(distil, teacher, tasks):
    student = distil(teacher, tasks["alpha"], tasks["beta"], recipe=AS_IT_IS)
    for name in ("encoder/model.safetensors", "heads.safetensors"):
        assert student.files[name].sha256 == teacher.files[name].sha256
    found, known = (read_json(one, "result.json") for one in (student, teacher))
    assert found["validation"] == found["teacher_validation"] == known["validation"]


def test_untrained_student_has_the_embeddings_and_lower_layers_of_its_teacher(
    distil, teacher, tasks
):
    recipe = replace(AS_IT_IS, student=StudentConfig(layers=1))
    student, whole = weights_of(distil(teacher, tasks["beta"], recipe=recipe)), weights_of(teacher)
    assert {name for name in whole if ".layer.1." not in name} == set(student)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in student.items())


def test_student_is_read_with_its_layers_and_pools_as_its_teacher(distil, teach, tasks):
    pooling = PoolingConfig(position="cls", layers="mean_last", last_k=2)
    made = teach(tasks["alpha"], recipe=replace(TAUGHT, pooling=pooling, max_length_tokens=20))
    student = distil(made, tasks["alpha"])
    files = encoder_of(student)
    assert (files.origin.name, files.origin.layers) == ("student/alpha", 1)
    assert pooling_of(student) == pooling
    assert student.document["config"]["max_length_tokens"] == 20
    assert files.digest == describe_folder(files.folder, files.origin, "").digest
    assert read_json(student, "encoder/config.json")["num_hidden_layers"] == 1
    loaded = load_encoder(files, "cpu")
    assert loaded.shape.layers == 1
    held = weights_of(student)
    assert all(torch.equal(held[name], one) for name, one in loaded.model.state_dict().items())


def test_final_norm_stays_with_the_whole_encoder_alone(distil, teach, tasks, tmp_path):
    encoder = EncoderConfig(source="folder", path=str(bare_llama(tmp_path)))
    recipe = MultitaskRecipe(optim=FineTuneConfig(epochs=0), max_length_tokens=48)
    made = teach(tasks["alpha"], recipe=recipe, encoder=encoder)
    whole, cut = (
        distil(made, tasks["alpha"], recipe=replace(AS_IT_IS, student=StudentConfig(layers=layers)))
        for layers in (3, 2)
    )
    assert weights_of(whole).keys() == weights_of(made).keys()
    gone = weights_of(made).keys() - weights_of(cut).keys()
    assert {name for name in gone if not name.startswith("layers.2.")} == {"norm.weight"}
    assert load_encoder(encoder_of(cut), "cpu").shape.layers == 2


def test_student_of_labels_alone_is_the_fine_tuned_cut_teacher(distil, teacher, tasks, context):
    hard = replace(QUICK, student=StudentConfig(layers=1, soft_weight=0.0))
    student = distil(teacher, tasks["beta"], tasks["alpha"], recipe=hard)
    folder = encoder_of(teacher).folder
    cut = describe_folder(folder, EncoderConfig(source="folder", path=str(folder), layers=1), "cut")
    ready = prepare(context, [tasks["beta"], tasks["alpha"]], cut, TAUGHT)
    alpha, beta = read_heads(teacher)
    model = load_encoder(cut, "cpu").model
    rows = (ready.batches, ready.validation, ready.settings)
    plain = fit_multitask(model, ready.encoder.shape, *rows, heads=[beta, alpha])
    found = weights_of(student)
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.encoder.items())
    assert torch.equal(read_heads(student)[1][0], plain.heads[1][0])


def test_teacher_changes_what_is_learned(distil, teacher, tasks):
    soft, hard = (
        distil(
            teacher,
            tasks["alpha"],
            recipe=replace(QUICK, student=StudentConfig(layers=1, soft_weight=weight)),
        )
        for weight in (1.0, 0.0)
    )
    assert soft.digest != hard.digest


@pytest.mark.parametrize("name", ["values", "flags", "pairs"])
def test_students_of_every_kind_have_the_score_of_their_teacher_beside_theirs(
    distil, teach, tasks, name: str
):
    apart = replace(TAUGHT, multitask=MultitaskConfig(pairs="separate"))
    made = teach(tasks[name], tasks["beta"], recipe=apart)
    student = distil(made, tasks["beta"], tasks[name])
    known, found = (read_json(one, "result.json") for one in (made, student))
    scores = [one["validation"] for one in known["tasks"]]
    found_scores = [one["teacher_validation"] for one in found["tasks"]]
    assert found_scores == pytest.approx(scores[::-1], abs=1e-5)
    assert found["teacher_validation"] == pytest.approx(np.mean(scores), abs=1e-5)
    line = train_student.describe(student)
    assert line.startswith(f"validation mean {found['validation']:.3f} (teacher ")
    assert f"{name} {found['tasks'][1]['validation']:.3f} (teacher {scores[0]:.3f})" in line


def test_score_of_the_teacher_is_that_of_its_encoder_and_head(distil, teach, tasks):
    made = teach(
        tasks["pairs"], recipe=replace(TAUGHT, multitask=MultitaskConfig(pairs="separate"))
    )
    encoder, rows = load_encoder(encoder_of(made), "cpu"), tasks["pairs"].validation
    vectors = []
    for texts in (rows.texts, rows.pairs):
        for text in texts:
            inputs = encoder.tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                vectors.append(encoder.model(**inputs).last_hidden_state[0].mean(dim=0))
    ((weight, bias),) = read_heads(made)
    outputs = side_by_side(torch.stack(vectors)) @ weight.T + bias
    accuracy = (outputs.argmax(dim=1).numpy() == rows.labels).mean()
    result = read_json(distil(made, tasks["pairs"]), "result.json")
    assert result["tasks"][0]["teacher_validation"] == pytest.approx(accuracy)


def test_operations_are_those_of_the_student_and_one_pass_of_the_teacher(
    distil, teacher, tasks, context
):
    student = distil(teacher, tasks["alpha"])
    ready = prepare(context, [tasks["alpha"]], encoder_of(teacher), TAUGHT)
    cut = describe_folder(encoder_of(teacher).folder, EncoderConfig(layers=1), "cut")
    steps = read_json(student, "result.json")["steps"]
    own = finetuning_flops(load_encoder(cut, "cpu"), ready.settings, ready.batches, steps)
    forward = outputs_flops(ready.encoder, ready.settings, ready.rows.train[0].forward_batches())
    assert own and forward
    assert read_json(student, "result.json")["training_flops"] == own + forward


def test_same_key_made_again_has_the_same_digest(distil, teacher, tasks):
    first = distil(teacher, tasks["alpha"])
    again = distil(teacher, tasks["alpha"], force=True)
    assert (again.key, again.digest, again.info["forced"]) == (first.key, first.digest, True)


@pytest.mark.parametrize("kill_at", [1, 3])
def test_killed_run_resumes_to_the_same_bytes(
    context: Context, teacher, tasks, tmp_path: Path, kill_at: int
):
    here = replace(context, run=replace(context.run, checkpoint_every_s=0))
    request = DistillationRequest.of(
        teacher, [tasks["alpha"]], replace(QUICK, optim=FineTuneConfig(epochs=2, batch_size=16))
    )

    def fitted(name: str, on_event: Callable[[FitEvent], None] = lambda event: None) -> Any:
        (tmp_path / name).mkdir(exist_ok=True)
        return fit(here, [tasks["alpha"]], request, tmp_path / name, name, on_event)

    def kill(event: FitEvent) -> None:
        if event.step == kill_at + 1:
            raise Killed

    with pytest.raises(Killed):
        fitted("killed", kill)
    assert (tmp_path / "killed" / "training.safetensors").is_file()
    resumed, whole = fitted("killed"), fitted("whole")
    assert resumed.result.curve == whole.result.curve and resumed.facts == whole.facts
    for name, tensor in whole.result.encoder.items():
        assert torch.equal(resumed.result.encoder[name], tensor)
    assert torch.equal(resumed.result.heads[0][0], whole.result.heads[0][0])


def test_progress_of_the_teacher_is_reported(context: Context, teacher, tasks):
    events: list[Event] = []
    here = replace(context, emit=events.append, force=True)
    here.ensure(train_student.unit(here, [tasks["alpha"]], teacher, QUICK))
    told = [one for one in events if one.kind == "progress" and one.text == "teacher"]
    assert (told[-1].done, told[-1].total, told[-1].unit) == (40, 40, "rows")


def test_student_can_be_a_teacher(distil, teacher, tasks):
    first = distil(teacher, tasks["beta"], tasks["alpha"])
    second = distil(first, tasks["alpha"])
    assert encoder_of(second).origin.layers == 1
    assert second.document["inputs"]["teacher"] == first.digest
    assert second.document["config"]["heads"] == [1]


@pytest.fixture
def key(context: Context, teacher, tasks):
    """Return the key of a unit that is not run."""

    def of(*names: str, recipe: StudentRecipe = QUICK, by: Entry = teacher, **changes: Task) -> str:
        wanted = [changes.get(name) or tasks[name] for name in names]
        return key_of(train_student.unit(context, wanted, by, recipe, "any").document)

    return of


def test_key_ignores_names_and_test_rows(key, tasks):
    other = replace(tasks["alpha"], name="other", test=tasks["beta"].test)
    assert key("other", other=other) == key("alpha")


def test_key_follows_the_tasks_and_their_order(key):
    assert len({key("alpha", "beta"), key("beta", "alpha"), key("alpha"), key("beta")}) == 4


def test_key_follows_the_teacher(key, teach, tasks):
    other = teach(tasks["alpha"], tasks["beta"], recipe=replace(TAUGHT, seed=1))
    assert key("alpha", by=other) != key("alpha")


@pytest.mark.parametrize(
    "change",
    [
        {"student": StudentConfig(layers=2)},
        {"student": StudentConfig(layers=1, temperature=3.0)},
        {"student": StudentConfig(layers=1, soft_weight=0.4)},
        {"multitask": SamplingConfig(size_cap=10)},
        {"optim": replace(OPTIM, lr=1e-3)},
        {"seed": 1},
    ],
    ids=str,
)
def test_key_follows_the_recipe(key, change):
    assert key("alpha", recipe=replace(QUICK, **change)) != key("alpha")


def test_key_ignores_a_temperature_without_effect(key, teach, tasks):
    def recipe(temperature: float, soft_weight: float) -> StudentRecipe:
        settings = StudentConfig(layers=1, temperature=temperature, soft_weight=soft_weight)
        return replace(QUICK, student=settings)

    assert key("alpha", recipe=recipe(3.0, 0.0)) == key("alpha", recipe=recipe(2.0, 0.0))
    assert key("alpha", recipe=recipe(3.0, 0.5)) != key("alpha", recipe=recipe(2.0, 0.5))
    of_values = teach(tasks["values"])
    one, other = (key("values", by=of_values, recipe=recipe(t, 0.5)) for t in (3.0, 2.0))
    assert one == other


def test_key_ignores_a_sampling_temperature_without_effect(key):
    idle = replace(QUICK, multitask=SamplingConfig(temperature=5.0))
    assert key("alpha", recipe=idle) == key("alpha")


def test_head_is_found_by_name_and_else_by_rows(teacher, tasks):
    renamed = replace(tasks["beta"], name="renamed")
    more_rows = replace(tasks["alpha"], train=tasks["beta"].train)
    assert heads_for(teacher, [renamed, more_rows]) == [1, 0]


def test_tasks_that_the_teacher_does_not_know_are_refused_together(teacher, tasks, context):
    omega = context.task(TaskConfig(name="omega"))
    with pytest.raises(Faults) as caught:
        heads_for(teacher, [tasks["values"], tasks["alpha"], omega])
    said = [fault.what for fault in caught.value.faults]
    assert len(said) == 2 and all(f"multitask/both@{teacher.short_key}" in what for what in said)
    assert caught.value.faults[1].expected.endswith("alpha, beta")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ("yes", "no")}, "here it is a classification of yes, no"),
        ({"kind": "multilabel"}, "here it is a multilabel of no, yes"),
    ],
)
def test_task_with_other_labels_is_refused(teacher, tasks, change, said):
    with pytest.raises(UsageError, match=said):
        heads_for(teacher, [replace(tasks["alpha"], **change)])


def test_student_deeper_than_its_teacher_is_refused(distil, teacher, tasks, home):
    before = home.entries("train_student")
    with pytest.raises(UsageError, match="student.layers=3, and the teacher") as caught:
        distil(teacher, tasks["alpha"], recipe=replace(QUICK, student=StudentConfig(layers=3)))
    assert (caught.value.expected, caught.value.fix) == ("1 to 2", "student.layers=1")
    assert home.entries("train_student") == before


@pytest.mark.parametrize(
    "pooling",
    [
        PoolingConfig(layers="concat_last", last_k=3),
        PoolingConfig(layers="concat_last", last_k=2),
        PoolingConfig(layers="mean_last", last_k=3),
        PoolingConfig(layers="single", layer=2),
        PoolingConfig(layers=(0, 2)),
    ],
    ids=lambda one: f"{one.layers} {one.last_k}",
)
def test_student_without_the_layers_that_its_teacher_pools_is_refused(
    distil, teach, tasks, pooling
):
    recipe = MultitaskRecipe(optim=FineTuneConfig(epochs=0), pooling=pooling)
    made = teach(tasks["alpha"], recipe=recipe)
    with pytest.raises(UsageError, match="pools layers that the student lacks") as caught:
        distil(made, tasks["alpha"])
    assert caught.value.fix.startswith("student.layers=2 ")
    assert distil(made, tasks["alpha"], recipe=AS_IT_IS).files


def test_encoder_whose_layers_cannot_be_dropped_is_refused(distil, teach, tasks, tmp_path):
    folder = write_encoder(tmp_path / "albert", FAMILIES["ALBERT"])
    recipe = MultitaskRecipe(optim=FineTuneConfig(epochs=0), max_length_tokens=48)
    encoder = EncoderConfig(source="folder", path=str(folder))
    made = teach(tasks["alpha"], recipe=recipe, encoder=encoder)
    with pytest.raises(EncoderError, match="student.layers=1: ") as caught:
        distil(made, tasks["alpha"])
    assert caught.value.fix == "student.layers=3, which keeps the whole encoder"


def test_pairs_where_the_teacher_learned_single_texts_are_refused(distil, teach, tasks):
    apart = replace(TAUGHT, multitask=MultitaskConfig(pairs="separate"))
    made = teach(tasks["alpha"], tasks["pairs"], recipe=apart)
    with pytest.raises(UsageError, match="task alpha has pairs, the teacher .* single texts"):
        distil(made, replace(tasks["pairs"], name="alpha"))


def test_student_keeps_its_teacher_out_of_gc(distil, teacher, tasks, home, tmp_path):
    student = distil(teacher, tasks["alpha"])
    store = Store(copy_store(home.root, tmp_path / "copy"))
    for ref in store.refs():
        if str(ref) not in ("student/alpha", "multitask/both"):
            store.remove_ref(ref.kind, ref.name)
    store.remove_ref("multitask", "both")
    later = datetime.now(UTC) + timedelta(days=1000)
    assert teacher.key not in [item.path.name for item in store.gc_plan(later)]
    store.remove_ref("student", "alpha")
    assert {student.key, teacher.key} <= {item.path.name for item in store.gc_plan(later)}


def test_teacher_is_found_by_ref_name_and_key(distil, teacher, tasks, home):
    texts = ("multitask/both", "both", teacher.key, teacher.short_key)
    assert {train_student.resolve_teacher(home, text).key for text in texts} == {teacher.key}
    student = distil(teacher, tasks["alpha"])
    assert train_student.resolve_teacher(home, "student/alpha").key == student.key
