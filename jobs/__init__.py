"""Ray drivers: they run ``jr2net`` on a cluster."""
