"""PrintStudio: bulk operations of a print shop, self-hosted."""
