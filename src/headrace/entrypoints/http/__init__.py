"""The management API: JSON over HTTP, one route a verb."""
