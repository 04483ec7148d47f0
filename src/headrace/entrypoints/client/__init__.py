"""The client's side of a scoring server: for applications, so it needs little and keeps its deadline."""
