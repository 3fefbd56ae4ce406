"""Build folders: their manifest, the check that they are whole, and how a new one takes the place of an old one."""
