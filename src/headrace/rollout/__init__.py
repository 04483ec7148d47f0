"""Moving traffic to a new version in steps, on evidence, and back at once where the evidence is against it."""
