"""The doors: command line, HTTP, console, scoring server. Each parses, calls one verb, and renders."""
