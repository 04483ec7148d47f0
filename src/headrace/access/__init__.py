"""Who may do what: keys of applications, accounts of people with their roles, and the sessions of those who signed in.

It stands apart from the registry because a version does not know who may touch it: the doors ask here, once for each
request, and give the name on to whatever is done and recorded.
"""
