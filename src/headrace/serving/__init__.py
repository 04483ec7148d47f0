"""THE HOT PATH: from the bytes of a request to the bytes of a reply, and the capture of what was said.

A plain ASGI callable over the standard library, msgspec, numpy, `kernel` and `runtimes`: no database, no web
framework, no frame library. What surrounds it (uvicorn, object storage, metrics) is in `entrypoints.scoring`.
"""
