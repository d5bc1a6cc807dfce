//! Ids, numbers and settings as text for people.
//!
//! Owns: spelling. Must not know: messages, markup.

use serde_json::Value;

use crate::facts::Knobs;

/// Ids whose text differs from the id with spaces.
const PHRASES: &[(&str, &str)] = &[
    ("non_finite", "NaN or infinity"),
    ("stalled_after_lr_drop", "stalled after the learning rate dropped"),
    ("healthy", "healthy after all"),
    ("recovered", "recovered by itself"),
    ("learning_rate_too_high", "the learning rate is too high"),
    ("learning_rate_too_low", "the learning rate is too low"),
    ("learning_rate_decays_too_fast", "the learning rate decays too fast"),
    ("batch_norm_hides_exploding_gradients", "batch norm hides exploding gradients"),
    ("batch_too_small", "the batch is too small"),
    ("batch_too_large", "the batch is too large"),
    ("cannot_fit_one_point", "it cannot fit one point: the architecture"),
    ("weights_do_not_change", "the weights do not change"),
    ("loss_function", "the loss function"),
    ("input_scaling", "the scaling of the inputs"),
    ("data_pipeline", "the data pipeline (reshape, labels)"),
    ("too_few_steps", "it has had too few steps"),
    ("infrastructure", "infrastructure (crash, hang or disk)"),
    ("inconclusive", "no cause could be proven"),
];

/// An id of a symptom, state, outcome or verdict in words.
pub(super) fn words(id: &str) -> String {
    match PHRASES.iter().find(|(known, _)| *known == id) {
        Some((_, phrase)) => (*phrase).to_owned(),
        None => id.replace('_', " "),
    }
}

/// A text with an initial capital; the rest is unchanged, as required for `NaN`.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A text without line breaks and control characters, so that a name cannot look like other content.
pub(super) fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A measured number: integers with separators, others with four significant digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return if value.is_nan() { "NaN".to_owned() } else { format!("{value}") };
    }
    if value.fract() == 0.0 && size < 1e15 {
        return grouped(value);
    }
    if !(1e-4..1e6).contains(&size) {
        return trim_exponent(&format!("{value:.3e}"));
    }
    // 1e-4 <= size < 1e6, so the exponent lies between -4 and 5.
    let decimals = (3 - size.log10().floor() as i64).clamp(0, 7) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

fn trim_exponent(text: &str) -> String {
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => {
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.to_owned(),
    }
}

/// The changes of a suggestion: `train_examples = 1, batch_norm = false`, with values as they are.
pub(super) fn settings(overrides: &Knobs) -> String {
    let setting = |(knob, value): (&String, &Value)| {
        let value = match value {
            Value::Null if knob == "train_examples" => "all".to_owned(),
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        one_line(&format!("{knob} = {value}"))
    };
    overrides.iter().map(setting).collect::<Vec<_>>().join(", ")
}

/// Takes out of every text in a payload what is not seen and changes how the rest is: control characters but line ends and
/// tabs, and marks of direction, which show a name or a command backwards.
pub(super) fn upright(payload: &mut Value) {
    let harmless = |c: &char| match c {
        '\n' | '\t' => true,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    };
    match payload {
        Value::String(text) if !text.chars().all(|c| harmless(&c)) => *text = text.chars().filter(harmless).collect(),
        Value::Array(values) => values.iter_mut().for_each(upright),
        Value::Object(map) => map.values_mut().for_each(upright),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A word quoted for a POSIX shell if necessary.
pub(super) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        for (value, text) in [
            (4000.0, "4,000"),
            (1_234_567.0, "1,234,567"),
            (-12.0, "-12"),
            (999.0, "999"),
            (0.0, "0"),
            (2.304_585, "2.305"),
            (0.001, "0.001"),
            (0.000_123_4, "0.0001234"),
            (3e-5, "3e-5"),
            (1.5e7, "15,000,000"),
            (1.234_567e8 + 0.5, "1.235e8"),
            (12345.678, "12346"),
            (1e300, "1e300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn settings_keep_their_values_exactly() {
        let overrides = json!({"learning_rate": 0.00015, "train_examples": null, "gradient_clip": null,
            "loss": "l1", "batch_norm": false, "max_steps": 20000});
        let want = "batch_norm = false, gradient_clip = none, learning_rate = 0.00015, loss = l1, max_steps = 20000, \
                    train_examples = all";
        assert_eq!(settings(&serde_json::from_value(overrides).unwrap()), want);
    }

    #[test]
    fn shell_words_are_quoted_where_they_must_be() {
        assert_eq!(shell_word("--lr=1e-3"), "--lr=1e-3");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn ids_become_words() {
        assert_eq!(words("drop_batch_norm"), "drop batch norm");
        assert_eq!(sentence(&words("non_finite")), "NaN or infinity");
        assert_eq!(sentence(&words("bad_initialization")), "Bad initialization");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn a_name_stays_one_line() {
        assert_eq!(one_line("run\n\u{1b}[31m x"), "run [31m x");
    }
}
