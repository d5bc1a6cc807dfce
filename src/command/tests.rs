//! Whole commands: the results of the analysis, and the rewritten commands.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jobs::Knobs;
use crate::launched::{Launched, Source};

/// A folder with a script, and the command that runs it.
struct Site<'a> {
    files: &'a [(&'a str, &'a str)],
    command: &'a str,
    env: &'a [(&'a str, &'a str)],
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn knobs(value: &Value) -> Knobs {
    value.as_object().expect("an object").clone().into_iter().collect()
}

fn learned(site: &Site<'_>) -> Launched {
    let env = site.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let argv = words(site.command);
    let seen = Seen { argv: &argv, cwd: "/w", env: &env, source: Source::Run };
    learn(seen, &|path| {
        let name = path.strip_prefix("/w/")?;
        site.files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned())
    })
}

fn rewritten(launched: &Launched, overrides: &Value, baseline: &str) -> Rewritten {
    let settings = launched.settings.clone();
    let target = Target {
        logdir: Some("/w/runs"),
        baseline,
        run_name: "nextrun/a/01-x",
        settings: &settings,
        steps: Some(999.0),
    };
    rewrite(launched, &knobs(overrides), &target)
}

fn settings(launched: &Launched) -> Value {
    json!(launched.settings)
}

const ARGPARSE: &str = r#"
import argparse
from torch.utils.tensorboard import SummaryWriter
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=1e-3)
p.add_argument("--lr-decay", type=float, default=1.0)
p.add_argument("-b", "--batch-size", type=int, default=32)
p.add_argument("--epochs", type=int, default=5)
p.add_argument("--n-train", type=int, default=0, help="0 = all")
p.add_argument("--init", choices=["default", "zero", "kaiming"], default="default")
p.add_argument("--opt", default="Adam", choices=["Adam", "SGD"])
p.add_argument("--bn", action=argparse.BooleanOptionalAction, default=True)
p.add_argument("--clip", type=float, default=None)
p.add_argument("--logdir", default="runs/exp")
a = p.parse_args()
w = SummaryWriter(a.logdir)
"#;

#[test]
fn an_ordinary_script_is_rewritten_where_it_stands() {
    let site = Site {
        files: &[("train.py", ARGPARSE)],
        command: "python train.py --lr 10 -b 64 --init zero --logdir runs/bad",
        env: &[],
    };
    let launched = learned(&site);
    assert_eq!(
        settings(&launched),
        json!({"batch_norm": true, "batch_size": 64, "epochs": 5, "gradient_clip": null, "initializer": "zero", "learning_rate": 10,
               "lr_decay": 1, "optimizer": "adam", "train_examples": null})
    );
    let changed = rewritten(
        &launched,
        &json!({"learning_rate": 1, "initializer": "variance_scaling", "batch_norm": false, "optimizer": "sgd", "gradient_clip": 1.0}),
        "bad",
    );
    assert_eq!(
        changed.argv.join(" "),
        "python train.py --lr 1.0 -b 64 --init kaiming --logdir /w/runs/nextrun/a/01-x --no-bn --clip=1.0 --opt=SGD"
    );
    assert_eq!((changed.placed, changed.unplaced.len()), (Placed::Redirected, 0));
    assert_eq!(changed.command("/w x").split(" && ").next(), Some("cd '/w x'"));
    let one_point = rewritten(&launched, &json!({"train_examples": 1, "batch_size": 1, "max_steps": 500}), "bad");
    assert_eq!(
        one_point.argv.join(" "),
        "python train.py --lr 10 -b 1 --init zero --logdir /w/runs/nextrun/a/01-x --epochs=500 --n-train=1"
    );
    // 1000 steps in 5 epochs are 200 a piece.
    let longer = rewritten(&launched, &json!({"max_steps": 3000}), "bad");
    assert!(longer.argv.join(" ").ends_with("--epochs=15"), "{longer:?}");
}

