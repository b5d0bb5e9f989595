"""A LangChain chat model as the solver of `act`. The fake one knows the walkthrough; put ChatOllama(…) or any other in its place."""

from langchain_core.language_models import FakeListChatModel

from reflectory import run
from reflectory.envs.household import generate, household_tasks

task = next(household_tasks("generated:dev", limit=1))
chat = FakeListChatModel(responses=generate("dev", house=0, task=0)["walkthrough"])
result = run(task, graph="act", model=chat, config={"prompt": "raw"})
print(result)
