"""Closes a loop through a real Slurm: a baseline that fails, experiments through slurmrestd, a verdict.

    python3 slurm_loop.py --nextrun PROGRAM --engines DIR [--faults]

DIR holds start-slurm.sh, proxy.py and train.py. A Slurm of one node is started on loopback, and ended with everything else
at the end. With --faults, nextrun, slurmrestd and slurmctld are killed, answers are lost, slurmrestd stands still for 35 s,
and Slurm forgets jobs soon after their end. Whatever happens, the verdict must be right, no experiment may run twice, and
no job may be left in the queue. Ends with 1 if it is not so.
"""
import argparse
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

CONFIG = """
watch: {{ logdir: {logdir}, quiet_after: 8s, sweep: 1s }}
state: {state}
destinations:
  cluster:
    preset: slurm
    url: http://127.0.0.1:{port}
    version: v0.0.38
    user: {user}
    token: {{ file: {token} }}
    directory: {home}
    memory: "500"
    minutes: "5"
    status_every: 2s
launch:
  command: /usr/bin/python3 {train} --logdir {logdir}/{{run_name}} {{settings}}
  knobs:
    learning_rate: {{ argument: "--lr={{value}}" }}
    lr_decay: {{ argument: "--lr-decay={{value}}" }}
    batch_size: {{ argument: "--batch-size={{value}}" }}
    train_examples: {{ argument: "--limit-examples={{value}}" }}
    initializer: {{ argument: {{ variance_scaling: "--init=he", normal: "--init=normal", zero: "--init=zero" }} }}
    optimizer: {{ argument: "--optimizer={{value}}" }}
    gradient_clip: {{ argument: "--clip={{value}}" }}
    normalize_inputs: {{ argument: {{ "true": "--normalize=1", "false": "--normalize=0" }} }}
    max_steps: {{ argument: "--steps={{value}}" }}
    seed: {{ argument: "--seed={{value}}" }}
  own_names: {{ lr: learning_rate }}
"""


