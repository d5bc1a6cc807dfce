"""Closes a loop through a real Ray: a baseline that fails, experiments by the Jobs API, a verdict.

    python3 ray_loop.py --nextrun PROGRAM --engines DIR --ray DIR

The first DIR holds start-ray.sh and train.py; the second is where Ray is installed, or will be, and started. A run that
nobody waits for any more must be stopped. Everything is ended at the end. Ends with 1 if it is not as it should be.
"""
import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

CONFIG = """
watch: {{ logdir: {logdir}, quiet_after: 10s, sweep: 1s }}
state: {state}
destinations:
  cluster: {{ preset: ray, url: "http://127.0.0.1:38265", cpus: 1, status_every: 2s }}
launch:
  command: {python} {train} --logdir {logdir}/{{run_name}} --like {logdir}/{{baseline}} --ms 20 {{arguments}}
  knobs:
    learning_rate: {{ argument: "--lr={{value}}" }}
    batch_size: {{ argument: "--batch-size={{value}}" }}
    train_examples: {{ argument: "--limit-examples={{value}}" }}
    initializer: {{ argument: {{ variance_scaling: "--init=he", normal: "--init=normal" }} }}
    optimizer: {{ argument: "--optimizer={{value}}" }}
    gradient_clip: {{ argument: "--clip={{value}}" }}
    normalize_inputs: {{ argument: {{ "true": "--normalize=1", "false": "--normalize=0" }} }}
    max_steps: {{ argument: "--steps={{value}}" }}
    seed: {{ argument: "--seed={{value}}" }}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nextrun", required=True)
    parser.add_argument("--engines", required=True)
    parser.add_argument("--ray", required=True)
    a = parser.parse_args()
    start = ["bash", os.path.join(a.engines, "start-ray.sh")]
    subprocess.run([*start, "start", a.ray], check=True)
    inside = os.path.join(a.ray, "in")
    work = tempfile.mkdtemp(prefix="nextrun-ray-")
    logdir, state = os.path.join(work, "runs"), os.path.join(work, "state")
    os.makedirs(logdir)
    train = shutil.copy(os.path.join(a.engines, "train.py"), work)
    python = os.path.join(a.ray, "venv", "bin", "python")
    config = os.path.join(work, "nextrun.yaml")
    with open(config, "w") as f:
        f.write(CONFIG.format(logdir=logdir, state=state, python=python, train=train))
    database, daemon, wrong, begun = os.path.join(state, "nextrun.db"), None, ["it was not run to its end"], time.time()

    def say(*words):
        print(f"    [{time.time() - begun:5.1f}s]", *words, flush=True)

    def ask(query):
        if not os.path.exists(database):
            return []
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as store:
            try:
                return store.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []

    def jobs():
        answer = subprocess.run([inside, "curl", "-sf", "http://127.0.0.1:38265/api/jobs/"], capture_output=True, text=True)
        return json.loads(answer.stdout) if answer.returncode == 0 else []

    try:
        log = open(os.path.join(work, "nextrun.log"), "w")
        daemon = subprocess.Popen([inside, a.nextrun, "watch", "--config", config], stdout=log, stderr=log)
        baseline = [python, train, "--logdir", os.path.join(logdir, "baseline"), "--lr", "30", "--steps", "1000"]
        subprocess.run(baseline, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        say("the baseline has ended")
        end, verdict = time.time() + 400, None
        while time.time() < end and verdict is None:
            verdict = next((row[0] for row in ask("SELECT verdict FROM cases WHERE closed = 1")), None)
            time.sleep(0.5)
        say("verdict:", verdict)
        wrong = [] if verdict == "learning_rate_too_high" else [f"the verdict is {verdict}"]
        # What is still running is not needed any more, and is stopped.
        end, last = time.time() + 60, jobs()
        while time.time() < end and any(job["status"] in ("PENDING", "RUNNING") for job in last):
            time.sleep(1)
            last = jobs()
        left = [job["submission_id"] for job in last if job["status"] in ("PENDING", "RUNNING")]
        if left:
            wrong.append(f"runs are left: {left}")
        statuses = [job["status"] for job in last]
        say(f"{len(last)} runs: {', '.join(statuses)}")
        if "STOPPED" not in statuses:
            wrong.append("no run was stopped, although one point is fitted long before its run would end")
        suggested = ask("SELECT count(*) FROM messages WHERE kind = 'run_suggested'")[0][0]
        if suggested != len(last):
            wrong.append(f"{suggested} experiments were suggested, Ray has {len(last)} runs")
    finally:
        if daemon and daemon.poll() is None:
            # The first process of the command is nsenter, which passes no signal on.
            children = open(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read().split()
            for child in children or [daemon.pid]:
                os.kill(int(child), signal.SIGTERM)
            daemon.wait(20)
        subprocess.run([*start, "stop", a.ray], check=True)
        if wrong:
            print(f"what was left: {work}", file=sys.stderr)
        else:
            shutil.rmtree(work)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
