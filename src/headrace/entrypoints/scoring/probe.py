"""Asks a scoring server whether it is ready, by itself that of this container: the health check of images, which have
no curl."""

from __future__ import annotations

import http.client
import sys

from headrace import settings


def main(host: str = "127.0.0.1", port: str = "", path: str = "/ready") -> int:
    """0 where the server is ready, or lives where `path` asks for that; 1 where it is not."""
    connection = http.client.HTTPConnection(host, int(port or settings.container_port()), timeout=3)
    try:
        connection.request("GET", path)
        return int(connection.getresponse().status != 200)
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
