"""Pictures, by matplotlib of the extra `plot`: what the scripts and the pages of labs draw with."""
