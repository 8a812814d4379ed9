"""What an update costs: against the authors' code, against ours with a lever off, and against the machine."""
