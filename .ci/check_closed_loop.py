"""Counts the cases of a closed loop that ended as they should.

    python3 check_closed_loop.py results.jsonl CASES LEAST

Ends with 1 when there are not exactly CASES results, or fewer than LEAST of them passed.
"""
import json
import sys


def main():
    path, cases, least = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open(path) as lines:
        results = [json.loads(line) for line in lines]
    passed = sum(result["passed"] for result in results)
    print(f"{passed} of {cases} cases ended as they should, at least {least} must")
    sys.exit(0 if len(results) == cases and passed >= least else 1)


if __name__ == "__main__":
    main()
