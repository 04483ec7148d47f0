"""What surrounds `serving` in a process: uvicorn, the poll of the route document, Prometheus' text."""
