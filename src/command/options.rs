//! The inputs of a script according to its source: command-line options, `key=value`, environment variables.
//!
//! Owns: the parsers that training scripts use, and their spelling of options. Must not know: which options are knobs.

mod classes;
mod known;
mod package;
mod parsers;
mod plain;

use std::collections::BTreeSet;

use serde_json::Value;

pub(super) use package::asks_where_to_log;

use super::python::{Source, Token};
use crate::launched::{Kind, Way};

/// An input of a script.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Opt {
    /// Spellings; the first one is written. Empty for a switch that can only be set by its `off` spelling.
    pub(super) names: Vec<String>,
    /// Its name in the script.
    pub(super) dest: String,
    pub(super) way: Way,
    pub(super) kind: Kind,
    pub(super) default: Option<Value>,
    /// The argument that turns a switch off.
    pub(super) off: Option<String>,
    pub(super) choices: Vec<String>,
    pub(super) help: String,
    /// The configuration file that contains it.
    pub(super) file: Option<String>,
}

/// The inputs found in a source file, and further files to read.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) options: Vec<Opt>,
    /// Whether values are passed as `key=value`.
    pub(super) dialect: Option<Dialect>,
    /// Configuration files named in the source, relative to the script's directory.
    pub(super) files: Vec<String>,
}

/// The parser of `key=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Hydra: keys of its configuration as `key=value`, others as `+key=value`.
    Hydra,
    /// OmegaConf: values are YAML.
    OmegaConf,
    /// Split at `=` by the script itself.
    Plain,
}

/// Finds the inputs of a script.
pub(super) fn taken(source: &Source) -> Taken {
    let mut taken = Taken::default();
    let options = &mut taken.options;
    options.extend(parsers::argparse(source));
    options.extend(parsers::click(source));
    options.extend(parsers::absl(source));
    options.extend(classes::of_classes(source));
    options.extend(classes::of_functions(source));
    options.extend(classes::of_lightning(source));
    options.extend(known::known(source));
    options.extend(package::package(source));
    options.extend(plain::environment(source));
    options.extend(plain::globals(source));
    let (dialect, files) = plain::key_values(source);
    if let Some(dialect) = dialect.filter(|dialect| *dialect != Dialect::Hydra) {
        options.extend(plain::defaults(source, dialect));
    }
    (taken.dialect, taken.files) = (dialect, files);
    taken.options.iter_mut().for_each(|option| complete(option, source));
    taken
}

/// Adds the values that a source accepts to a text option that does not list them.
pub(super) fn complete(option: &mut Opt, source: &Source) {
    if !option.choices.is_empty() || !matches!(option.kind, Kind::Text | Kind::Any) {
        return;
    }
    option.choices = choices(source, &option.dest);
    // The default action is often in an `else` branch, without a comparison.
    if let Some(Value::String(default)) = &option.default
        && !option.choices.is_empty()
        && !default.is_empty()
        && !option.choices.contains(default)
    {
        option.choices.push(default.clone());
    }
}

/// The kind of a type's name.
fn kind_of(tokens: &[Token]) -> Kind {
    let last = tokens.iter().rev().find_map(Token::name).unwrap_or_default();
    let first = tokens.first().and_then(Token::name).unwrap_or_default();
    match (first, last.to_ascii_lowercase().as_str()) {
        ("lambda", _) => {
            let truth = tokens
                .iter()
                .filter_map(Token::text)
                .any(|text| ["true", "yes", "1", "y", "t"].contains(&text.to_ascii_lowercase().as_str()));
            if truth { Kind::Bool } else { Kind::Any }
        }
        ("float", _) | (_, "float" | "floatrange" | "positivefloat" | "nonnegativefloat") => Kind::Float,
        ("int", _) | (_, "int" | "integer" | "intrange" | "positiveint" | "nonnegativeint") => Kind::Int,
        ("str" | "Path", _) | (_, "str" | "string" | "path" | "choice") => Kind::Text,
        ("bool", _) => Kind::Truthy,
        (_, name) if name.contains("bool") => Kind::Bool,
        _ => Kind::Any,
    }
}

/// The kind of a declared type: `Optional[float]`, `float | None`, `Literal["a"]`.
fn kind_of_annotation(tokens: &[Token]) -> Kind {
    let named = |name: &str| tokens.iter().any(|token| token.is_name(name));
    if named("bool") {
        Kind::Bool
    } else if named("float") {
        Kind::Float
    } else if named("int") {
        Kind::Int
    } else if named("str") || named("Literal") || named("Path") {
        Kind::Text
    } else {
        Kind::Any
    }
}

/// The kind of a default value, if nothing else defines it.
fn kind_of_value(value: Option<&Value>) -> Kind {
    match value {
        Some(Value::Bool(_)) => Kind::Bool,
        Some(Value::Number(number)) if number.is_f64() => Kind::Float,
        Some(Value::Number(_)) => Kind::Int,
        Some(Value::String(_)) => Kind::Text,
        _ => Kind::Any,
    }
}

