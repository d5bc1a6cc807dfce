//! Options declared as fields of classes and parameters of functions: dataclasses, typer, fire, tyro, jsonargparse,
//! `LightningCLI`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::parsers::{switch, text};
use super::{Opt, kind_of_annotation, kind_of_value};
use crate::command::python::{Argument, Source, Token};
use crate::launched::Kind;

/// How a library spells a field or parameter on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Style {
    /// `--learning-rate` for `learning_rate`.
    dashes: bool,
    truth: Truth,
    /// A field with its own class is spelled `--field.name`.
    nested: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// `--bn=true`
    Value,
    /// `--bn` and `--no-bn`
    Pair,
    /// `--bn`
    On,
}

/// Libraries that create command lines from dataclasses, identified by a name that appears in the source.
const OF_CLASSES: &[(&str, Style)] = &[
    ("HfArgumentParser", Style { dashes: false, truth: Truth::Value, nested: false }),
    ("simple_parsing", Style { dashes: false, truth: Truth::Value, nested: false }),
    ("tyro", Style { dashes: true, truth: Truth::Pair, nested: true }),
    ("pyrallis", Style { dashes: false, truth: Truth::Value, nested: true }),
    ("draccus", Style { dashes: false, truth: Truth::Value, nested: true }),
    ("Tap", Style { dashes: false, truth: Truth::On, nested: false }),
    ("jsonargparse", Style { dashes: false, truth: Truth::Value, nested: true }),
];

/// Functions that create a command line from another function's parameters.
const OF_FUNCTIONS: &[(&str, &str, Style)] = &[
    ("typer", "run", Style { dashes: true, truth: Truth::Pair, nested: false }),
    ("typer", "command", Style { dashes: true, truth: Truth::Pair, nested: false }),
    ("fire", "Fire", Style { dashes: false, truth: Truth::Value, nested: false }),
    ("tyro", "cli", Style { dashes: true, truth: Truth::Pair, nested: true }),
    ("jsonargparse", "CLI", Style { dashes: false, truth: Truth::Value, nested: true }),
    ("jsonargparse", "auto_cli", Style { dashes: false, truth: Truth::Value, nested: true }),
];

/// A field of a class or parameter of a function.
struct Declared<'s> {
    name: &'s str,
    annotation: &'s [Token],
    value: &'s [Token],
}

pub(super) fn of_classes(source: &Source) -> Vec<Opt> {
    let Some((_, style)) = OF_CLASSES.iter().find(|(name, _)| source.names(name)) else { return Vec::new() };
    let classes: BTreeMap<&str, Vec<Declared<'_>>> = dataclasses(source).collect();
    let inner: BTreeSet<&str> = classes
        .values()
        .flatten()
        .filter_map(|field| field.annotation.iter().rev().find_map(Token::name))
        .filter(|name| style.nested && classes.contains_key(name))
        .collect();
    let mut options = Vec::new();
    for (name, fields) in &classes {
        if inner.contains(name) {
            continue;
        }
        for field in fields {
            let kind = field.annotation.iter().rev().find_map(Token::name).unwrap_or_default();
            match classes.get(kind).filter(|_| style.nested) {
                Some(below) => {
                    let prefix = format!("{}.", field.name);
                    options.extend(below.iter().map(|field| option(source, *style, &prefix, field)));
                }
                None => options.push(option(source, *style, "", field)),
            }
        }
    }
    options
}

pub(super) fn of_functions(source: &Source) -> Vec<Opt> {
    let mut options = Vec::new();
    for (library, caller, style) in OF_FUNCTIONS {
        if !source.names(library) {
            continue;
        }
        for (at, call) in source.calls(|name| name == *caller) {
            let named = call.first().and_then(|argument| argument.value.last()?.name());
            let function = match named {
                Some(name) => definition(source, name),
                // A decorator: the function that follows.
                None => (at..source.tokens.len()).find(|at| source.tokens[*at].is_name("def")),
            };
            let Some(open) =
                function.map(|at| at + 2).filter(|open| source.tokens.get(*open).is_some_and(|t| t.is('(')))
            else {
                continue;
            };
            let parameters = source.parts(open).into_iter().filter_map(declared);
            options.extend(parameters.map(|parameter| option(source, *style, "", &parameter)));
        }
    }
    options
}

