//! Recognises names of secrets, and masks secrets in commands.
//!
//! Owns: the words that mark a secret. Must not know: where commands are shown.

/// Parts of names that mark a secret, in capitals.
const WORDS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "APIKEY",
    "PRIVATE",
    "AUTH",
    "COOKIE",
    "SESSION",
    "SIGNATURE",
    "WEBHOOK",
    "DSN",
];

/// Prefixes of values that are secrets regardless of their names.
const VALUES: &[&str] = &[
    "sk-",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "hf_",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "ASIA",
    "eyJhbGci",
    "-----BEGIN",
];

/// The replacement for a secret.
pub const MASK: &str = "***";

/// Whether a name suggests that its value is a secret. Words count as wholes or as parts (`HF_TOKEN`, `wandb-api-key`),
/// but `tokenizer`, `max_tokens` and `keypoints` do not.
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace(['-', '.'], "_");
    upper.split('_').any(|part| {
        let single = part.strip_suffix('S').unwrap_or(part);
        // Token counts are common settings of language models.
        let counted = part == "TOKENS" && upper != "TOKENS";
        (WORDS.contains(&part)
            || WORDS.contains(&single)
            || part == "KEY"
            || part == "KEYS"
            || part == "PW"
            || part == "PWD")
            && !counted
    }) && upper != "PWD"
        && upper != "OLDPWD"
        || ["APIKEY", "ACCESSKEY", "SECRETKEY", "PASSWORD", "AUTHTOKEN", "ACCESSTOKEN"]
            .iter()
            .any(|word| upper.replace('_', "").contains(word))
}

fn is_secret_value(value: &str) -> bool {
    let in_address = value.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?'])
            .next()
            .is_some_and(|host| host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')))
    });
    in_address || VALUES.iter().any(|start| value.starts_with(start) && value.len() >= start.len() + 8)
}

/// The arguments of a command with secrets masked, for people.
pub fn masked(argv: &[String]) -> Vec<String> {
    let mut shown = Vec::with_capacity(argv.len());
    let mut secret_follows = false;
    for word in argv {
        if std::mem::take(&mut secret_follows) && !word.starts_with("--") {
            shown.push(MASK.to_owned());
            continue;
        }
        match word.split_once('=') {
            Some((name, value))
                if !value.is_empty() && (is_secret_name(name.trim_start_matches('-')) || is_secret_value(value)) =>
            {
                shown.push(format!("{name}={MASK}"));
            }
            None if word.starts_with('-') && is_secret_name(word.trim_start_matches('-')) => {
                secret_follows = true;
                shown.push(word.clone());
            }
            _ if is_secret_value(word) => shown.push(MASK.to_owned()),
            _ => shown.push(word.clone()),
        }
    }
    shown
}

/// A command line with secrets masked, for people; the rest is unchanged.
pub fn masked_line(line: &str) -> String {
    let spans = spans(line);
    let words: Vec<String> = spans.iter().map(|span| unquoted(&line[span.clone()])).collect();
    let mut shown = String::with_capacity(line.len());
    let mut end = 0;
    for ((span, word), masked) in spans.into_iter().zip(&words).zip(masked(&words)) {
        shown.push_str(&line[end..span.start]);
        shown.push_str(if masked == *word { &line[span.clone()] } else { &masked });
        end = span.end;
    }
    shown + &line[end..]
}

/// The words of a line: stretches without white space outside of quotes.
fn spans(line: &str) -> Vec<std::ops::Range<usize>> {
    let (mut spans, mut start, mut quote) = (Vec::new(), None, None);
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c.is_whitespace() => {
                spans.extend(start.take().map(|start| start..at));
                continue;
            }
            None => {}
        }
        start.get_or_insert(at);
    }
    spans.extend(start.map(|start| start..line.len()));
    spans
}

fn unquoted(word: &str) -> String {
    word.replace("'\\''", "'").replace(['\'', '"'], "")
}

/// Whether a configuration file contains an entry that looks like a secret.
pub(super) fn holds_secret(entries: &std::collections::BTreeMap<String, serde_json::Value>) -> bool {
    entries.iter().any(|(name, value)| {
        let Some(text) = value.as_str().filter(|text| !text.is_empty()) else { return false };
        name.split('.').next_back().is_some_and(is_secret_name) || is_secret_value(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_names_that_resemble_them() {
        for secret in [
            "HF_TOKEN",
            "WANDB_API_KEY",
            "api-key",
            "AWS_SECRET_ACCESS_KEY",
            "password",
            "DB_PASSWORD",
            "apikey",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "auth.token",
            "tokens",
        ] {
            assert!(is_secret_name(secret), "{secret}");
        }
        for plain in [
            "tokenizer",
            "max_tokens",
            "num_tokens",
            "keypoints",
            "PWD",
            "learning_rate",
            "keyboard",
            "monkey",
            "author",
        ] {
            assert!(!is_secret_name(plain), "{plain}");
        }
    }

    #[test]
    fn a_line_keeps_everything_but_its_secrets() {
        let line = "cd '/a b'  && env HF_TOKEN='x y' python t.py --lr 0.1 --password 'a b' --name \"c d\"\n";
        assert_eq!(
            masked_line(line),
            "cd '/a b'  && env HF_TOKEN=*** python t.py --lr 0.1 --password *** --name \"c d\"\n"
        );
        for line in ["", " ", "'", "a '", "é 'ü"] {
            assert_eq!(masked_line(line), line);
        }
    }

    #[test]
    fn commands_are_shown_without_their_secrets() {
        let argv: Vec<String> = [
            "env",
            "HF_TOKEN=abc",
            "python",
            "t.py",
            "--api-key",
            "abc",
            "--password=x",
            "--lr=0.1",
            "--key",
            "--b",
            "url=https://u:p@h/x",
            "hf_abcdefghij",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            masked(&argv).join(" "),
            "env HF_TOKEN=*** python t.py --api-key *** --password=*** --lr=0.1 --key --b url=*** ***"
        );
    }
}
