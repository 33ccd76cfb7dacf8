"""Who makes units beside the command's own process.

Processes of this machine, Slurm's job arrays, a Ray cluster.
"""
