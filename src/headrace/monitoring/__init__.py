"""What became of the predictions: their table, their outcomes, and windows that say whether the model still holds.

Data quality, drift and harm are three alarms, never one: a broken pipeline is mended, a drift informs, and only
harm, measured on outcomes, is a reason to retrain. The detectors bound their false alarms whatever the number of
features and however often they look.
"""