/// Flags that every `LightningCLI` has, and the parameters of the modules in the file.
pub(super) fn of_lightning(source: &Source) -> Vec<Opt> {
    if !source.names("LightningCLI") {
        return Vec::new();
    }
    const TRAINER: &[(&str, Kind)] = &[
        ("seed_everything", Kind::Int),
        ("trainer.max_steps", Kind::Int),
        ("trainer.max_epochs", Kind::Int),
        ("trainer.gradient_clip_val", Kind::Float),
        ("trainer.limit_train_batches", Kind::Int),
        ("trainer.default_root_dir", Kind::Text),
    ];
    let style = Style { dashes: false, truth: Truth::Value, nested: true };
    let trainer = TRAINER.iter().map(|(name, kind)| Opt {
        names: vec![format!("--{name}")],
        dest: (*name).to_owned(),
        kind: *kind,
        default: Some(Value::Null),
        ..Opt::default()
    });
    let mut options: Vec<Opt> = trainer.collect();
    for (at, _, line) in source.lines() {
        if !line.first().is_some_and(|token| token.is_name("class")) {
            continue;
        }
        let base = line.iter().filter_map(Token::name);
        let prefix = if base.clone().any(|name| name == "LightningModule") {
            "model."
        } else if base.clone().any(|name| name == "LightningDataModule") {
            "data."
        } else {
            continue;
        };
        let init = source
            .block(at)
            .into_iter()
            .find(|(_, line)| matches!(line, [def, name, ..] if def.is_name("def") && name.is_name("__init__")));
        if let Some((place, _)) = init {
            let parameters = source.parts(place + 2).into_iter().filter_map(declared);
            options.extend(parameters.map(|parameter| option(source, style, prefix, &parameter)));
        }
    }
    options
}

/// The classes whose fields are settings, each with its fields.
fn dataclasses(source: &Source) -> impl Iterator<Item = (&str, Vec<Declared<'_>>)> {
    let lines: Vec<_> = source.lines().collect();
    let mut found = Vec::new();
    for (number, (at, indent, line)) in lines.iter().enumerate() {
        let [class, Token::Name(name), rest @ ..] = *line else { continue };
        if !class.is_name("class") {
            continue;
        }
        let decorators = lines[..number]
            .iter()
            .rev()
            .take_while(|(_, own, line)| own == indent && line.first().is_some_and(|t| t.is('@')));
        let is_data = decorators
            .flat_map(|(.., line)| line.iter())
            .filter_map(Token::name)
            .any(|name| ["dataclass", "define", "chz"].contains(&name))
            || rest.iter().filter_map(Token::name).any(|base| ["Tap", "TrainingArguments"].contains(&base));
        if is_data {
            found.push((name.as_str(), fields(source, *at)));
        }
    }
    found.into_iter()
}

fn fields(source: &Source, class: usize) -> Vec<Declared<'_>> {
    let block = source.block(class);
    let margin = |place: usize| place.checked_sub(1).and_then(|before| source.tokens.get(before)).cloned();
    let own = block.first().and_then(|(place, _)| margin(*place));
    let lines = block.into_iter().filter(|(place, _)| margin(*place) == own);
    lines.filter_map(|(_, line)| declared(line).filter(|field| !field.annotation.is_empty())).collect()
}

/// `name: type = value`; type and value are optional.
fn declared(part: &[Token]) -> Option<Declared<'_>> {
    let [Token::Name(name), rest @ ..] = part else { return None };
    if ["self", "cls", "def", "class", "pass", "return"].contains(&name.as_str()) {
        return None;
    }
    let mut depth = 0_usize;
    let equals = rest.iter().position(|token| {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.is('=')
    });
    let (before, value) = equals.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 1..]));
    let annotation = match before {
        [] => before,
        [Token::Mark(':'), annotation @ ..] => annotation,
        _ => return None,
    };
    Some(Declared { name, annotation, value })
}

fn definition(source: &Source, name: &str) -> Option<usize> {
    (0..source.tokens.len().saturating_sub(1))
        .find(|at| source.tokens[*at].is_name("def") && source.tokens[at + 1].is_name(name))
}

fn option(source: &Source, style: Style, prefix: &str, declared: &Declared<'_>) -> Opt {
    let call = call_in(declared.value).or_else(|| call_in_annotation(declared.annotation));
    let mut names = Vec::new();
    let mut help = String::new();
    let mut default = source.literal(declared.value);
    for argument in call.unwrap_or_default() {
        let value = source.literal(argument.value);
        match (argument.name, &value) {
            (None, Some(Value::String(word))) if word.starts_with("--") => names.push(word.clone()),
            (Some("default"), _) => default = value,
            (None, Some(_)) if default.is_none() => default = value,
            (Some("help" | "description"), _) => help = text(source, Some(argument.value)),
            (Some("metadata"), _) => {
                let texts: Vec<&str> = argument.value.iter().filter_map(Token::text).collect();
                help = texts.last().map(|text| (*text).to_owned()).unwrap_or_default();
            }
            _ => {}
        }
    }
    let plain = if style.dashes { declared.name.replace('_', "-") } else { declared.name.to_owned() };
    let dest = format!("{prefix}{}", declared.name);
    let spelled = names.first().map_or_else(|| format!("--{prefix}{plain}"), Clone::clone);
    let kind = match kind_of_annotation(declared.annotation) {
        Kind::Any => kind_of_value(default.as_ref()),
        kind => kind,
    };
    let literal = declared.annotation.iter().any(|token| token.is_name("Literal"));
    let choices = if literal {
        declared.annotation.iter().filter_map(Token::text).map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    let (first, last) =
        spelled.split_once('/').map_or((spelled.as_str(), None), |(on, off)| (on, Some(off.to_owned())));
    let option =
        Opt { names: vec![first.to_owned()], dest, kind, default: default.clone(), choices, help, ..Opt::default() };
    match (kind, style.truth) {
        (Kind::Bool, Truth::Pair) => {
            let dotted = first.trim_start_matches("--").rsplit_once('.');
            let off = last.unwrap_or_else(|| match dotted {
                Some((above, name)) => format!("--{above}.no-{name}"),
                None => format!("--no-{}", first.trim_start_matches("--")),
            });
            Opt { off: Some(off), ..switch(option, default.unwrap_or(Value::Null)) }
        }
        (Kind::Bool, Truth::On) => switch(option, default.unwrap_or(Value::Bool(false))),
        _ => option,
    }
}

/// The arguments of `field(default=0.1)`, `typer.Option(0.1, "--lr")` and the like.
fn call_in(value: &[Token]) -> Option<Vec<Argument<'_>>> {
    let open = value.iter().position(|token| token.is('('))?;
    let name = value.get(open.checked_sub(1)?)?.name()?;
    if !["field", "Field", "Option", "Argument", "HfArg", "Arg", "arg"].contains(&name) {
        return None;
    }
    let inner = value.strip_suffix(&[Token::Mark(')')])?.get(open + 1..)?;
    Some(split(inner).into_iter().map(Argument::of).collect())
}

