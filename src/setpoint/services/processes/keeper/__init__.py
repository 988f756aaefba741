"""The keeper: the parent of the processes of one directory, where s6 is not.

A program of its own (see `setpoint.services.processes.builtin`), with nothing but the standard library, so that it stays small. One
thread and one loop: fifos, pipes and deaths come in, timers are looked at, nothing waits. It writes the files that s6 writes.
"""
