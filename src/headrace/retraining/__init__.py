"""The policy that closes the loop: which alarms retrain, and what becomes of the version that comes out."""
