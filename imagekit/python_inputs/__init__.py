"""What Python layers read, found statically: no network, no tool is run."""
