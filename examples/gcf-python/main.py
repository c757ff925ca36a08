"""Functions for Google's Functions Framework: one for HTTP, one for CloudEvents."""
import functions_framework


@functions_framework.http
def hello(request):
    return {"method": request.method, "path": request.path, "query": request.query_string.decode(), "bytes": len(request.get_data())}


@functions_framework.cloud_event
def stored(event):
    print(f"stored {event.data['name']} by {event['id']} ({event['type']})", flush=True)
