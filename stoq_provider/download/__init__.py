"""The trusted download: from a URL to a verified object, whole or not at all."""
