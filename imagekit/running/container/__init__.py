"""Running tasks in containers of the local engine, once or in a pool of warm ones.

One container runs one attempt, or, for tasks that reuse theirs, one after the other or
several at a time. The container's standard input and output carry frames
(:mod:`imagekit.frames`), its standard error what the tasks print. Each container has a
``docker run`` of its own: when this process ends, however it does, the end of standard
input ends the container.
"""
