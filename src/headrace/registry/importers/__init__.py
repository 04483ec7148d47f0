"""Models that others made: what a file holds, told by its content, and what it takes to trust it.

A name says nothing: a pickle may be called ``model.onnx``. What is recognised as a form that runs no code is read; a
pickle is opened only where the operator gives their word, in a process that is cut off from the network.
"""