/// The same in `Annotated[float, typer.Option("--lr")]`.
fn call_in_annotation(annotation: &[Token]) -> Option<Vec<Argument<'_>>> {
    let at = annotation.iter().position(|token| token.is_name("Option"))?;
    let end = annotation.iter().rposition(|token| token.is(')'))?;
    call_in(annotation.get(at..=end)?)
}

/// Splits at commas outside of brackets.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_usize;
    let parts = tokens.split(|token| {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.is(',')
    });
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(options: &[Opt]) -> Vec<String> {
        options.iter().map(|o| format!("{} {:?} {:?} {:?} {}", o.names[0], o.kind, o.default, o.off, o.help)).collect()
    }

    #[test]
    fn dataclasses_are_options_where_a_parser_reads_them() {
        let class = "@dataclass\nclass Model:\n    act: Literal['relu', 'tanh'] = 'relu'\n\
                     @dataclass\nclass Args:\n    \"\"\"Doc\"\"\"\n    model: Model\n    lr: float = field(default=0.1, metadata={\"help\": \"rate\"})\n    batch_size: int = 8\n    bn: bool = True\n    def f(self):\n        x: int = 3\n";
        assert_eq!(of_classes(&Source::read(class)), []);
        let hf = Source::read(&format!("from transformers import HfArgumentParser\n{class}"));
        assert_eq!(
            shown(&of_classes(&hf)),
            [
                "--model Any None None ",
                "--lr Float Some(Number(0.1)) None rate",
                "--batch_size Int Some(Number(8)) None ",
                "--bn Bool Some(Bool(true)) None ",
                "--act Text Some(String(\"relu\")) None "
            ]
        );
        let tyro = Source::read(&format!("import tyro\n{class}tyro.cli(Args)\n"));
        assert_eq!(
            shown(&of_classes(&tyro)),
            [
                "--model.act Text Some(String(\"relu\")) None ",
                "--lr Float Some(Number(0.1)) None rate",
                "--batch-size Int Some(Number(8)) None ",
                "--bn Bool Some(Bool(true)) Some(\"--no-bn\") ",
            ]
        );
    }

    #[test]
    fn parameters_of_functions_are_options() {
        let typer = Source::read(
            "import typer\napp = typer.Typer()\n@app.command()\ndef main(lr: float = typer.Option(0.1, '--rate', help='r'), bn: bool = True, n_train: int = 5):\n    pass\n",
        );
        assert_eq!(
            shown(&of_functions(&typer)),
            [
                "--rate Float Some(Number(0.1)) None r",
                "--bn Bool Some(Bool(true)) Some(\"--no-bn\") ",
                "--n-train Int Some(Number(5)) None "
            ]
        );
        let fire = Source::read("import fire\ndef train(lr=0.1, bn=True): pass\nfire.Fire(train)\n");
        assert_eq!(
            shown(&of_functions(&fire)),
            ["--lr Float Some(Number(0.1)) None ", "--bn Bool Some(Bool(true)) None "]
        );
    }

    #[test]
    fn lightning_has_its_own_flags_and_those_of_its_modules() {
        let source = Source::read(
            "class M(L.LightningModule):\n    x = 1\n    def __init__(self, lr: float = 1e-3):\n        pass\nLightningCLI(M)\n",
        );
        let names: Vec<_> = of_lightning(&source).iter().map(|option| option.names[0].clone()).collect();
        assert!(
            names.contains(&"--model.lr".to_owned()) && names.contains(&"--trainer.max_steps".to_owned()),
            "{names:?}"
        );
    }
}
