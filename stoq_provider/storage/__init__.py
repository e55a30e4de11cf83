"""Where results and records are stored: the trusted download, and the store of submission records."""
