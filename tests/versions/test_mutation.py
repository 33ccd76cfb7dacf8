"""A changed function flags every step that runs it; which functions those are, a trace says."""

from __future__ import annotations

import ast
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from prefixbank.commands.invocation import Invocation
from tests.commands import call
from tests.data.encoders.models import stand_in_for_smollm2
from tests.prepared import SMALL, write_task
from tests.source import Module, package_modules
from tests.versions.reach import Code
from tests.versions.record import Recorded, changed, current
from tests.versions.tracing import Function, Trace

SAMPLE, SEED = 8, 15
ALWAYS = {"dequantize", "plain_bank"}
VERSION_OF = {"task_embedding": "train_prefix"}
"""Steps, as keys have them, that have no version of their own."""
TEXTS = [f"a good and quiet place {number}" for number in range(9)]


@dataclass(frozen=True, kw_only=True)
class Traced:
    """Commands with a store of their own, and a trace of what they make."""

    root: Path
    trace: Trace

    def __call__(self, command: str, *settings: str) -> None:
        """Run a command. Each begins with nothing loaded, so that its steps load what they use."""
        invocation = Invocation(store=self.root / "store")
        with self.trace.on():
            call(command, *settings, invocation=invocation)

    @property
    def tasks(self) -> str:
        """The setting that says where tasks are."""
        return f"run.data_root={self.root / 'tasks'}"

    def task(self, name: str) -> tuple[str, str]:
        """Settings of one of the tasks."""
        return "task=folder", f"task.path={self.root / 'tasks' / name}"

    def steps(self) -> dict[str, set[Function]]:
        """What ran in the steps that have a version."""
        found: dict[str, set[Function]] = {}
        for step, ran in self.trace.ran.items():
            code = {one for one in ran if one.path.endswith(".py")}  # not the reports' templates
            found.setdefault(VERSION_OF.get(step, step), set()).update(code)
        return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """A store with a prefix, a bank and probed vectors, and what ran while they were made."""
    root = tmp_path_factory.mktemp("traced")
    for name in ("alpha", "beta", "gamma", "omega"):
        write_task(root / "tasks" / name)
    (root / "corpus.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    traced = Traced(root=root, trace=Trace())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        traced("train-prefix", *traced.task("alpha"), *SMALL)
        traced("combine", "prefixes=[alpha]", "name=one")
        traced(
            "probe", *traced.task("gamma"), "bank=one", "vectors=int8", "probe.bootstrap_samples=20"
        )
        traced("embed", "bank=none", "encoder=tiny", f"corpus.path={root / 'corpus.txt'}")
        yield traced


def make_everything(run: Traced) -> None:
    """Make every step in most of its ways."""
    beta, gamma, corpus = (
        run.task("beta"),
        run.task("gamma"),
        f"corpus.path={run.root / 'corpus.txt'}",
    )
    few = "probe.bootstrap_samples=20"
    gated = ("prefix.gate=learned", "prefix.projection=mlp")
    of_labels = ("prefix.kind=soft", "prefix.init=labels", "name=soft")
    small_map = ("experiment.seeds=[0]", "experiment.source_rows=0", "experiment.validation_rows=0")
    study = ("experiment.sources=[alpha,beta]", "experiment.targets=[gamma,omega]", run.tasks, few)
    run("train-prefix", *beta, *SMALL, *gated)
    run("train-prefix", *beta, *SMALL, "prefix.init=prefix/alpha", "name=warm")
    run("train-prefix", *beta, *SMALL, *of_labels)
    run("train-prefix", "task.mixture=[alpha,beta]", run.tasks, *SMALL, "name=mixed")
    run("train-multitask", "tasks=[alpha,beta]", run.tasks, "encoder=tiny", "optim.epochs=1")
    run("train-student", "teacher=alpha-beta", run.tasks, "student.layers=1", "optim.epochs=1")
    run("combine", "prefixes=[alpha,beta]", "name=demo")
    run("combine", "prefixes=[soft]", "name=soft")
    run("probe", *gamma, "bank=multitask/alpha-beta", "probe=nested_cv", "vectors=binary", few)
    run("probe", *gamma, "bank=soft", "probe=mlp", few)
    run("embed", "bank=none", "encoder=tiny", corpus, "vectors=int8", "calibration_rows=4")
    itq = ("vectors=binary", "transform=itq", "transform_size=2", "transform_rows=4")
    run("embed", "bank=none", "encoder=tiny", corpus, *itq)
    run("embed", "bank=demo", corpus, "corpus.shard_rows=4", "reuse=true")
    columns = "experiment.representations=[plain,multitask,bank,mean_vectors,random]"
    run("run", "experiment=smoke", *SMALL, *study, columns, "experiment.cost_tokens=9")
    run("transfer map", "experiment=transfer_map_smoke", *SMALL, *study, *small_map)
    run("transfer similar", *gamma, "sources=[alpha,beta]", *SMALL)
    run("train-prefix", *beta, *SMALL, "prefix.kind=readout", "name=read")
    run("combine", "prefixes=[read]", "name=blocks")
    run("probe", *gamma, "bank=blocks", few, "name=tone")
    run("predict", "bank=blocks", "heads=[tone,read]", corpus)
    for format in ("bundle", "sentence_transformers", "onnx"):
        run("export", "bank=one", f"format={format}")
    with stand_in_for_smollm2(run.root / "packages"):
        run("embed", "bank=none", "encoder=smollm2", corpus, "max_length_tokens=32")


@cache
def recorded() -> Mapping[str, Recorded]:
    """What is derived from the package as it is."""
    return current(Code(package_modules()))


def mutated(module: Module, functions: Iterable[Function]) -> Module:
    """A module in which some functions have other bodies."""
    tree = ast.parse(module.text)  # a tree of its own, since `module.tree` is shared
    lines = {(one.line, one.name.endswith("<lambda>")) for one in functions}
    for node in list(ast.walk(tree)):
        match node:
            case ast.Lambda() if (begins_at(node), True) in lines:
                node.body = ast.Tuple(elts=[node.body], ctx=ast.Load())
            case ast.FunctionDef() if (begins_at(node), False) in lines:
                node.body.append(ast.Return(value=ast.Constant(value="mutated")))
    return Module(path=module.path, text=ast.unparse(ast.fix_missing_locations(tree)))


def begins_at(node: ast.FunctionDef | ast.Lambda) -> int:
    """First line of a function, decorators included."""
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])


