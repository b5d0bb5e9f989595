from __future__ import annotations

import ast

from reflectory.envs.code import CodeEnv, code_tasks
from reflectory.envs.code.generated import SPLITS, generated_problem, split_of
from reflectory.envs.code.values import same


def test_no_function_is_in_two_splits():
    paths = {split: {generated_problem(split, number).path for number in range(150)} for split in SPLITS}
    assert not paths["train"] & paths["dev"]
    assert not paths["train"] & paths["test"]
    assert not paths["dev"] & paths["test"]
    assert min(map(len, paths.values())) > 130


def test_the_same_number_gives_the_same_function_and_a_listing_has_none_twice():
    fresh = [generated_problem.__wrapped__("dev", number) for number in range(20)]
    assert [item.path for item in fresh] == [generated_problem("dev", number).path for number in range(20)]
    tasks = list(code_tasks("generated:train", limit=200))
    assert len({task.goal for task in tasks}) == len({task.id for task in tasks}) == 200
    assert tasks[:5] == list(code_tasks("generated:train", limit=5))
    assert {task.id for task in code_tasks("generated:train", limit=50, seed=1)}.isdisjoint(task.id for task in tasks)


def test_every_step_matters_and_says_its_constants():
    for number in range(60):
        pipeline = generated_problem("test", number)
        inputs = [*pipeline.examples, *pipeline.hidden(0)]
        assert len({repr(pipeline.expected(args)) for args in inputs}) > len(inputs) // 3
        assert "{" not in pipeline.specification
        assert pipeline.specification.count("\n") == len(pipeline.steps)
        for part, constants in pipeline.steps:
            assert all(str(constant) in part.said(constants) for constant in constants)


def test_the_split_comes_from_what_it_does():
    for split in SPLITS:
        assert all(split_of(generated_problem(split, number).steps) == split for number in range(20))


async def test_the_written_reference_answers_as_the_parts_do(sandbox):
    from reflectory.envs.code.checker import call_all

    for number in range(6):
        pipeline = generated_problem("train", number)
        ast.parse(pipeline.source)
        inputs = pipeline.hidden(7)
        answers, printed = await call_all(sandbox, {"solution.py": pipeline.source.encode()}, pipeline, inputs)
        assert printed == ""
        assert all(same(answer.value, pipeline.expected(args)) for answer, args in zip(answers, inputs, strict=True))


async def test_a_generated_task_is_played_to_its_end(sandbox):
    env = CodeEnv(sandbox)
    task = next(iter(code_tasks("generated:test", limit=1)))
    start = await env.reset(task, seed=0)
    assert "1. " in start.text
    await env.step(env.oracle())
    assert (await env.step(env.oracle())).reward == 1.0
    await env.close()
