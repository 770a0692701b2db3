"""OCI formats and protocols: registries, and the documents that images are made of."""