#[test]
fn an_experiment_that_changes_nothing_is_its_baseline() {
    let site = Site { files: &[("train.py", ARGPARSE)], command: "python train.py --lr 10", env: &[] };
    let control = rewritten(&learned(&site), &json!({}), "exp");
    assert_eq!(control.argv.join(" "), "python train.py --lr 10 --logdir=/w/runs/nextrun/a/01-x");
}

#[test]
fn what_a_script_has_not_got_is_unplaced_with_the_reason() {
    let site = Site { files: &[("train.py", ARGPARSE)], command: "python train.py --lr 10 --logdir runs", env: &[] };
    let launched = learned(&site);
    let changed =
        rewritten(&launched, &json!({"activation": "relu", "initializer": "xavier", "learning_rate": 0.1}), "exp");
    let reasons: Vec<&str> = changed.unplaced.values().map(String::as_str).collect();
    assert_eq!(
        reasons,
        ["the script does not support `activation`", "`--init` takes default, zero, kaiming, not xavier"]
    );
    let known = takes(&launched, &launched.settings, Some(999.0));
    assert!(known.contains("max_steps") && !known.contains("epochs") && !known.contains("activation"), "{known:?}");
}

#[test]
fn a_longer_name_is_not_hit_and_an_abbreviation_is_understood() {
    let site = Site { files: &[("train.py", ARGPARSE)], command: "python train.py --lr-decay 0.9 --batch 8", env: &[] };
    let launched = learned(&site);
    assert_eq!((&launched.settings["learning_rate"], &launched.settings["batch_size"]), (&json!(0.001), &json!(8)));
    let changed = rewritten(&launched, &json!({"learning_rate": 0.5, "batch_size": 1}), "exp");
    assert_eq!(changed.argv[..5].join(" "), "python train.py --lr-decay 0.9 --batch");
    assert_eq!(changed.argv[5..7].join(" "), "1 --lr=0.5");
}

#[test]
fn key_value_scripts_keep_their_form() {
    let script = "import sys\ncfg = {'lr': 0.1, 'batch_size': 32, 'norm': True, 'out': 'runs/a', 'steps': 100}\nfor a in sys.argv[1:]:\n    k, v = a.split('=')\n    cfg[k] = type(cfg[k])(v)\n";
    let site = Site { files: &[("t.py", script)], command: "python t.py lr=10 out=runs/b", env: &[] };
    let launched = learned(&site);
    assert_eq!(settings(&launched), json!({"learning_rate": 10, "batch_size": 32, "max_steps": 100}));
    let changed = rewritten(&launched, &json!({"learning_rate": 1, "batch_size": 1, "max_steps": 50}), "b");
    assert_eq!(changed.argv.join(" "), "python t.py lr=1.0 out=/w/runs/nextrun/a/01-x batch_size=1 steps=50");
    assert_eq!(changed.placed, Placed::Redirected);
}

#[test]
fn hydra_keys_come_from_its_configuration() {
    let script = "import hydra\n@hydra.main(config_path='conf', config_name='config')\ndef main(cfg): pass\n";
    let files = [
        ("t.py", script),
        ("conf/config.yaml", "defaults:\n  - optimizer: adam\n  - _self_\nseed: 1\ntrainer:\n  max_epochs: 10\n"),
        ("conf/optimizer/adam.yaml", "_target_: torch.optim.Adam\nlr: 0.1\n"),
    ];
    let site = Site { files: &files, command: "python t.py optimizer.lr=3 +x=1", env: &[] };
    let launched = learned(&site);
    assert_eq!((&launched.settings["learning_rate"], &launched.settings["optimizer"]), (&json!(3), &json!("adam")));
    let changed = rewritten(&launched, &json!({"learning_rate": 0.3, "optimizer": "sgd"}), "2026-11-29/15-39-25/tb");
    assert_eq!(
        changed.argv.join(" "),
        "python t.py optimizer.lr=0.3 +x=1 optimizer._target_=torch.optim.SGD hydra.run.dir=/w/runs/nextrun/a/01-x"
    );
    assert_eq!(changed.placed, Placed::Redirected);
}

