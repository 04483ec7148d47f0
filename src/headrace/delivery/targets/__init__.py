"""Where versions are put: each kind says which files describe it there, and which commands put it there."""
