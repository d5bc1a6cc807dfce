#!/usr/bin/env python3
"""Validates what the preset `kubernetes` sends, and the manifests in deploy/, against the schemas of Kubernetes.

    validate_kubernetes.py NEXTRUN VALIDATOR DIRECTORY MANIFEST...

VALIDATOR is the command kubernetes-validate (PyPI), DIRECTORY one for scratch files.
"""

import json
import pathlib
import subprocess
import sys


def main() -> int:
    nextrun, validator, directory, *manifests = sys.argv[1:]
    sent = subprocess.run([nextrun, "preset", "test", "kubernetes", "--bodies"], check=True, stdout=subprocess.PIPE)
    files = [pathlib.Path(manifest) for manifest in manifests]
    for number, line in enumerate(sent.stdout.splitlines()):
        file = pathlib.Path(directory) / f"job-{number}.yaml"
        file.write_text(json.dumps(json.loads(line)["body"]))
        files.append(file)
    strict = [validator, "--strict", "--quiet", "--no-warn"]
    refused = [file for file in files if subprocess.run([*strict, str(file)]).returncode != 0]
    # A validator that takes everything shows nothing.
    wrong = pathlib.Path(directory) / "wrong.yaml"
    job = json.loads(files[-1].read_text())
    job["spec"]["backoffLimitt"] = 0
    wrong.write_text(json.dumps(job))
    if subprocess.run([*strict, str(wrong)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        print("the validator takes a field that does not exist")
        return 1
    print(f"{len(files)} objects, {len(refused)} refused")
    return 1 if refused else 0


sys.exit(main())