#[test]
fn a_configuration_file_is_changed_in_a_copy() {
    let yaml = "lr: 10.0  # high\nmodel: {act: relu}\nout: runs/a\ntrain:\n  batch_size: 32\n";
    let script = "p.add_argument('--config', default='cfg.yaml')\nc = yaml.safe_load(open(p.parse_args().config))\n";
    for command in ["python t.py --config cfg.yaml", "python t.py --config=cfg.yaml", "python t.py"] {
        let launched = learned(&Site { files: &[("t.py", script), ("cfg.yaml", yaml)], command, env: &[] });
        assert_eq!((&launched.settings["learning_rate"], &launched.settings["batch_size"]), (&json!(10), &json!(32)));
        let changed = rewritten(&launched, &json!({"learning_rate": 1, "batch_size": 1}), "a");
        assert_eq!(changed.placed, Placed::Redirected, "{changed:?}");
        let copy = "/w/runs/nextrun/a/01-x.cfg.yaml";
        assert_eq!(changed.argv.last().unwrap().trim_start_matches("--config="), copy, "{command}");
        let text = &changed.files[copy];
        assert_eq!(
            *text,
            yaml.replace("10.0", "1.0").replace("32", "1").replace("runs/a", "\"/w/runs/nextrun/a/01-x\"")
        );
        let line = changed.command("/w");
        assert!(line.starts_with("cd /w && mkdir -p /w/runs/nextrun/a && printf %s 'lr: 1.0"), "{line}");
    }
    let secret = format!("{yaml}wandb_api_key: abcdef\n");
    let launched = learned(&Site {
        files: &[("t.py", script), ("cfg.yaml", &secret)],
        command: "python t.py --config cfg.yaml",
        env: &[],
    });
    assert!(
        launched.files.is_empty() && launched.flags.is_empty() && launched.settings["batch_size"] == 32,
        "{launched:?}"
    );
}

#[test]
fn environment_variables_are_set_for_the_whole_command() {
    let script = "lr = float(os.environ.get('LR', '0.1'))\nbs = int(os.environ.get('BS', 32))\nbn = os.environ.get('BN', '1') == '1'\nout = os.environ['LOGDIR']\n";
    let site = Site {
        files: &[("t.py", script)],
        command: "python t.py",
        env: &[("LR", "10"), ("LOGDIR", "runs/a"), ("HF_TOKEN", "x")],
    };
    let launched = learned(&site);
    assert_eq!(settings(&launched), json!({"learning_rate": 10, "batch_size": 32, "batch_norm": true}));
    let changed = rewritten(&launched, &json!({"learning_rate": 1, "batch_norm": false}), "a");
    assert_eq!(changed.command("/w"), "cd /w && env BN=0 LOGDIR=/w/runs/nextrun/a/01-x LR=1.0 python t.py");
    let assigned = Site { command: "env LR=10 LOGDIR=runs/a python t.py", env: &[], ..site };
    let changed = rewritten(&learned(&assigned), &json!({"learning_rate": 1}), "a");
    assert_eq!(changed.argv.join(" "), "env LR=1.0 LOGDIR=/w/runs/nextrun/a/01-x python t.py");
}

#[test]
fn without_source_the_command_itself_says_what_it_has() {
    let launched = learned(&Site {
        files: &[],
        command: "srun -N 2 ./train --lr 0.1 --batch_size=8 --steps 100 --amp --out runs/a",
        env: &[],
    });
    assert_eq!(settings(&launched), json!({"learning_rate": 0.1, "batch_size": 8, "max_steps": 100}));
    let changed = rewritten(&launched, &json!({"learning_rate": 1, "seed": 3}), "a");
    assert_eq!(
        changed.argv.join(" "),
        "srun -N 2 ./train --lr 1.0 --batch_size=8 --steps 100 --amp --out /w/runs/nextrun/a/01-x"
    );
    assert_eq!(changed.unplaced.keys().collect::<Vec<_>>(), ["seed"]);
}

