"""Synchronising with a relay in a cloud: a mock relay, a session with it, and the three workers that keep messages flowing both ways."""
