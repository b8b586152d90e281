"""From files and flags to checked settings, with one clear line for what is wrong."""
