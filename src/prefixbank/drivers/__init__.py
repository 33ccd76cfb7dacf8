"""Who makes units beside the command's own process: processes of this machine, Slurm's job arrays, a Ray cluster."""
