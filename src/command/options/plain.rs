//! Options without a declaration: environment variables, `key=value`, a script's own globals.

use serde_json::Value;

use super::{Dialect, Opt, kind_of_value};
use crate::command::python::{Source, Token};
use crate::launched::{Kind, Way};

/// `os.environ.get("LR", 0.1)`, `os.getenv("LR")`, `os.environ["LR"]`.
pub(super) fn environment(source: &Source) -> Vec<Opt> {
    let tokens = &source.tokens;
    let helpers = helpers(source);
    let mut options: Vec<Opt> = Vec::new();
    for at in 0..tokens.len() {
        let from_environ = |at: usize| at >= 2 && tokens[at - 1].is('.') && tokens[at - 2].is_name("environ");
        let open = at + 1;
        let called = tokens.get(open).is_some_and(|token| token.is('('))
            && (tokens[at].is_name("getenv") || (tokens[at].is_name("get") && from_environ(at)));
        let helped = tokens.get(open).is_some_and(|token| token.is('('))
            && tokens[at].name().is_some_and(|name| helpers.contains(&name))
            && !at.checked_sub(1).is_some_and(|before| tokens[before].is_name("def"));
        let called = called || helped;
        let indexed = tokens[at].is_name("environ") && tokens.get(open).is_some_and(|token| token.is('['));
        if !called && !indexed {
            continue;
        }
        let parts = source.parts(open);
        let Some(name) = parts.first().and_then(|part| source.literal(part)?.as_str().map(str::to_owned)) else {
            continue;
        };
        // `os.environ["A"] = "1"` sets it.
        let close = source.close(open);
        if indexed
            && tokens.get(close + 1).is_some_and(|token| token.is('='))
            && !tokens.get(close + 2).is_some_and(|token| token.is('='))
        {
            continue;
        }
        let default = if called { parts.get(1).map_or(Some(Value::Null), |part| source.literal(part)) } else { None };
        let kind = match around(source, at) {
            Kind::Any => kind_of_value(default.as_ref()),
            kind => kind,
        };
        if options.iter().all(|option| option.dest != name) {
            options.push(Opt {
                names: vec![name.clone()],
                dest: name,
                way: Way::Environment,
                kind,
                default,
                ..Opt::default()
            });
        }
    }
    options
}

/// Functions of the file that read a variable for others: `def env(name, default): return os.environ.get(name, default)`.
fn helpers(source: &Source) -> Vec<&str> {
    let reads = |line: &[Token]| line.iter().any(|token| token.is_name("environ") || token.is_name("getenv"));
    let defined = source.lines().filter_map(|(at, _, line)| match line {
        [def, Token::Name(name), Token::Mark('('), ..] if def.is_name("def") => {
            let small = source.block(at).len() <= 8;
            let own = reads(line) || source.block(at).iter().any(|(_, line)| reads(line));
            (small && own).then_some(name.as_str())
        }
        _ => None,
    });
    defined.collect()
}

/// The type conversion of a value where it is read: `float(os.environ.get(…))`.
fn around(source: &Source, at: usize) -> Kind {
    let mut start = at;
    while start > 0 && (source.tokens[start - 1].is('.') || source.tokens[start].is('.')) {
        start -= 1;
    }
    match start.checked_sub(2).map(|before| (&source.tokens[before], &source.tokens[start - 1])) {
        Some((Token::Name(name), Token::Mark('('))) => match name.as_str() {
            "float" => Kind::Float,
            "int" => Kind::Int,
            "bool" => Kind::Truthy,
            "str" => Kind::Text,
            _ => Kind::Any,
        },
        _ => Kind::Any,
    }
}

/// Globals that a script lets its command line override, as in nanoGPT's configurator: `--learning_rate=0.1`.
pub(super) fn globals(source: &Source) -> Vec<Opt> {
    let configurator = source.tokens.iter().filter_map(Token::text).any(|text| text.contains("configurator.py"));
    let own = source.names("globals")
        && source.names("argv")
        && source.tokens.iter().filter_map(Token::text).any(|text| text == "=");
    if !configurator && !own {
        return Vec::new();
    }
    let constants = source.constants.iter().filter(|(_, value)| !value.is_null());
    constants
        .map(|(name, value)| Opt {
            names: vec![format!("--{name}")],
            dest: name.clone(),
            kind: kind_of_value(Some(value)),
            default: Some(value.clone()),
            ..Opt::default()
        })
        .collect()
}

