"""A recalled place that was used is a citation: it teaches the memory's ranker, when that can learn."""

from reflectory import Runner
from reflectory.envs.household import household_tasks
from reflectory.memory import Retrospective, open_memory
from reflectory.retrieval import LearnerConfig


def test_household_runs_teach_the_ranker_of_the_memory_they_are_given(tmp_path):
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(tmp_path / "journal.sqlite", ranker=ranker) as memory:
        ranker.attach(memory)
        for number, task in enumerate(household_tasks("generated:dev", limit=8)):
            config = {"out": str(tmp_path / str(number)), "recall": {"k": 8}, "trials": 2, "scope": "house", "budget": {"steps": 9}}
            Runner(graph="reflexion", model="scripted:search", memory=memory, config=config).run(task)
        assert ranker.version >= 1
        learned = memory.learned("ranker")
        assert learned is not None
        assert learned["version"] == ranker.version
        assert learned["queries"]
        assert all(record.cited <= record.shown for record in memory.records())
        assert any(record.cited for record in memory.records())
