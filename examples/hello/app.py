"""A handler as AWS Lambda takes it, unchanged."""
import os

calls = 0


def handler(event, context):
    global calls
    calls += 1
    print(f"call {calls} of this process, {context.aws_request_id}")
    return {"greeting": f"{os.environ['GREETING']}, {event.get('name', 'whoever you are')}!", "calls": calls,
            "function": context.function_name, "version": context.function_version}
