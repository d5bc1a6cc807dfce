"""Compares what `nextrun diagnose --format json` said with the labels of a corpus.

    python3 check_corpus.py labels.jsonl diagnosed.jsonl

Ends with 1 when too many failing runs are missed, healthy ones are taken for failing, or the symptoms are not those
that an expert would name. Runs that only the clock can tell (`live_only`) do not count.
"""
import json
import sys

# Nothing is fitted on this corpus any more. An alarm is worth less than a missed run costs: of jobs that people run, one in a
# hundred fails, so that three false alarms in a hundred would be three alarms of four.
LEAST_FOUND = 0.85
MOST_FALSE_ALARMS = 0.01
LEAST_AS_EXPECTED = 0.90


def read(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines if line.strip()]


def percent(part, whole):
    return f"{part} of {whole} ({100 * part / max(whole, 1):.1f} %)"


def main():
    labels = [row for row in read(sys.argv[1]) if not row.get("live_only")]
    diagnosed = {row["run"]: row for row in read(sys.argv[2])}
    missing = [row["run"] for row in labels if row["run"] not in diagnosed]
    if missing or not labels:
        sys.exit(f"no diagnosis of {', '.join(missing) or 'anything'}")

    found = expected = failing = healthy = alarms = 0
    for label in labels:
        job = diagnosed[label["run"]]
        symptoms = {symptom["id"] for symptom in job["symptoms"]}
        problems = {symptom["id"] for symptom in job["symptoms"] if symptom["severity"] == "problem"}
        if label["healthy"]:
            healthy += 1
            if problems or job["status"] == "failing":
                alarms += 1
                print(f"false alarm   {label['run']}: {', '.join(sorted(problems))}")
            continue
        failing += 1
        found += job["status"] == "failing"
        as_expected = any(set(alternative) <= symptoms for alternative in label["symptoms_any"])
        expected += as_expected
        if job["status"] != "failing":
            print(f"missed        {label['run']}: {job['status']}, {', '.join(sorted(symptoms)) or 'no symptom'}")
        elif not as_expected:
            wanted = " | ".join("+".join(alternative) for alternative in label["symptoms_any"])
            print(f"other symptom {label['run']}: {', '.join(sorted(symptoms))}; expected {wanted}")

    print(f"failing runs found: {percent(found, failing)}")
    print(f"false alarms on healthy runs: {percent(alarms, healthy)}")
    print(f"symptoms as expected: {percent(expected, failing)}")
    good = (
        found >= LEAST_FOUND * failing
        and alarms <= MOST_FALSE_ALARMS * healthy
        and expected >= LEAST_AS_EXPECTED * failing
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
