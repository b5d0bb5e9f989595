"""A dialogue with long-term memory, offline: the scripted model quotes what it remembers. Put `hf:NAME` or a chat model in its place."""

from reflectory import Runner

with Runner(graph="dialogue", model="scripted:extractive", memory="notes") as runner:
    runner.send("Hi, I'm Anna and I live in Paris. My sister's birthday is on May 5.", user="anna")
    for item in runner.leave(user="anna"):
        print(item.act, item.id)
    answer = runner.send("When is my sister's birthday?", user="anna")
    print(answer, "| cites", [record.body for record in answer.cited])
    print(runner.send("Where does Anna live?", user="bob"))
