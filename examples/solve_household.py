"""Solve household games with reflection: three trials, lessons in between, on the model in the package."""

from reflectory import Runner
from reflectory.envs.household import household_tasks

tasks = list(household_tasks("quirky:dev", limit=6))
runner = Runner(graph="reflexion", model="embedded:novice", config={"trials": 3, "budget": {"steps": 15}})
metrics = runner.eval(tasks)
print("solved so far, by trial:", [f"{share:.2f}" for share in metrics.success_by_trial])
print("look inside: reflectory memory list", metrics.run_dir)
