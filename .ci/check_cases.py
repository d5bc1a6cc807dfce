"""Compares what `nextrun diagnose --format json` says of cases from the world with what is right.

    python3 check_cases.py path/to/nextrun CASES

CASES holds a folder a case, and `expect.jsonl`. Ends with 1 when any case is not as it should be.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

WORST_FIRST = ["failing", "suspect", "unknown", "healthy"]


def diagnose(program, folder):
    done = subprocess.run([program, "diagnose", folder, "--format", "json"], capture_output=True, text=True, timeout=300)
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()], done.stdout + done.stderr


def faults(expected, jobs, output):
    """What is not as it should be, in words."""
    ranks = {status: place for place, status in enumerate(WORST_FIRST)}
    worst = min((job["status"] for job in jobs), key=ranks.get, default="unknown")
    worst = "unknown" if worst == "suspect" else worst
    symptoms = {symptom["id"] for job in jobs for symptom in job["symptoms"]}
    problems = {s["id"] for job in jobs for s in job["symptoms"] if s["severity"] == "problem"}
    states = {job["next"]["state"] for job in jobs if job.get("next")}
    if expected["jobs"] is not None and len(jobs) != expected["jobs"]:
        yield f"{len(jobs)} jobs"
    if worst not in expected["status"]:
        probability = max((job.get("probability") or 0 for job in jobs), default=0)
        yield f"{worst} ({probability:.2f}), not {' or '.join(expected['status'])}"
    if expected["symptoms_any"] and not symptoms & set(expected["symptoms_any"]):
        yield f"symptoms are {', '.join(sorted(symptoms)) or 'none'}"
    if expected["symptoms_none"] and problems & set(expected["symptoms_none"]):
        yield f"a problem is {', '.join(problems & set(expected['symptoms_none']))}"
    if expected["words_none"] and re.search(expected["words_none"], output):
        yield f"it says {re.search(expected['words_none'], output).group()!r}"
    if expected["next_state_none"] and states & set(expected["next_state_none"]):
        yield f"the next step is {', '.join(states)}"


def main():
    program, cases = sys.argv[1], Path(sys.argv[2])
    expectations = [json.loads(line) for line in (cases / "expect.jsonl").read_text().splitlines() if line.strip()]
    wrong = 0
    for expected in expectations:
        jobs, output = diagnose(program, cases / expected["id"])
        found = list(faults(expected, jobs, output))
        wrong += bool(found)
        if found:
            print(f"{expected['id']}: {'; '.join(found)}")
    print(f"{len(expectations) - wrong} of {len(expectations)} cases as they should be")
    sys.exit(1 if wrong or not expectations else 0)


if __name__ == "__main__":
    main()