def flagged_by(*functions: Function) -> dict[str, set[str]]:
    """Steps that changes of functions flag, with the definitions that each says have changed."""
    by_file = {path: list(of) for path, of in groupby(sorted(functions), lambda one: one.path)}
    modules = {module.path: module for module in package_modules()}
    modules |= {path: mutated(modules[path], of_file) for path, of_file in by_file.items()}
    now = current(Code(modules.values()))
    return {
        step: set(names) for step, was in recorded().items() if (names := changed(was, now[step]))
    }


def definition_of(function: Function) -> str:
    """Name of the definition that a function is, or is a part of."""
    return function.name.split(".<locals>")[0]


def rounds(functions: Iterable[Function]) -> list[list[Function]]:
    """Put functions into rounds in which no two definitions have the same name."""
    found: list[dict[str, Function]] = []
    for one in sorted(functions):
        name = definition_of(one)
        free = next((taken for taken in found if name not in taken), None)
        if free is None:
            found.append(free := {})
        free[name] = one
    return [list(taken.values()) for taken in found]


def missed(ran: Mapping[str, set[Function]]) -> set[tuple[str, Function]]:
    """Steps with the functions that they run and whose change does not flag them."""
    found = set()
    for functions in rounds(set().union(*ran.values())):
        flagged = flagged_by(*functions)
        for step in ran:
            said = flagged.get(step, set())
            silent = [one for one in functions if definition_of(one) not in said]
            found.update((step, one) for one in silent if one in ran[step])
    return found


def test_change_flags_every_step_that_runs_the_function(traced: Traced):
    ran = traced.steps()
    everything = sorted(set().union(*ran.values()))
    always = [one for one in everything if one.name in ALWAYS]
    assert {one.name for one in always} == ALWAYS
    others = [one for one in everything if one.name not in ALWAYS]
    for one in always + random.Random(SEED).sample(others, SAMPLE - len(always)):
        assert {step for step in ran if one in ran[step]} <= flagged_by(one).keys(), one


def test_change_of_every_function_is_named(traced: Traced):
    ran = traced.steps()
    assert ran.keys() >= {"train_prefix", "combine", "embed", "probe", "tiny_encoder"}
    assert not missed(ran)


def test_change_does_not_flag_steps_that_do_not_use_the_function(traced: Traced):
    (scaling,) = [one for one in traced.steps()["probe"] if one.name == "dequantize"]
    assert flagged_by(scaling).keys() == {"probe", "join", "predict"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_change_of_every_function_that_any_step_runs_is_named(traced: Traced):
    make_everything(traced)
    ran = traced.steps()
    # PEFT takes no prefix of the models here: it needs rotary positions.
    assert ran.keys() | {"export_peft"} == recorded().keys()
    assert not missed(ran)