class Loop:
    def __init__(self, arguments):
        self.a = arguments
        self.work = tempfile.mkdtemp(prefix="nextrun-slurm-")
        os.chmod(self.work, 0o755)
        self.port0 = 36810
        self.slurm = os.path.join(self.work, "slurm")
        self.env = dict(os.environ, PORT0=str(self.port0), MIN_JOB_AGE="5" if arguments.faults else "300", MEMORY="1")
        self.env.pop("SLURM_JWT", None)
        self.daemon = self.proxy = None
        self.expected = {}
        self.begun = time.time()

    def say(self, *words):
        print(f"    [{time.time() - self.begun:5.1f}s]", *words, flush=True)

    def engine(self, verb, *more):
        script = os.path.join(self.a.engines, "start-slurm.sh")
        subprocess.run(["bash", script, verb, self.slurm, *more], env=self.env, check=True, stdout=subprocess.DEVNULL)

    def mode(self, text):
        with open(os.path.join(self.work, "mode"), "w") as f:
            f.write(text)

    def start(self):
        self.engine("start")
        user = self.user = self.env.get("JOB_USER", "trainer")
        home = os.path.expanduser(f"~{user}")
        self.logdir = os.path.join(self.work, "runs")
        os.makedirs(self.logdir)
        shutil.copy(os.path.join(self.a.engines, "train.py"), self.work)
        shutil.chown(self.logdir, user)
        self.mode("pass")
        log = open(os.path.join(self.work, "proxy.log"), "w")
        port = self.port0 + 30
        proxy = [sys.executable, os.path.join(self.a.engines, "proxy.py"), str(port), str(self.port0 + 10)]
        self.proxy = subprocess.Popen([*proxy, os.path.join(self.work, "mode")], stdout=log, stderr=log)
        self.config = os.path.join(self.work, "nextrun.yaml")
        state, train = os.path.join(self.work, "state"), os.path.join(self.work, "train.py")
        with open(self.config, "w") as f:
            f.write(CONFIG.format(logdir=self.logdir, state=state, port=port, user=user, home=home, train=train,
                                  token=os.path.join(self.slurm, "token")))
        self.database = os.path.join(state, "nextrun.db")
        self.watch()

    def baseline(self, arguments, verdict):
        """Trains a job that fails, as the user of the cluster; what must be concluded of it is checked at the end."""
        name = f"baseline-{len(self.expected) + 1}"
        self.expected[name] = verdict
        user, train = self.user, os.path.join(self.work, "train.py")
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "/usr/bin/python3", train,
                   "--logdir", os.path.join(self.logdir, name), *arguments.split()]
        environment = {**os.environ, "HOME": os.path.expanduser(f"~{user}"), "PYTHONWARNINGS": "ignore"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        self.say(f"{name} has ended: {arguments}")
        return name

    def watch(self):
        log = open(os.path.join(self.work, "nextrun.log"), "a")
        self.daemon = subprocess.Popen([self.a.nextrun, "watch", "--config", self.config], stdout=log, stderr=log)

    def verdicts(self):
        """The verdicts of the cases that are closed, by baseline."""
        if not os.path.exists(self.database):
            return {}
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10) as store:
            try:
                return dict(store.execute("SELECT baseline, verdict FROM cases WHERE closed = 1").fetchall())
            except sqlite3.OperationalError:
                return {}

    def suggestions(self):
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10) as store:
            rows = store.execute("SELECT m.id, d.state FROM messages m JOIN deliveries d ON d.message_id = m.id "
                                 "WHERE m.kind = 'run_suggested'")
            return dict(rows.fetchall())

    def proxied(self):
        with open(os.path.join(self.work, "proxy.log")) as log:
            return log.read()

    def until(self, what, condition, seconds):
        end = time.time() + seconds
        while time.time() < end:
            if condition():
                return
            if self.daemon.poll() is not None:
                raise SystemExit(f"nextrun ended with {self.daemon.returncode} before this: {what}")
            time.sleep(0.2)
        raise SystemExit(f"this did not happen in {seconds} s: {what}")

    def submitted(self):
        return len(re.findall(r"POST /slurm/v0.0.38/job/submit", self.proxied()))

    def another_submission(self, before):
        self.until("another submission", lambda: self.submitted() > before, 120)

    def faults(self):
        """A baseline for each fault: how many experiments one takes is not known beforehand."""
        self.mode("drop job/submit 1")
        self.baseline("--init zero --steps 600", "bad_initialization")
        self.until("the question for a submission whose answer is lost", lambda: "GET /slurm/v0.0.38/jobs" in self.proxied(), 120)
        self.say("the answer to a submission was lost")
        # The second job has number 2, and the first request about it releases it.
        self.mode("drop job/2 1")
        self.until("a release whose answer is lost", lambda: "DROP POST /slurm/v0.0.38/job/2 " in self.proxied(), 180)
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()
        self.say("the answer to a release was lost, and nextrun is killed")
        time.sleep(20)
        self.mode("pass")
        self.watch()
        self.say("nextrun is started again, and Slurm has forgotten the job")

        pid = int(open(os.path.join(self.slurm, "slurmrestd.pid")).read())
        os.kill(pid, signal.SIGSTOP)
        self.say("slurmrestd stands still for 35 s")
        stopped = time.time()
        self.baseline("--lr 30 --steps 600", "learning_rate_too_high")
        time.sleep(max(0, 35 - (time.time() - stopped)))
        os.kill(pid, signal.SIGCONT)

        for daemon, pause, seed in (("restd", 4, 2), ("ctld", 5, 3)):
            before = self.submitted()
            self.baseline(f"--lr 30 --steps 600 --seed {seed}", "learning_rate_too_high")
            self.another_submission(before)
            self.engine(f"kill-{daemon}")
            self.say(f"slurm{daemon} is killed")
            time.sleep(pause)
            self.engine(daemon)

    def check(self):
        closed = lambda: set(self.expected) <= set(self.verdicts())
        wrong = []
        self.until("all cases are closed", closed, 420 if self.a.faults else 240)
        for name, verdict in self.verdicts().items():
            self.say(f"{name}: {verdict}")
            if verdict != self.expected.get(name):
                wrong.append(f"the verdict of {name} is {verdict}, not {self.expected.get(name)}")
        suggestions = self.suggestions()
        for folder, _, files in os.walk(os.path.join(self.logdir, "nextrun")):
            events = [name for name in files if "tfevents" in name]
            if len(events) > 1:
                wrong.append(f"{folder} was written by {len(events)} processes: {events}")
        # What nobody waits for any more is cancelled.
        queue = lambda: subprocess.run(["squeue", "--noheader", "--format=%i %j %T %r"], capture_output=True, text=True,
                                       env={**self.env, "SLURM_CONF": os.path.join(self.slurm, "slurm.conf")}).stdout
        end = time.time() + 90
        while queue().strip() and time.time() < end:
            time.sleep(1)
        if queue().strip():
            wrong.append(f"jobs are left: {queue()}")
        self.say(f"{len(suggestions)} experiments suggested, {self.submitted()} submissions")
        return wrong

    def stop(self):
        for process in (self.daemon, self.proxy):
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        self.engine("stop")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nextrun", required=True)
    parser.add_argument("--engines", required=True)
    parser.add_argument("--faults", action="store_true")
    loop = Loop(parser.parse_args())
    wrong = ["it was not run to its end"]
    try:
        loop.start()
        if loop.a.faults:
            loop.faults()
        else:
            loop.baseline("--lr 30 --steps 600", "learning_rate_too_high")
            loop.baseline("--init zero --steps 600", "bad_initialization")
        wrong = loop.check()
    finally:
        loop.stop()
        if wrong:
            print(f"what was left: {loop.work}", file=sys.stderr)
        else:
            shutil.rmtree(loop.work)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