/// The parser of `key=value`, and its initial configuration files.
pub(super) fn key_values(source: &Source) -> (Option<Dialect>, Vec<String>) {
    if let Some((_, call)) =
        source.calls(|name| name == "main").find(|(at, _)| *at >= 2 && source.tokens[at - 2].is_name("hydra"))
    {
        let text = |name: &str| {
            let value = call.iter().find(|argument| argument.name == Some(name)).map(|argument| argument.value)?;
            source.literal(value)?.as_str().map(str::to_owned)
        };
        let name = text("config_name").unwrap_or_else(|| "config".to_owned());
        let name = if name.ends_with(".yaml") { name } else { format!("{name}.yaml") };
        let folder = text("config_path").unwrap_or_else(|| ".".to_owned());
        return (Some(Dialect::Hydra), vec![format!("{folder}/{name}")]);
    }
    let called = |wanted: &'static str| source.calls(move |name| name == wanted);
    if called("from_cli").next().is_some() || (called("from_dotlist").next().is_some() && source.names("argv")) {
        let loads =
            called("load").filter_map(|(_, call)| source.literal(call.first()?.value)?.as_str().map(str::to_owned));
        return (
            Some(Dialect::OmegaConf),
            loads.filter(|file| file.ends_with(".yaml") || file.ends_with(".yml")).collect(),
        );
    }
    let splits = ["split", "partition", "rsplit"].iter().any(|method| {
        source.calls(move |name| name == *method).any(|(_, call)| {
            call.first().and_then(|argument| source.literal(argument.value)).is_some_and(|text| text == "=")
        })
    });
    ((splits && source.names("argv")).then_some(Dialect::Plain), Vec::new())
}

/// Settings in the source that arguments can override: dictionaries, and fields of a settings class.
pub(super) fn defaults(source: &Source, dialect: Dialect) -> Vec<Opt> {
    let mut found: Vec<(String, Value)> = Vec::new();
    for at in 2..source.tokens.len() {
        if !source.tokens[at - 1].is('=') && !source.tokens[at - 1].is('(') {
            continue;
        }
        if source.tokens[at].is('{') {
            entries(source, at, "", &mut found);
        } else if source.tokens[at].is_name("dict") || source.tokens[at].is_name("SimpleNamespace") {
            let open = source.tokens.get(at + 1).filter(|token| token.is('('));
            for argument in open.map(|_| source.arguments(at + 1)).into_iter().flatten() {
                if let (Some(name), Some(value)) = (argument.name, source.literal(argument.value)) {
                    found.push((name.to_owned(), value));
                }
            }
        }
    }
    if source.names("setattr") {
        found.extend(attributes(source));
    }
    let spelling = Spelling::of(source, dialect);
    let mut options: Vec<Opt> = Vec::new();
    for (name, value) in found {
        if options.iter().all(|option| option.dest != name) {
            options.push(spelling.option(&name, value));
        }
    }
    options
}

/// The literals that classes assign to their names, where `setattr` can replace them.
fn attributes(source: &Source) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (at, _, line) in source.lines() {
        if !line.first().is_some_and(|token| token.is_name("class")) {
            continue;
        }
        for (_, line) in source.block(at) {
            let (name, value) = match line {
                [Token::Name(name), Token::Mark('='), value @ ..] => (name, value),
                [Token::Name(name), Token::Mark(':'), rest @ ..] => {
                    let Some(equals) = rest.iter().position(|token| token.is('=')) else { continue };
                    (name, &rest[equals + 1..])
                }
                _ => continue,
            };
            found.extend(source.literal(value).map(|value| (name.clone(), value)));
        }
    }
    found
}

/// How a script expects its settings.
struct Spelling {
    /// `--lr=0.1`; otherwise `lr=0.1`.
    dashes: bool,
    truth: Words,
}

/// How a script parses true and false.
enum Words {
    /// As in JSON and YAML.
    Lower,
    /// As in Python.
    Capital,
    /// By converting the text to the type of the default: every non-empty text is true.
    Truthy,
}

impl Spelling {
    fn of(source: &Source, dialect: Dialect) -> Spelling {
        let texts = || source.tokens.iter().filter_map(Token::text);
        let plain = dialect == Dialect::Plain;
        let retyped = (0..source.tokens.len().saturating_sub(1)).any(|at| {
            source.tokens[at].is_name("type")
                && source.tokens[at + 1].is('(')
                && source.tokens.get(source.close(at + 1) + 1).is_some_and(|token| token.is('('))
        });
        let truth = if ["literal_eval", "eval"].iter().any(|name| source.names(name)) {
            Words::Capital
        } else if !plain || ["json", "yaml"].iter().any(|name| source.names(name)) {
            Words::Lower
        } else if retyped {
            Words::Truthy
        } else {
            Words::Capital
        };
        Spelling { dashes: plain && texts().any(|text| text == "--" || text == "-"), truth }
    }

    fn option(&self, name: &str, value: Value) -> Opt {
        let kind = kind_of_value(Some(&value));
        let truth = kind == Kind::Bool;
        let words: &[&str] = match self.truth {
            Words::Capital if truth => &["True", "False"],
            _ => &[],
        };
        let (spelled, way) =
            if self.dashes { (format!("--{name}"), Way::Argument) } else { (name.to_owned(), Way::KeyValue) };
        Opt {
            names: vec![spelled],
            dest: name.to_owned(),
            way,
            kind: if truth && matches!(self.truth, Words::Truthy) { Kind::Truthy } else { kind },
            default: Some(value),
            choices: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Opt::default()
        }
    }
}

