"""What breaks in production, done on purpose to real processes: `make faults`."""
