"""Running tasks: what decides that they run, and what runs them here."""
