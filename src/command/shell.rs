//! Words as a shell, and values as Hydra, read them: as data, whatever is in them.
//!
//! Owns: quoting. Must not know: what the words mean.

/// Quotes a word for a POSIX shell where it needs it.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Quotes a text as a value of a Hydra override where it needs it.
pub fn hydra(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.+-/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
    }
}
