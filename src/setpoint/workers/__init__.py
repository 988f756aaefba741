"""Workers: one file a machine."""
