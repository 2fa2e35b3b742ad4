"""The commands, one module each. Printing, prompting and exiting happen here and nowhere else."""
