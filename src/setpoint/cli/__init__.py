"""The command line: run an agent, and ask a running one what it does and why.

One file a group of commands. Commands import what they need when they run, so that ``setpoint --help`` answers at once. Those that ask a
running agent do so over its HTTP interface, and find it by themselves (`connect`).
"""
