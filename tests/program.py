"""Starts medmerge, for the scripts beside this file."""
import os
import subprocess
import sys


def run(program, folder, *arguments):
    """What it prints; ends the script if it fails. Variables of the caller's own medmerge are left out."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEDMERGE_")}
    line = [program, *map(str, arguments)]
    done = subprocess.run(line, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"medmerge {arguments[0]} ended with exit code {done.returncode}")
    return done.stdout
