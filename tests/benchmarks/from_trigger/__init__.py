"""What waiting sensors cost the workers, with and without ``start_from_trigger``."""