/// The texts that the source compares an option with, or uses as keys to look it up: its accepted values.
fn choices(source: &Source, dest: &str) -> Vec<String> {
    let tokens = &source.tokens;
    let mut found: BTreeSet<String> = BTreeSet::new();
    let last = dest.rsplit('.').next().unwrap_or(dest);
    for at in 0..tokens.len() {
        // `args.opt`, `opt`, and `cfg["opt"]`.
        let (start, after) = if tokens[at].is_name(last) {
            (at, at + 1)
        } else if tokens[at].text() == Some(last)
            && tokens.get(at + 1).is_some_and(|token| token.is(']'))
            && at >= 2
            && tokens[at - 1].is('[')
        {
            (at - 2, at + 2)
        } else {
            continue;
        };
        // `args.opt.lower() == "adam"`
        let after = match tokens.get(after..after + 4) {
            Some([Token::Mark('.'), Token::Name(method), Token::Mark('('), Token::Mark(')')])
                if method == "lower" || method == "upper" =>
            {
                after + 4
            }
            _ => after,
        };
        match tokens.get(after..).unwrap_or_default() {
            [Token::Mark('='), Token::Mark('='), Token::Text(Some(text)), ..]
            | [Token::Mark('!'), Token::Mark('='), Token::Text(Some(text)), ..] => {
                found.insert(text.clone());
            }
            [Token::Name(word), Token::Mark('(' | '[' | '{'), ..] if word == "in" => {
                let parts = source.parts(after + 1);
                found.extend(parts.iter().filter_map(|part| part.first()?.text()).map(str::to_owned));
            }
            [Token::Name(word), Token::Name(table), ..] if word == "in" => found.extend(keys_of(source, table)),
            [Token::Mark(':'), Token::Line(_), Token::Name(word), Token::Text(Some(text)), ..] if word == "case" => {
                found.insert(text.clone());
                let matched = tokens.get(after..).unwrap_or_default().windows(2);
                found.extend(
                    matched
                        .take(400)
                        .filter(|pair| pair[0].is_name("case"))
                        .filter_map(|pair| pair[1].text())
                        .map(str::to_owned),
                );
            }
            _ => {}
        }
        found.extend(looked_up(source, start, after));
    }
    found.into_iter().filter(|text| !text.is_empty()).collect()
}

/// The keys of the table that an option indexes: `OPTIMIZERS[args.opt]`, `{"adam": …}[args.opt]`,
/// `TABLE.get(args.opt)`.
fn looked_up(source: &Source, at: usize, after: usize) -> Vec<String> {
    let tokens = &source.tokens;
    if !tokens.get(after).is_some_and(|token| token.is(']') || token.is(')') || token.is(',')) {
        return Vec::new();
    }
    // Backwards over `args.` to the bracket.
    let mut open = at;
    while open > 0 && (tokens[open - 1].is('.') || (tokens[open - 1].name().is_some() && tokens[open].is('.'))) {
        open -= 1;
    }
    let Some(bracket) = open.checked_sub(1) else { return Vec::new() };
    match (&tokens[bracket], bracket.checked_sub(1).map(|before| &tokens[before])) {
        (Token::Mark('['), Some(Token::Name(table))) => keys_of(source, table),
        (Token::Mark('['), Some(Token::Mark('}'))) => {
            let opening =
                (0..bracket).rev().find(|place| tokens[*place].is('{') && source.close(*place) == bracket - 1);
            opening.map(|opening| keys_at(source, opening)).unwrap_or_default()
        }
        (Token::Mark('('), Some(Token::Name(get))) if get == "get" && bracket >= 3 => {
            tokens[bracket - 3].name().map(|table| keys_of(source, table)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The string keys of a dictionary with the given name.
fn keys_of(source: &Source, table: &str) -> Vec<String> {
    let tokens = &source.tokens;
    let assigned = (0..tokens.len().saturating_sub(2))
        .find(|at| tokens[*at].is_name(table) && tokens[at + 1].is('=') && tokens[at + 2].is('{'));
    assigned.map(|at| keys_at(source, at + 2)).unwrap_or_default()
}

fn keys_at(source: &Source, open: usize) -> Vec<String> {
    let parts = source.parts(open);
    parts
        .iter()
        .filter(|part| part.get(1).is_some_and(|token| token.is(':')))
        .filter_map(|part| part[0].text())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_that_a_script_understands_are_those_it_compares_with() {
        let source = Source::read(
            "if args.init == 'he': pass\nelif args.init == \"zero\": pass\nOPT = {'adam': 1, 'sgd': 2}\n\
             o = OPT[args.opt](lr)\na = {'relu': F.relu, 'tanh': F.tanh}[cfg.act]\nif args.norm.lower() in ('batch', 'none'): pass\n\
             c = OPT.get(kind, None)\nl = {'mse': f, 'mae': g}[cfg[\"crit\"]](x)\nmatch args.loss:\n    case 'l1': pass\n    case 'l2': pass\n",
        );
        let found = |dest: &str| choices(&source, dest).join(" ");
        assert_eq!(found("init"), "he zero");
        assert_eq!(found("opt"), "adam sgd");
        assert_eq!(found("act"), "relu tanh");
        assert_eq!(found("norm"), "batch none");
        assert_eq!(found("kind"), "adam sgd");
        assert_eq!(found("loss"), "l1 l2");
        assert_eq!(found("crit"), "mae mse");
        assert_eq!(found("lr"), "");
    }

    #[test]
    fn a_script_understands_its_own_default_too() {
        let source = Source::read(
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--init', default='he')\nargs = p.parse_args()\n\
             s = 0.0 if args.init == 'zero' else 1.0\n",
        );
        let options = taken(&source).options;
        let init = options.iter().find(|option| option.dest == "init").map(|option| option.choices.clone());
        assert_eq!(init.unwrap(), ["zero", "he"]);
    }
}