/// The entries of a dictionary; nested keys are joined with a dot.
fn entries(source: &Source, open: usize, prefix: &str, found: &mut Vec<(String, Value)>) {
    const DEEPEST: usize = 4;
    let mut at = open + 1;
    for part in source.parts(open) {
        if let [Token::Text(Some(name)), Token::Mark(':'), value @ ..] = part {
            let name = format!("{prefix}{name}");
            let inner = at + 2;
            if value.first().is_some_and(|token| token.is('{'))
                && source.tokens.get(inner).is_some_and(|token| token.is('{'))
            {
                if prefix.matches('.').count() < DEEPEST {
                    entries(source, inner, &format!("{name}."), found);
                }
            } else if let Some(value) = source.literal(value) {
                found.push((name, value));
            }
        }
        at += part.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(options: &[Opt]) -> Vec<String> {
        options.iter().map(|o| format!("{} {:?} {:?}", o.names[0], o.kind, o.default)).collect()
    }

    #[test]
    fn environment_variables_are_found_where_they_are_read() {
        let source = Source::read(
            "lr = float(os.environ.get('LR', 0.1))\nbs = int(os.getenv('BS', '32'))\nout = environ['OUT']\nos.environ['SET'] = '1'\nos.environ.get('BN')\n",
        );
        assert_eq!(
            shown(&environment(&source)),
            ["LR Float Some(Number(0.1))", "BS Int Some(String(\"32\"))", "OUT Any None", "BN Any Some(Null)"]
        );
        let helped = Source::read(
            "def env(name, default):\n    return type(default)(os.environ.get(name, default))\nlr = env('LR', 0.1)\n",
        );
        assert_eq!(shown(&environment(&helped)), ["LR Float Some(Number(0.1))"]);
    }

    #[test]
    fn defaults_that_a_key_replaces_are_found() {
        let text = "cfg = {'lr': 0.1, 'opt': {'name': 'adam'}, 'n': None, 'f': g(1)}\ncfg.update(a.split('=') for a in sys.argv[1:])\n";
        let source = Source::read(text);
        assert_eq!(key_values(&source).0, Some(Dialect::Plain));
        assert_eq!(
            shown(&defaults(&source, Dialect::Plain)),
            ["lr Float Some(Number(0.1))", "opt.name Text Some(String(\"adam\"))", "n Any Some(Null)"]
        );
        let source =
            Source::read("base = OmegaConf.create(dict(lr=0.1))\ncfg = OmegaConf.merge(base, OmegaConf.from_cli())\n");
        assert_eq!(key_values(&source).0, Some(Dialect::OmegaConf));
        assert_eq!(shown(&defaults(&source, Dialect::Plain)), ["lr Float Some(Number(0.1))"]);
        assert_eq!(key_values(&Source::read("a, b = line.split('=')\n")).0, None);
    }

    #[test]
    fn settings_are_spelled_as_the_script_reads_them() {
        let shown = |text: &str| {
            let options = defaults(&Source::read(text), Dialect::Plain);
            options.iter().map(|o| format!("{} {:?} {}", o.names[0], o.kind, o.choices.join(","))).collect::<Vec<_>>()
        };
        let dict = "cfg = {'bn': True}\nk, v = a.split('=')\n";
        assert_eq!(shown(&format!("{dict}cfg[k] = type(cfg[k])(v)\n")), ["bn Truthy "]);
        assert_eq!(shown(&format!("{dict}cfg[k] = ast.literal_eval(v)\n")), ["bn Bool True,False"]);
        assert_eq!(shown(&format!("{dict}cfg[k] = json.loads(v)\n")), ["bn Bool "]);
        let class = "class C:\n    lr: float = 0.1\n    steps = 5\n    def f(self): pass\n";
        let loop_ =
            "for a in sys.argv[1:]:\n    k, v = a.lstrip('-').split('=')\n    setattr(c, k, type(getattr(c, k))(v))\n";
        assert_eq!(shown(&format!("{class}{loop_}")), ["--lr Float ", "--steps Int "]);
    }

    #[test]
    fn hydra_names_its_configuration() {
        let source = Source::read(
            "@hydra.main(version_base=None, config_path='conf', config_name='train')\ndef main(cfg): pass\n",
        );
        assert_eq!(key_values(&source), (Some(Dialect::Hydra), vec!["conf/train.yaml".to_owned()]));
    }

    #[test]
    fn globals_are_options_only_where_the_script_says_so() {
        let text = "learning_rate = 6e-4\nexec(open('configurator.py').read())\n";
        assert_eq!(shown(&globals(&Source::read(text))), ["--learning_rate Float Some(Number(0.0006))"]);
        assert_eq!(globals(&Source::read("learning_rate = 6e-4\n")), []);
    }
}
