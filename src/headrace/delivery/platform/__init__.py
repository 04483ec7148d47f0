"""The whole of Headrace where it shall run for good: an image of it, a compose file for one machine, a Helm chart for a
cluster. Versions come to it by being promoted in its workspace."""
