"""The page of a lab: one HTML file, made from the record of the results and nothing else."""
