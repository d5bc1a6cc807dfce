//! The configuration from an operator's view: the example loads, and each mistake is reported with its position and a
//! fix.

use std::path::Path;

use nextrun::config::{
    ConfigError, FieldKind, Launch, Need, Overrides, Placement, PolicyChoice, PresetField, Settings, Variables,
    Vocabulary, load, parse, show,
};
use nextrun::destinations::Preset;
use nextrun::logdir::Place;

fn vocabulary() -> Vocabulary {
    let field = |name: &str, kind, need, help: &str| PresetField { name: name.into(), kind, need, help: help.into() };
    let url = || field("url", FieldKind::Url, Need::Required, "the address that messages are posted to");
    let secret = || field("secret", FieldKind::Secret, Need::Optional, "signs the requests");
    Vocabulary {
        presets: vec![
            ("slack".into(), vec![url()]),
            ("queue".into(), vec![url(), secret()]),
            ("webhook".into(), vec![url(), secret()]),
            ("terminal".into(), vec![]),
        ],
        policies: vec!["article".into()],
        symptoms: vec!["non_finite".into(), "not_learning".into()],
        ..Vocabulary::default()
    }
}

fn example() -> Settings {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nextrun.yaml");
    load(Some(&file), &Overrides::default(), &Variables::new(), &vocabulary()).expect("the example loads")
}

fn launch_of<'s>(settings: &'s Settings, job: &str) -> &'s Launch {
    settings.launches.iter().find(|launch| launch.is_for(job)).expect("a launch section")
}

#[test]
fn the_example_says_what_it_seems_to_say() {
    let settings = example();
    assert_eq!(settings.watch[0].logdir, Some(Place::Disk("/data/runs".into())));
    assert!(settings.watch.watches("vision/1") && !settings.watch.watches("vision/debug-2"));
    assert_eq!(settings.policies.of("nlp/bert"), Some(&PolicyChoice::BuiltIn("article".into())));
    assert_eq!(settings.destinations.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["team", "cluster"]);
    let changes = serde_json::json!({
        "learning_rate": 1e-4, "batch_norm": false, "train_examples": null, "initializer": "variance_scaling",
        "optimizer": "sgd", "seed": 2, "activation": "tanh"
    });
    let changes = changes.as_object().expect("an object").clone().into_iter().collect();
    let placement = Placement { suggestion_id: "s-1", run_name: "nextrun/c1/1", baseline: "vision/1" };
    let known = serde_json::json!({ "batch_size": 32, "learning_rate": 0.1, "epochs": 3 });
    let known = known.as_object().expect("an object").clone().into_iter().collect();
    let rendered = launch_of(&settings, "vision/1").render(&changes, &known, &placement);
    assert_eq!(
        rendered.command.as_deref(),
        Some(
            "env SEED=2 python train.py --batch-size 32 --no-bn --init=he --lr=0.0001 optim.name=sgd --logdir /data/runs/nextrun/c1/1"
        )
    );
    assert_eq!(rendered.unknown.keys().collect::<Vec<_>>(), ["activation"]);
}

/// A file of `deploy`, with the presets and policies that come with the program.
fn deployed(file: &Path) -> Settings {
    let loaded = load(Some(file), &Overrides::default(), &Variables::new(), &nextrun::daemon::vocabulary());
    loaded.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_setting_of_every_preset_stands_in_an_example() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let settings = deployed(&deploy.join("destinations.yaml"));
    for name in Preset::names() {
        let preset = Preset::shipped(name).expect("it comes with the program");
        let examples: Vec<_> = settings.destinations.iter().filter(|wanted| wanted.preset.is(name)).collect();
        assert!(!examples.is_empty(), "deploy/destinations.yaml has no {name}");
        for field in preset.fields.keys() {
            let stands = examples.iter().any(|wanted| {
                wanted.fields.contains_key(field) || wanted.accounts.as_ref().is_some_and(|(name, _)| name == field)
            });
            assert!(stands, "deploy/destinations.yaml: no destination of the preset {name} has `{field}`");
        }
    }
    let examples = std::fs::read_dir(deploy.join("examples")).expect("a folder");
    let read: Vec<Settings> = examples.map(|file| deployed(&file.expect("a file").path())).collect();
    assert!(read.len() >= 2 && read.iter().all(|settings| !settings.destinations.is_empty()));
}

#[test]
fn the_configuration_in_the_manifest_for_kubernetes_is_one() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/nextrun.yaml");
    let text = std::fs::read_to_string(manifest).expect("the manifest");
    let (_, after) = text.split_once("nextrun.yaml: |\n").expect("a ConfigMap");
    let lines = after.lines().take_while(|line| *line != "---");
    let inner: String = lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("nextrun.yaml");
    std::fs::write(&file, inner).expect("a file");
    let settings = deployed(&file);
    assert!(settings.destinations.iter().any(|destination| destination.preset.is("kubernetes")));
}

#[test]
fn what_is_shown_is_a_configuration_with_the_same_meaning() {
    let shown = show(&example());
    let again = parse(&shown, "shown", Path::new("/"), &vocabulary())
        .unwrap_or_else(|problems| panic!("{problems:?}\n{shown}"));
    assert_eq!(show(&again), shown);
    insta::assert_snapshot!("example_shown", shown);
}

#[test]
fn without_a_file_messages_go_to_the_terminal() {
    let settings =
        load(None, &Overrides::default(), &Variables::from([("HOME".into(), "/home/ada".into())]), &vocabulary())
            .expect("defaults");
    insta::assert_snapshot!("defaults_shown", show(&settings));
}

#[test]
fn a_file_of_comments_sets_nothing() {
    for text in ["", "# nothing\n\n  # yet\n"] {
        let settings = parse(text, "c.yaml", Path::new("/"), &vocabulary()).expect("defaults");
        assert_eq!(show(&settings), show(&Settings::default()));
    }
}

#[test]
fn every_mistake_is_told_with_its_place_and_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/configs");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the folder").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a fixture");
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        let problems = parse(&text, "nextrun.yaml", Path::new("/etc/nextrun"), &vocabulary()).expect_err(name);
        let shown = ConfigError::Problems(problems).to_string();
        assert!(!shown.contains("hunter2"), "{name} shows a password");
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn a_file_that_is_not_there_is_said() {
    let missing = load(Some(Path::new("/no/such.yaml")), &Overrides::default(), &Variables::new(), &vocabulary());
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
}
