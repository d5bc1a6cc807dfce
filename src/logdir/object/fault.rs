//! Refusals and failures of an object store, for people.
//!
//! Owns: distinguishing the causes, and a fix for each. Must not know: how they are handled.
//!
//! Error messages omit request addresses, which can contain a signature (Azure).

use std::error::Error as StdError;
use std::io;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use super::super::place::{Bucket, StoreKind};

/// Why an object store did not fulfil a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no such object.
    NoObject,
    /// There is no such bucket.
    NoBucket,
    /// The object is another version than the one that was asked for.
    Changed,
    /// Who asks is not known, or may not. With the store's own word for it.
    Refused(String),
    /// Nothing says who asks.
    NoCredentials,
    /// The bucket is elsewhere.
    OtherRegion,
    /// A key that no path can be made of.
    OddKey(String),
    /// No connection. With the reason.
    Unreachable(String),
    /// No answer in time.
    Silent,
    /// The client cannot be set up. With the reason.
    Setup(String),
    /// Anything else.
    Other(String),
}

/// The prefix of the library's error for an HTTP status; its type is private to the library.
const STATUS: &str = "Server returned non-2xx status code: ";

/// Where machines of a cloud ask for the credentials of their role.
const METADATA: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];

impl Fault {
    pub(super) fn of(error: &Error) -> Fault {
        let (status, code) = answer(error).unwrap_or_default();
        let asked_for_role = chain(error).any(|cause| METADATA.iter().any(|host| cause.to_string().contains(host)));
        match error {
            _ if asked_for_role => Fault::NoCredentials,
            _ if is_bucket(&code) => Fault::NoBucket,
            Error::NotFound { .. } => Fault::NoObject,
            Error::Precondition { .. } => Fault::Changed,
            // The requested range existed when the object was listed: it has become shorter.
            _ if status == 416 => Fault::Changed,
            _ if [401, 403].contains(&status) => Fault::Refused(named(status, &code)),
            Error::InvalidPath { source } => Fault::OddKey(source.to_string()),
            _ if status == 301 || chain(error).any(|cause| cause.to_string().contains("configured region")) => {
                Fault::OtherRegion
            }
            _ if status != 0 => Fault::Other(format!("it returned {}", named(status, &code))),
            _ => Fault::of_transport(error),
        }
    }

    fn of_transport(error: &Error) -> Fault {
        let http = chain(error).find_map(|cause| cause.downcast_ref::<HttpError>());
        let last = chain(error).last().map(ToString::to_string).unwrap_or_default();
        match http.map(HttpError::kind) {
            Some(HttpErrorKind::Timeout) => Fault::Silent,
            Some(HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted) => {
                Fault::Unreachable(last)
            }
            _ => Fault::Other(last),
        }
    }

    /// Whether further requests would also fail.
    pub(super) fn is_of_the_way(&self) -> bool {
        matches!(self, Fault::Unreachable(_) | Fault::Silent | Fault::NoCredentials)
    }

    /// The error for a reader of files; `what` is the operation, as in `list s3://runs`.
    pub(super) fn told(&self, what: &str, bucket: &Bucket) -> io::Error {
        let (id, secret, region) = match bucket.kind {
            StoreKind::S3 => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION, AWS_ENDPOINT"),
            StoreKind::Google => ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_BASE_URL"),
            StoreKind::Azure => ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_ENDPOINT"),
        };
        let why = match self {
            Fault::NoObject => "there is no such object".to_owned(),
            Fault::NoBucket => {
                format!("there is no bucket {}; check its name and location ({region})", bucket.name)
            }
            Fault::Changed => "it changed while it was being read; it will be reread at the next scan".to_owned(),
            Fault::Refused(code) => format!(
                "access denied ({code}); check {id} and {secret}: the account needs permission to list the bucket and \
                 to read its objects"
            ),
            Fault::NoCredentials => format!(
                "no credentials: the environment does not contain {id} and {secret}, and this machine has no role; \
                 set them, or run on a machine with a role"
            ),
            Fault::OtherRegion => format!("the bucket is in another region; set it ({region})"),
            Fault::OddKey(why) => {
                format!(
                    "a key under the prefix is not a valid path ({why}); rename that object, or choose a prefix without it"
                )
            }
            Fault::Unreachable(why) => {
                format!("the object store is unreachable ({why}); check the network, and the address ({region})")
            }
            Fault::Silent => {
                format!("the object store did not respond in time; check the network, and the address ({region})")
            }
            Fault::Setup(why) => format!("{why}; check the environment ({id}, {secret}, {region})"),
            Fault::Other(why) => why.clone(),
        };
        io::Error::new(self.kind(), format!("cannot {what}: {why}"))
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Fault::NoObject | Fault::NoBucket => io::ErrorKind::NotFound,
            Fault::Refused(_) | Fault::NoCredentials => io::ErrorKind::PermissionDenied,
            Fault::Unreachable(_) => io::ErrorKind::NotConnected,
            Fault::Silent => io::ErrorKind::TimedOut,
            Fault::OddKey(_) => io::ErrorKind::InvalidData,
            Fault::Changed | Fault::OtherRegion | Fault::Setup(_) | Fault::Other(_) => io::ErrorKind::Other,
        }
    }
}

fn chain<'e>(error: &'e Error) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source())
}

/// HTTP status and the store's own code of an answer that says no.
fn answer(error: &Error) -> Option<(u16, String)> {
    let text = chain(error).map(ToString::to_string).find(|text| text.starts_with(STATUS))?;
    let rest = &text[STATUS.len()..];
    let status = rest.get(..3)?.parse().ok()?;
    let code = rest.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    // An error code is a single word; anything else is not shown.
    let code = code.map(|(code, _)| code).filter(|code| code.chars().all(char::is_alphanumeric)).unwrap_or_default();
    Some((status, code.to_owned()))
}

fn is_bucket(code: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound"].contains(&code)
}

fn named(status: u16, code: &str) -> String {
    if code.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}, {code}") }
}
