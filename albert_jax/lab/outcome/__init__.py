"""The outcome of a lab: its runs read from their files, their statistics, and the record of the results."""