#[test]
fn a_folder_that_nothing_names_is_not_overwritten() {
    let launched = learned(&Site {
        files: &[("t.py", "p.add_argument('--lr', type=float)\nw = SummaryWriter()\n")],
        command: "python t.py --lr 1",
        env: &[],
    });
    for (baseline, placed) in [
        ("exp", Placed::WouldOverwrite),
        ("Nov29_15-39-25_host", Placed::MakesItsOwn),
        ("lightning_logs/version_3", Placed::MakesItsOwn),
    ] {
        assert_eq!(rewritten(&launched, &json!({}), baseline).placed, placed, "{baseline}");
    }
}

#[test]
fn epochs_do_not_end_a_run_before_its_steps() {
    let script = "class M(LightningModule):\n    def __init__(self, lr: float = 0.1): pass\ncli = LightningCLI(M)\n";
    let site = Site {
        files: &[("t.py", script)],
        command: "python t.py fit --model.lr 1 --data.batch_size 8 --trainer.max_epochs 2",
        env: &[],
    };
    let changed =
        rewritten(&learned(&site), &json!({"train_examples": 10, "max_steps": 400, "gradient_clip": 1}), "version_0");
    let added = "--trainer.gradient_clip_val=1.0 --trainer.max_steps=400 --trainer.limit_train_batches=2";
    assert_eq!(
        changed.argv.join(" "),
        format!("python t.py fit --model.lr 1 --data.batch_size 8 --trainer.max_epochs 200 {added}")
    );
}

#[test]
fn one_batch_is_a_fraction_where_an_option_takes_one_for_all() {
    let script = "p.add_argument('--lr', type=float, default=0.1)\np.add_argument('--batch_size', type=int, default=32)\np.add_argument('--max_epochs', type=int, default=25)\np.add_argument('--limit_train_batches', type=float, default=1.0)\n";
    let site = Site { files: &[("t.py", script)], command: "python t.py", env: &[] };
    let learned = learned(&site);
    // 1,000 steps in 25 epochs are 40 batches of 32, or 1,280 of one example.
    let changed = rewritten(&learned, &json!({"train_examples": 1, "batch_size": 1}), "version_0").argv.join(" ");
    assert!(changed.ends_with("--batch_size=1 --limit_train_batches=0.001171875"), "{changed}");
    assert!(!takes(&learned, &learned.settings, None).contains("train_examples"), "how many there are is not known");
}

#[test]
fn a_help_that_says_what_is_scaled_names_the_inputs() {
    let script = "@click.option('--scale/--no-scale', default=False, help='standardise the features')\n@click.option('--zoom/--no-zoom', default=False, help='scale the pictures')\n";
    let learned = learned(&Site { files: &[("t.py", script)], command: "python t.py", env: &[] });
    assert_eq!(settings(&learned), json!({"normalize_inputs": false}));
    let changed = rewritten(&learned, &json!({"normalize_inputs": true}), "a").argv.join(" ");
    assert!(changed.starts_with("python t.py --scale"), "{changed}");
}

#[test]
fn the_steps_of_a_rollout_are_no_length_of_a_training() {
    let option = |name: &str, value: &str| format!("p.add_argument('--{name}', type=int, default={value})\n");
    let script = [("n_steps", "128"), ("n_epochs", "6"), ("total_timesteps", "25000")];
    let script: String = script.iter().map(|(name, value)| option(name, value)).collect();
    let learned = learned(&Site { files: &[("t.py", &script)], command: "python t.py", env: &[] });
    let known = json!({"max_steps": 25000, "rollout_steps": 128, "epochs_per_update": 6});
    assert_eq!(settings(&learned), known);
    let changed = rewritten(&learned, &json!({"max_steps": 50000, "rollout_steps": 2048}), "PPO_1").argv.join(" ");
    assert_eq!(changed, "python t.py --total_timesteps=50000 --n_steps=2048");
}

#[test]
fn a_value_of_a_configuration_is_one_that_the_source_understands() {
    let script = "cfg = OmegaConf.merge(OmegaConf.load('c.yaml'), OmegaConf.from_cli())\nif cfg.model.init == 'zeros': pass\nelif cfg.model.init == 'he': pass\n";
    let site = Site {
        files: &[("t.py", script), ("c.yaml", "model: {init: zeros}\nout: runs/a\n")],
        command: "python t.py",
        env: &[],
    };
    let changed = rewritten(&learned(&site), &json!({"initializer": "variance_scaling"}), "a");
    assert_eq!(changed.argv.join(" "), "python t.py model.init=he out=/w/runs/nextrun/a/01-x");
}

