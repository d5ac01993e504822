"""The laboratory: many paired runs from one spec, their statistics, and one page that answers the question."""
