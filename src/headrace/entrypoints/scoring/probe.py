"""Asks the scoring server of this container whether it is ready: the health check of images, which have no curl."""

from __future__ import annotations

import http.client
import sys

from headrace import settings


def main() -> int:
    """0 where the server is ready, 1 where it is not."""
    connection = http.client.HTTPConnection("127.0.0.1", int(settings.container_port()), timeout=3)
    try:
        connection.request("GET", "/ready")
        return int(connection.getresponse().status != 200)
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
