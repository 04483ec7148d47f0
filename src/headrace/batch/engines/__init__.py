"""Where the chunks of a job are scored: on this machine, or on a cluster that people already have."""
