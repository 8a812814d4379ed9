"""Saving and loading models: folders and single files, written atomically and read within limits."""
