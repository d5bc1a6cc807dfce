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

/// Whether a command line is one program with its words: no list of commands, and no word that only a shell knows. A
/// variable in front of it is set for all of it.
pub fn is_one_program(command: &str) -> bool {
    const BUILT_IN: [&str; 15] = [
        "cd", "export", "exec", "source", ".", "set", "ulimit", "umask", "module", "if", "for", "while", "eval",
        "trap", "!",
    ];
    let first = command.split_whitespace().next().unwrap_or_default();
    let assigns = first.contains('=');
    !BUILT_IN.contains(&first) && !assigns && !command.contains(['&', ';', '|', '<', '>', '(', ')', '{', '\n', '`'])
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
