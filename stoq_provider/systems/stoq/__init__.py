"""STOQ: a preorder app for Shopify, external API v2."""
