//! Python source as tokens, and the literals in it. Executes nothing.
//!
//! Owns: words, texts, numbers, brackets and lines of Python. Must not know: parsers of command lines, and knobs.

use std::collections::BTreeMap;

use serde_json::Value;

/// Longer literals are not parsed.
const LONGEST_LITERAL: usize = 64;

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Start of a logical line with this indentation.
    Line(usize),
    /// A name or keyword.
    Name(String),
    /// A number as written.
    Number(String),
    /// A text without its quotes; `None` for one with placeholders, whose value is unknown.
    Text(Option<String>),
    /// A bracket, operator or comma.
    Mark(char),
}

impl Token {
    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self, Token::Name(own) if own == name)
    }

    pub(super) fn is(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }

    pub(super) fn name(&self) -> Option<&str> {
        if let Token::Name(name) = self { Some(name) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Token::Text(Some(text)) = self { Some(text) } else { None }
    }
}

/// A source file as tokens, with what its top level assigns.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) tokens: Vec<Token>,
    /// For each opening bracket the place of the closing one.
    closing: BTreeMap<usize, usize>,
    /// Literals that the top level assigns to names, by name.
    pub(super) constants: BTreeMap<String, Value>,
}

/// An argument of a call: `name=value`, or a value alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument<'s> {
    pub(super) name: Option<&'s str>,
    pub(super) value: &'s [Token],
}

impl Source {
    pub(super) fn read(text: &str) -> Source {
        let tokens = tokens(text);
        let mut source = Source { closing: closing(&tokens), tokens, constants: BTreeMap::new() };
        source.constants = source.top_level();
        source
    }

    /// Calls of functions whose dotted name satisfies a test: the place of the name's last part and the arguments.
    pub(super) fn calls<'s>(
        &'s self,
        is: impl Fn(&str) -> bool + 's,
    ) -> impl Iterator<Item = (usize, Vec<Argument<'s>>)> {
        (1..self.tokens.len()).filter_map(move |open| {
            let called = self.tokens[open].is('(') && self.tokens[open - 1].name().is_some_and(&is);
            let defined = open >= 2 && ["def", "class"].iter().any(|word| self.tokens[open - 2].is_name(word));
            (called && !defined).then(|| (open - 1, self.arguments(open)))
        })
    }

    /// The parts between an opening bracket and its closing bracket.
    pub(super) fn arguments(&self, open: usize) -> Vec<Argument<'_>> {
        self.parts(open).into_iter().map(Argument::of).collect()
    }

    /// The parts between an opening bracket and its closing bracket, split at commas.
    pub(super) fn parts(&self, open: usize) -> Vec<&[Token]> {
        let close = self.close(open);
        let mut parts = Vec::new();
        let (mut from, mut at) = (open + 1, open + 1);
        while at < close {
            if self.tokens[at].is(',') {
                parts.push(&self.tokens[from..at]);
                from = at + 1;
            }
            at = self.closing.get(&at).copied().unwrap_or(at) + 1;
        }
        parts.push(&self.tokens[from.min(close)..close]);
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// The position of the closing bracket; the end of the file if there is none.
    pub(super) fn close(&self, open: usize) -> usize {
        self.closing.get(&open).copied().unwrap_or(self.tokens.len())
    }

    /// The lines of a block: those that follow `line` with more indentation, each as its tokens with the position of
    /// the first.
    pub(super) fn block(&self, line: usize) -> Vec<(usize, &[Token])> {
        let Some(Token::Line(margin)) = self.tokens.get(line) else { return Vec::new() };
        self.lines()
            .skip_while(|(place, ..)| *place <= line)
            .take_while(|(_, indent, _)| indent > margin)
            .map(|(place, _, tokens)| (place + 1, tokens))
            .collect()
    }

    /// Logical lines: the place of their mark, their indent, their tokens.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, usize, &[Token])> {
        let starts: Vec<(usize, usize)> = self
            .tokens
            .iter()
            .enumerate()
            .filter_map(|(at, token)| if let Token::Line(indent) = token { Some((at, *indent)) } else { None })
            .collect();
        let ends: Vec<usize> = starts.iter().skip(1).map(|(at, _)| *at).chain([self.tokens.len()]).collect();
        starts.into_iter().zip(ends).map(|((at, indent), end)| (at, indent, &self.tokens[at + 1..end]))
    }

    /// Whether a name occurs.
    pub(super) fn names(&self, name: &str) -> bool {
        self.tokens.iter().any(|token| token.is_name(name))
    }

    fn top_level(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        for (_, indent, line) in self.lines() {
            if let ([Token::Name(name), Token::Mark('='), value @ ..], 0) = (untyped(line).as_slice(), indent)
                && let Some(value) = literal(value, &found)
            {
                found.entry(name.clone()).or_insert(value);
            }
        }
        found
    }

    /// The value of an expression that is a literal or a constant.
    pub(super) fn literal(&self, tokens: &[Token]) -> Option<Value> {
        literal(tokens, &self.constants)
    }
}

