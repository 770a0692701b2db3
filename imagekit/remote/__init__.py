"""Runs on a cluster, as seen from a client: begun, followed, listed, cancelled."""
