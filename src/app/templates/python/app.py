import os

GREETING = os.environ.get("GREETING", "Hello")  # what stands here runs once in a process, before its first call


def handler(event, context):
    name = event.get("name", "world")
    print(f"greeting {name}")  # goes to the function's log
    return {"message": f"{GREETING}, {name}!"}
