"""The Kubernetes API: access to it, and the objects that imagekit keeps there."""
