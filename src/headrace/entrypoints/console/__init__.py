"""The console: server-rendered pages over the same verbs, readable on a phone, with nothing loaded from elsewhere."""