#[test]
fn a_script_that_asks_the_package_needs_no_option() {
    let script =
        "import nextrun\nlr = nextrun.setting('learning_rate', 0.5)\nw = SummaryWriter(nextrun.log_dir('runs/exp'))\n";
    let launched = learned(&Site { files: &[("t.py", script)], command: "python t.py", env: &[] });
    assert_eq!(settings(&launched), json!({"learning_rate": 0.5}));
    let changed = rewritten(&launched, &json!({"learning_rate": 0.1}), "exp");
    assert_eq!((changed.argv.join(" ").as_str(), changed.placed), ("python t.py", Placed::Redirected));
    assert!(changed.unplaced.is_empty() && rewritten(&launched, &json!({"seed": 1}), "exp").unplaced.len() == 1);
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z'\"$`\\\\ ;&|<>(){}*?!#~\n\t-]{1,40}",
        Just("$(touch /tmp/x)".to_owned()),
        Just("--eval".to_owned()),
        Just("'; rm -rf / #".to_owned()),
        "[a-z]{1,3}".prop_map(|part| part.repeat(1400)),
        "\\PC{1,30}",
    ]
}

/// Splits a line as a POSIX shell does, so far as `shell` quotes.
fn split(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quoted, mut escaped) = (Vec::new(), None::<String>, false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.get_or_insert_default().push(c);
                escaped = false;
            }
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if !quoted => escaped = true,
            ' ' if !quoted => words.extend(word.take()),
            '\n' | '$' | '`' | ';' | '|' | '<' | '"' if !quoted => return None,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}

proptest! {
    #[test]
    fn names_and_values_stay_data(run in hostile(), value in hostile(), baseline in hostile()) {
        let site = Site { files: &[("train.py", ARGPARSE), ("cfg.yaml", "lr: 1\n")], command: "python train.py --lr 10 --logdir runs --config cfg.yaml", env: &[] };
        let mut launched = learned(&site);
        launched.flags.iter_mut().for_each(|flag| flag.choices.clear());
        let settings = Knobs::new();
        let target = Target { logdir: Some("/w/runs"), baseline: &baseline, run_name: &run, settings: &settings, steps: None };
        let changed = rewrite(&launched, &knobs(&json!({"optimizer": value, "learning_rate": 1})), &target);
        let line = changed.command("/w");
        let words = split(&line);
        prop_assert!(words.is_some(), "{line:?}");
        let words = words.unwrap_or_default();
        // Whatever the names are, the same words reach the program, and each value is one of them.
        prop_assert!(words.ends_with(&changed.argv), "{line:?}");
        prop_assert_eq!(&changed.argv[..2], &["python".to_owned(), "train.py".to_owned()][..]);
        prop_assert!(changed.argv.iter().all(|word| word != "--eval"), "{:?}", changed.argv);
    }

    #[test]
    fn any_command_is_survived(argv in proptest::collection::vec(hostile(), 0..8), text in "\\PC{0,60}|[a-z_=(){}'.,:\n -]{0,120}") {
        let env = BTreeMap::new();
        let launched = learn(Seen { argv: &argv, cwd: "/w", env: &env, source: Source::Run }, &|_| Some(text.clone()));
        let target = Target { logdir: Some("/w"), baseline: ".", run_name: "n/1", settings: &launched.settings, steps: None };
        let overrides = json!({"learning_rate": 1, "batch_norm": true, "max_steps": 10, "train_examples": 1, "optimizer": "sgd", "gradient_clip": null});
        let changed = rewrite(&launched, &knobs(&overrides), &target);
        prop_assert!(split(&changed.command("/w")).is_some());
        prop_assert_eq!(masked(&argv).len(), argv.len());
    }
}