/// A line without its type annotation: `lr: float = 0.1` is `lr = 0.1`.
fn untyped(line: &[Token]) -> Vec<Token> {
    match line {
        [name @ Token::Name(_), Token::Mark(':'), rest @ ..] => {
            let assigned = rest.iter().position(|token| token.is('='));
            let value = assigned.map_or(&[][..], |at| &rest[at..]);
            std::iter::once(name).chain(value).cloned().collect()
        }
        _ => line.to_vec(),
    }
}

impl<'s> Argument<'s> {
    /// Reads one of the parts between brackets.
    pub(super) fn of(part: &'s [Token]) -> Argument<'s> {
        match part {
            [Token::Name(name), Token::Mark('='), value @ ..] if !value.first().is_some_and(|token| token.is('=')) => {
                Argument { name: Some(name), value }
            }
            value => Argument { name: None, value },
        }
    }
}

/// The value of a literal or of an expression that stands for one: a constant, a concatenation, a path built from
/// strings.
fn literal(tokens: &[Token], constants: &BTreeMap<String, Value>) -> Option<Value> {
    match tokens {
        _ if tokens.len() > LONGEST_LITERAL => None,
        [] => None,
        [Token::Number(number)] => number_of(number),
        [Token::Mark('-'), rest @ ..] => {
            let number = literal(rest, constants)?;
            number.as_i64().map(|n| Value::from(-n)).or_else(|| Some(Value::from(-number.as_f64()?)))
        }
        [Token::Name(name)] => match name.as_str() {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            other => constants.get(other).cloned(),
        },
        [Token::Number(a), rest @ ..] if rest.len() >= 2 => computed(&number_of(a)?, rest),
        [Token::Name(name), Token::Mark('('), inner @ .., Token::Mark(')')]
            if ["Path", "str", "float", "int"].contains(&name.as_str()) =>
        {
            literal(inner, constants)
        }
        [Token::Name(_), Token::Mark('.'), rest @ ..] => called(rest, constants),
        all if all.iter().all(|token| matches!(token, Token::Text(_))) => {
            let texts: Option<Vec<&str>> = all.iter().map(Token::text).collect();
            texts.map(|texts| Value::from(texts.concat()))
        }
        _ => None,
    }
}

/// `path.join("a", "b")`, `environ.get("A", "b")`, `getenv("A", "b")`, `Path("a")` behind the name of a module.
fn called(tokens: &[Token], constants: &BTreeMap<String, Value>) -> Option<Value> {
    let open = tokens.iter().position(|token| token.is('('))?;
    let inner = tokens.strip_suffix(&[Token::Mark(')')])?.get(open + 1..)?;
    let name = tokens.get(open.checked_sub(1)?)?.name()?;
    let mut parts = inner.split(|token| token.is(','));
    match name {
        "join" => {
            let parts: Option<Vec<String>> =
                parts.map(|part| Some(literal(part, constants)?.as_str()?.to_owned())).collect();
            parts.map(|parts| Value::from(parts.join("/")))
        }
        "get" | "getenv" => literal(parts.nth(1)?, constants),
        "Path" => literal(inner, constants),
        _ => None,
    }
}

/// `64 * 1024`, `1 << 16`, `2 ** 10`, `1 / 3`: one operation.
fn computed(a: &Value, rest: &[Token]) -> Option<Value> {
    let (a, whole) = (a.as_f64()?, a.is_i64());
    let (operation, b) = match rest {
        [Token::Mark(mark), Token::Number(b)] => (mark.to_string(), number_of(b)?),
        [Token::Mark(first), Token::Mark(second), Token::Number(b)] => (format!("{first}{second}"), number_of(b)?),
        _ => return None,
    };
    let whole = whole && b.is_i64() && operation != "/";
    let b = b.as_f64()?;
    let value = match operation.as_str() {
        "*" => a * b,
        "/" => a / b,
        "+" => a + b,
        "-" => a - b,
        "**" => a.powf(b),
        "<<" => a * b.exp2(),
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    let integer = (whole && value.abs() < 9e15).then_some(value as i64);
    integer.map(Value::from).or_else(|| value.is_finite().then(|| Value::from(value)))
}

fn number_of(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    if let Some(hexadecimal) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return i64::from_str_radix(hexadecimal, 16).ok().map(Value::from);
    }
    plain
        .parse::<i64>()
        .map(Value::from)
        .ok()
        .or_else(|| plain.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from))
}

