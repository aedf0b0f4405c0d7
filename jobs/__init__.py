"""Ray drivers: they place ``jr2net`` on machines, and nothing else."""
