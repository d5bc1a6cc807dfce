//! The location of a log directory as written by people.
//!
//! Owns: paths and addresses of object stores, and their validation. Must not know: how either is read.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a log directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory on a local or mounted disk.
    Disk(PathBuf),
    /// A prefix in an object store.
    Objects(Bucket),
    /// A directory on this machine that `nextrun forward` fills from other machines.
    Forwarded(PathBuf),
}

/// A bucket (or container), and a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub(super) kind: StoreKind,
    pub(super) name: String,
    /// Without slashes at its ends; empty for the whole bucket.
    pub(super) prefix: String,
}

/// The object stores that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreKind {
    /// Amazon S3, and whatever speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl StoreKind {
    const ALL: [StoreKind; 3] = [StoreKind::S3, StoreKind::Google, StoreKind::Azure];

    fn scheme(self) -> &'static str {
        match self {
            StoreKind::S3 => "s3",
            StoreKind::Google => "gs",
            StoreKind::Azure => "az",
        }
    }
}

/// Why a text is no place of a log directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Its scheme is not supported.
    #[error(
        "`{0}` is not a valid log directory: write a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, \
         az://CONTAINER/PREFIX, or forwarded:///PATH for what `nextrun forward` sends"
    )]
    Scheme(String),
    /// There is no bucket in it, or none that could exist.
    #[error("`{0}` contains no valid bucket: write s3://BUCKET/PREFIX, without user, port or options")]
    Bucket(String),
    /// Its prefix contains a part that only object stores take literally.
    #[error(
        "the prefix of `{0}` contains an empty part, `.`, `..` or a control character: write the exact key, with \
         single slashes"
    )]
    Prefix(String),
}

impl Place {
    /// Its directory on this machine, if it has one. Processes that train do not write to a forwarded one.
    pub fn local(&self) -> Option<&Path> {
        match self {
            Place::Disk(path) | Place::Forwarded(path) => Some(path),
            Place::Objects(_) => None,
        }
    }

    /// Reads a location: an address if it has a scheme, otherwise a path. A prefix is used literally, without decoding;
    /// trailing slashes are removed.
    ///
    /// # Errors
    ///
    /// It looks like an address but is not supported.
    pub fn parse(text: impl Into<OsString>) -> Result<Place, PlaceError> {
        let text = text.into();
        let Some((scheme, rest)) = text.to_str().and_then(|text| text.split_once("://")) else {
            return Ok(Place::Disk(PathBuf::from(text)));
        };
        let shown = || text.to_string_lossy().into_owned();
        if scheme == "forwarded" && rest.starts_with('/') {
            return Ok(Place::Forwarded(PathBuf::from(rest)));
        }
        let kind = StoreKind::ALL.into_iter().find(|kind| kind.scheme() == scheme);
        let kind = kind.ok_or_else(|| PlaceError::Scheme(shown()))?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-._$".contains(c)) {
            return Err(PlaceError::Bucket(shown()));
        }
        let prefix = prefix.trim_end_matches('/');
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(char::is_control);
        if !prefix.is_empty() && prefix.split('/').any(odd) {
            return Err(PlaceError::Prefix(shown()));
        }
        Ok(Place::Objects(Bucket { kind, name: name.to_owned(), prefix: prefix.to_owned() }))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Disk(path) => path.display().fmt(f),
            Place::Objects(bucket) => bucket.fmt(f),
            Place::Forwarded(path) => write!(f, "forwarded://{}", path.display()),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.scheme(), self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths_and_read_literally() {
        for (text, kind, name, prefix) in [
            ("s3://runs", StoreKind::S3, "runs", ""),
            ("s3://runs/", StoreKind::S3, "runs", ""),
            ("gs://my.runs/team a/b%20c//", StoreKind::Google, "my.runs", "team a/b%20c"),
            ("az://$logs/x?y#z", StoreKind::Azure, "$logs", "x?y#z"),
        ] {
            let expected = Bucket { kind, name: name.to_owned(), prefix: prefix.to_owned() };
            assert_eq!(Place::parse(text), Ok(Place::Objects(expected)), "{text}");
        }
        for path in ["runs", "/data/runs", "s3:/runs", "../s3"] {
            assert_eq!(Place::parse(path), Ok(Place::Disk(path.into())), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_right_form() {
        for text in ["http://host/runs", "hdfs://runs", "S3://runs", "forwarded://relative"] {
            assert_eq!(Place::parse(text), Err(PlaceError::Scheme(text.to_owned())));
        }
        for text in ["s3://", "s3:///runs", "s3://key:secret@runs", "s3://host:9000/runs"] {
            assert_eq!(Place::parse(text), Err(PlaceError::Bucket(text.to_owned())));
        }
        for text in ["s3://b/a//b", "s3://b/../a", "s3://b/./a", "s3://b//a", "s3://b/a\nb"] {
            assert_eq!(Place::parse(text), Err(PlaceError::Prefix(text.to_owned())));
        }
    }

    #[test]
    fn a_place_is_shown_as_it_is_written() {
        for text in ["s3://runs", "gs://runs/team a/b", "/data/runs", "forwarded:///var/lib/nextrun/nodes"] {
            assert_eq!(Place::parse(text).map(|place| place.to_string()), Ok(text.to_owned()));
        }
    }
}
