"""Start workers: processes of this machine, a Slurm job array, or a Ray cluster."""
