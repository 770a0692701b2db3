"""What runs inside a container: ``python -m imagekit.runtime``.

A supervisor, which is the container's first process, forks the worker and watches over
it; the worker loads the user's code and runs tasks. They need the standard library and
imagekit's own modules, and talk to the process that started the container in frames
(:mod:`imagekit.frames`) over what were their standard input and output.
"""
