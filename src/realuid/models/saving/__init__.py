"""Model folders and single files: written whole or not at all, read back exactly."""