fn closing(tokens: &[Token]) -> BTreeMap<usize, usize> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut found = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark(mark @ ('(' | '[' | '{')) => open.push((at, *mark)),
            Token::Mark(mark @ (')' | ']' | '}')) => {
                let wanted = match mark {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.last().is_some_and(|(_, last)| *last == wanted)
                    && let Some((place, _)) = open.pop()
                {
                    found.insert(place, at);
                }
            }
            _ => {}
        }
    }
    found
}

/// Reads tokens. For any text, an unclosed bracket or quote affects at most the rest of its file.
fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text, tokens: Vec::new(), depth: 0, fresh: true };
    reader.read();
    reader.tokens
}

struct Reader<'t> {
    rest: &'t str,
    tokens: Vec<Token>,
    /// Open brackets: inside of them a line's end means nothing.
    depth: usize,
    /// A logical line begins with the next token.
    fresh: bool,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut indent = 0;
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\n' => {
                    self.skip(1);
                    (self.fresh, indent) = (self.fresh || self.depth == 0, 0);
                }
                ' ' | '\t' | '\r' | '\u{c}' => {
                    indent += if c == '\t' { 8 } else { 1 };
                    self.skip(1);
                }
                '#' => self.skip(self.rest.find('\n').unwrap_or(self.rest.len())),
                '\\' if self.rest[1..].starts_with('\n') || self.rest[1..].starts_with("\r\n") => {
                    self.skip(self.rest.find('\n').map_or(1, |at| at + 1));
                }
                _ => {
                    if std::mem::take(&mut self.fresh) {
                        self.tokens.push(Token::Line(indent));
                    }
                    self.token(c);
                }
            }
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes.min(self.rest.len())..];
    }

    fn token(&mut self, c: char) {
        if c == '"' || c == '\'' {
            self.quoted("");
        } else if c.is_ascii_digit() || (c == '.' && self.rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            self.number();
        } else if c.is_alphabetic() || c == '_' {
            let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
            let word = self.rest[..end].to_owned();
            self.skip(end);
            let prefix = word.len() <= 2 && word.chars().all(|c| "rRbBuUfFtT".contains(c));
            if prefix && self.rest.starts_with(['"', '\'']) {
                self.quoted(&word);
            } else {
                self.tokens.push(Token::Name(word));
            }
        } else {
            match c {
                '(' | '[' | '{' => self.depth += 1,
                ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.tokens.push(Token::Mark(c));
            self.skip(c.len_utf8());
        }
    }

    fn number(&mut self) {
        let mut end = 0;
        let mut before = ' ';
        for (at, c) in self.rest.char_indices() {
            let exponent = matches!(before, 'e' | 'E') && !self.rest.starts_with("0x");
            if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || (exponent && "+-".contains(c))) {
                break;
            }
            (end, before) = (at + c.len_utf8(), c);
        }
        self.tokens.push(Token::Number(self.rest[..end].to_owned()));
        self.skip(end);
    }

    fn quoted(&mut self, prefix: &str) {
        let quote = if self.rest.starts_with("\"\"\"") || self.rest.starts_with("'''") { 3 } else { 1 };
        let (mark, body) = self.rest.split_at(quote);
        let raw = prefix.contains(['r', 'R']);
        let mut text = String::new();
        let mut end = body.len();
        let mut escaped = false;
        for (at, c) in body.char_indices() {
            if escaped {
                escaped = false;
                match c {
                    _ if raw => text.extend(['\\', c]),
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    '\n' => {}
                    '\\' | '\'' | '"' => text.push(c),
                    other => text.extend(['\\', other]),
                }
            } else if c == '\\' {
                escaped = true;
            } else if body[at..].starts_with(mark) {
                end = at + quote;
                break;
            } else if quote == 1 && c == '\n' {
                // An unclosed quote ends with its line.
                end = at;
                break;
            } else {
                text.push(c);
            }
        }
        let filled = prefix.contains(['f', 'F', 't', 'T']) && text.contains('{');
        self.tokens.push(Token::Text((!filled).then_some(text)));
        self.skip(quote + end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value(text: &str) -> Option<Value> {
        let source = Source::read(&format!("LR = 0.1\nx = f({text})\n"));
        let (_, arguments) = source.calls(|name| name == "f").next()?;
        source.literal(arguments.first()?.value)
    }

    #[test]
    fn literals_are_read_and_nothing_else_is_guessed() {
        for (text, expected) in [
            ("1e-3", Some(json!(1e-3))),
            ("-1", Some(json!(-1))),
            ("10_000", Some(json!(10_000))),
            ("64 * 1024", Some(json!(65_536))),
            ("1 << 4", Some(json!(16))),
            ("1/2", Some(json!(0.5))),
            (".5", Some(json!(0.5))),
            ("'a' \"b\"", Some(json!("ab"))),
            ("r'a\\b'", Some(json!("a\\b"))),
            ("f'{x}'", None),
            ("f'x'", Some(json!("x"))),
            ("LR", Some(json!(0.1))),
            ("None", Some(json!(null))),
            ("True", Some(json!(true))),
            ("os.path.join('runs', 'a')", Some(json!("runs/a"))),
            ("pathlib.Path('runs')", Some(json!("runs"))),
            ("os.environ.get('X', 'runs')", Some(json!("runs"))),
            ("unknown", None),
            ("g(1)", None),
            ("[1, 2]", None),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_texts_and_lines_are_told_apart() {
        let source = Source::read(
            "x = 1  # f(2)\ny = \"\"\"\nf(3)\n\"\"\"\nz = (1,\n     2)\nclass A:\n    b: int = 4\n    c = 5\nd = 6\n",
        );
        assert_eq!(source.calls(|name| name == "f").count(), 0);
        assert_eq!(source.lines().count(), 7);
        let class = source.lines().find(|(.., line)| line[0].is_name("class")).unwrap().0;
        assert_eq!(source.block(class).len(), 2);
        assert_eq!(
            source.constants,
            BTreeMap::from([("x".into(), json!(1)), ("y".into(), json!("\nf(3)\n")), ("d".into(), json!(6))])
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z0-9_ =.,:()\\[\\]{}'\"\\\\#\n\t\u{e9}-]{0,200}|\\PC{0,60}") {
            let source = Source::read(&text);
            for at in 0..source.tokens.len() {
                source.parts(at);
                source.block(at);
                source.literal(&source.tokens[at..]);
            }
        }
    }
}
