"""A world of your own: guess a number. Played by a scripted model that takes the first guess not tried yet."""

from reflectory import Task, run
from reflectory.records import Effect, Observation, StepResult


class Guess:
    """A number from 1 to 5 is hidden; a right guess ends the task."""

    blocking = False

    def reset(self, task, *, seed):
        self.number = seed % 5 + 1
        return self.show("Guess the number.")

    def step(self, action):
        if action == f"say {self.number}":
            return StepResult(observation=self.show("Right."), reward=1.0, terminated=True)
        return StepResult(observation=self.show("Wrong."), effect=Effect(changed=False))

    def show(self, text):
        return Observation(text, choices=tuple(f"say {number}" for number in range(1, 6)))

    def close(self):
        pass


if __name__ == "__main__":
    print(run(Task(goal="Guess the number.", env="custom_env:Guess", seed=3), model="scripted:first", config={"prompt": "raw"}))
