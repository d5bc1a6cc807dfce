//! What an error of the server or of its connection means, and what to do about it.
//!
//! Owns: the classes of errors. Must not know: statements, when to retry.
//!
//! Source of the codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>. pgbouncer reports its own errors
//! with codes of class 08.

use tokio_postgres::error::Severity;

use crate::store::StoreError;

/// An error, and what it leaves behind.
#[derive(Debug)]
pub(super) struct Trouble {
    /// For the caller.
    pub(super) error: StoreError,
    pub(super) leaves: Leaves,
}

/// What an error leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    /// The connection works, and the transaction has failed.
    Nothing,
    /// The same, and the same transaction may succeed if it is repeated at once: it met another one.
    Conflict,
    /// The connection is lost; whether its last statement was carried out is unknown.
    Doubt,
}

/// How an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// By itself, or when someone starts something.
    Passes,
    /// When space is freed.
    Full,
    /// When a person changes something.
    Refused,
}

/// Codes, or the beginnings of codes, in the order in which they are compared.
const CODES: &[(&str, Class, &str)] = &[
    ("08P01", Class::Passes, "look at the log of the server, or of pgbouncer if one is in between"),
    ("08", Class::Passes, "check that the server runs and can be reached; nextrun tries again"),
    (
        "25006",
        Class::Passes,
        "this server is read-only, probably a replica: name the primary, or add target_session_attrs=read-write",
    ),
    ("25P03", Class::Passes, "this process was stopped for too long within a transaction; nextrun tries again"),
    ("28P01", Class::Refused, "check the user and the password (`store.password`, or PGPASSWORD)"),
    ("28", Class::Refused, "correct the user, or allow it in pg_hba.conf from this host with this kind of connection"),
    ("3D000", Class::Refused, "create the database, or correct its name"),
    ("40", Class::Passes, "it met other transactions; nextrun tries again"),
    (
        "42501",
        Class::Refused,
        "grant the user CREATE on the database, or ownership of the schemas whose names begin with `nextrun`",
    ),
    ("42P01", Class::Refused, "a table is missing: start `nextrun watch` on this database once, or restore a backup"),
    ("3F000", Class::Refused, "a schema is missing: start `nextrun watch` on this database once, or restore a backup"),
    ("53100", Class::Full, ""),
    (
        "53300",
        Class::Passes,
        "raise `max_connections` of the server, or put pgbouncer in front of it; nextrun tries again",
    ),
    ("53", Class::Passes, "give the server more memory or disk space; nextrun tries again"),
    ("55P03", Class::Passes, "another session holds a lock: look for it in pg_stat_activity; nextrun tries again"),
    (
        "57014",
        Class::Passes,
        "a statement took too long: look for what occupies the server in pg_stat_activity; nextrun tries again",
    ),
    ("57P03", Class::Passes, "the server is starting or recovering; nextrun tries again"),
    ("57", Class::Passes, "the server was stopped, or someone ended the connection; nextrun tries again"),
    ("58", Class::Passes, "the server cannot access its files: look at its log; nextrun tries again"),
    ("XX001", Class::Refused, "the server's files are damaged: keep them, and restore a backup"),
    ("XX002", Class::Refused, "an index of the server is damaged: run `REINDEX DATABASE`"),
    ("0A", Class::Refused, "use PostgreSQL 12 or newer"),
];

/// The meaning of an error.
pub(super) fn trouble(place: &str, error: &tokio_postgres::Error) -> Trouble {
    let place = place.to_owned();
    if let Some(said) = error.as_db_error() {
        let code = said.code().code();
        let reason = format!("{}, code {code}", said.message());
        let fatal = matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
        let leaves = match code {
            _ if fatal || code.starts_with("08") || code.starts_with("57P") => Leaves::Doubt,
            "40001" | "40P01" => Leaves::Conflict,
            _ => Leaves::Nothing,
        };
        return Trouble { error: of_code(place, code, reason), leaves };
    }
    let reason = with_causes(error);
    let error = if reason.contains("TLS") || reason.contains("certificate") {
        let advice = "name the server's authority in `sslrootcert`, enable TLS at the server, or add `sslmode=disable` \
                      on a network that you trust";
        StoreError::Refused { place, reason, advice }
    } else if reason.contains("authentication") || reason.contains("configuration") {
        let advice = "give a user and a password that the server accepts (`store.password`, or PGPASSWORD)";
        StoreError::Refused { place, reason, advice }
    } else if ["closed", "communicating", "connecting", "timeout"].iter().any(|word| reason.contains(word)) {
        let advice = "check that the server runs and can be reached; nextrun tries again";
        StoreError::Unavailable { place, reason, advice }
    } else {
        StoreError::Unexpected { place, reason }
    };
    Trouble { error, leaves: Leaves::Doubt }
}

fn of_code(place: String, code: &str, reason: String) -> StoreError {
    let known = CODES.iter().find(|(beginning, ..)| code.starts_with(beginning));
    match known.map(|(_, class, advice)| (*class, *advice)) {
        Some((Class::Passes, advice)) => StoreError::Unavailable { place, reason, advice },
        Some((Class::Full, _)) => StoreError::Full { path: place },
        Some((Class::Refused, advice)) => StoreError::Refused { place, reason, advice },
        None => StoreError::Unexpected { place, reason },
    }
}

/// No answer came in time.
pub(super) fn silence(place: &str, seconds: u64) -> Trouble {
    let error = StoreError::Unavailable {
        place: place.to_owned(),
        reason: format!("no answer within {seconds} s"),
        advice: "check the network between this machine and the server; nextrun tries again",
    };
    Trouble { error, leaves: Leaves::Doubt }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told = format!("{told}: {cause}");
        next = cause.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_errors_says_what_to_do_and_whether_it_may_pass() {
        for (code, may_pass, words) in [
            ("08006", true, "can be reached"),
            ("08P01", true, "pgbouncer"),
            ("25006", true, "replica"),
            ("25P03", true, "stopped for too long"),
            ("28P01", true, "password"),
            ("28000", true, "pg_hba.conf"),
            ("3D000", true, "create the database"),
            ("40001", true, "tries again"),
            ("40P01", true, "tries again"),
            ("42501", true, "grant"),
            ("42P01", true, "nextrun watch"),
            ("53100", true, "free space"),
            ("53200", true, "memory"),
            ("53300", true, "max_connections"),
            ("55P03", true, "pg_stat_activity"),
            ("57014", true, "took too long"),
            ("57P01", true, "was stopped"),
            ("57P03", true, "starting"),
            ("58030", true, "its log"),
            ("XX001", true, "backup"),
            ("0A000", true, "PostgreSQL 12"),
            ("23505", false, "bug"),
            ("42601", false, "bug"),
        ] {
            let error = of_code("postgres://db/x".to_owned(), code, format!("why, code {code}"));
            let told = error.to_string();
            assert!(told.contains(words) && told.contains("postgres://db/x"), "{code}: {told}");
            assert_eq!(error.may_pass(), may_pass, "{code}: {told}");
        }
    }
}
