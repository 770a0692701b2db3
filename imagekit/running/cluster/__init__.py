"""Running tasks on a cluster: what pods do, and what clients and pods hand on."""
