"""How worlds are shown to models."""
