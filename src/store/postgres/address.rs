//! The address of a PostgreSQL database, as people write it.
//!
//! Owns: its options, TLS, what of it may be shown. Must not know: where passwords are kept, what is stored.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::StoreError;

/// How long a lease lasts without renewal. Three renewals fit into it, and another daemon takes over within 20 s.
const LEASE: Duration = Duration::from_secs(15);

/// How long connecting may take, for each host.
const CONNECT: Duration = Duration::from_secs(5);

/// Reads the password; an error is a text for people.
pub type Password = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// A PostgreSQL database: `postgres://USER@HOST[:PORT]/DATABASE[?OPTIONS]`.
///
/// Besides the options of libpq that `tokio-postgres` knows, these are understood: `name` (whose cases these are; by
/// default the log directory), `lease` (seconds without renewal after which another daemon takes over), `sslmode`
/// (`disable`, `require` or `verify-full`; the last two both verify the certificate and the host) and `sslrootcert`.
#[derive(Clone)]
pub struct Server {
    pub(super) config: tokio_postgres::Config,
    /// Certificates to trust instead of the system's.
    authorities: Option<PathBuf>,
    password: Option<Password>,
    /// Whose cases these are.
    pub(super) name: Option<String>,
    pub(super) lease: Duration,
    text: String,
}

/// Why a text is no address of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A password in it would be read by everyone who may read the configuration or the list of processes.
    #[error("the address of the database contains a password: keep it elsewhere, in {{file: PATH}} or PGPASSWORD")]
    Password,
    /// An option has a value that is not understood.
    #[error("the option `{name}` of the database's address cannot be `{value}`: write {wanted}")]
    Option {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The permitted values.
        wanted: &'static str,
    },
    /// It is malformed.
    #[error("this is not the address of a database ({0}): write postgres://USER@HOST/DATABASE")]
    Malformed(String),
}

impl Server {
    /// Whether a text is meant to be such an address.
    pub fn is_address(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads an address.
    ///
    /// # Errors
    /// It is malformed, has an option that is not understood, or contains a password.
    pub fn parse(text: &str) -> Result<Server, AddressError> {
        let malformed = |error: &dyn fmt::Display| AddressError::Malformed(error.to_string());
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut name, mut lease, mut authorities, mut tls, mut rest) = (None, LEASE, None, None, Vec::new());
        let pairs = reqwest::Url::parse(&format!("options:?{query}")).map_err(|error| malformed(&error))?;
        for (key, value) in pairs.query_pairs() {
            match key.as_ref() {
                "name" => name = Some(value.into_owned()),
                "lease" => lease = seconds(&value)?,
                "sslrootcert" => authorities = Some(PathBuf::from(value.into_owned())),
                "sslmode" => tls = Some(mode(&value)?),
                "password" => return Err(AddressError::Password),
                _ => rest.push(format!("{key}={}", encoded(&value))),
            }
        }
        let mut config: tokio_postgres::Config =
            format!("{base}?{}", rest.join("&")).parse().map_err(|error| malformed(&error))?;
        if config.get_password().is_some() {
            return Err(AddressError::Password);
        }
        let here = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(host) => ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()),
            Host::Unix(_) => true,
        });
        config.ssl_mode(tls.unwrap_or(if here { SslMode::Disable } else { SslMode::Require }));
        config.connect_timeout(CONNECT).tcp_user_timeout(CONNECT.saturating_mul(2));
        config.keepalives_idle(CONNECT).keepalives_interval(CONNECT).keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("nextrun");
        }
        Ok(Server { config, authorities, password: None, name, lease, text: text.to_owned() })
    }

    /// The same database with the source of its password.
    #[must_use]
    pub fn with_password(mut self, password: Password) -> Server {
        self.password = Some(password);
        self
    }

    /// The same database with the name under which its cases are kept, unless the address has one.
    #[must_use]
    pub fn for_name(mut self, name: &str) -> Server {
        self.name.get_or_insert_with(|| name.to_owned());
        self
    }

    /// Whether the source of a password is known.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Whether it is known whose cases are meant.
    pub fn has_name(&self) -> bool {
        self.name.is_some()
    }

    /// How long a lease lasts without renewal.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The settings of a new connection. The password is read anew, because it may have been changed.
    pub(super) fn login(&self) -> Result<tokio_postgres::Config, StoreError> {
        let mut config = self.config.clone();
        if let Some(password) = &self.password {
            let refused = |reason| StoreError::Refused {
                place: self.to_string(),
                reason,
                advice: "give the password in the way that `store.password` names",
            };
            config.password(password().map_err(refused)?);
        }
        Ok(config)
    }

    /// TLS with the system's certificates, or those that the address names.
    pub(super) fn tls(&self) -> Result<MakeRustlsConnect, StoreError> {
        let mut roots = rustls::RootCertStore::empty();
        if self.config.get_ssl_mode() != SslMode::Disable {
            match &self.authorities {
                None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
                Some(path) => {
                    let refused = |reason: String| StoreError::Refused {
                        place: self.to_string(),
                        reason: format!("{}: {reason}", path.display()),
                        advice: "name a PEM file with the server's authority in `sslrootcert`",
                    };
                    let read = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?;
                    for certificate in read {
                        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
                        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
                    }
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::Refused {
                place: self.to_string(),
                reason: error.to_string(),
                advice: "report this as a bug",
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

fn mode(value: &str) -> Result<SslMode, AddressError> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "require" | "verify-full" => Ok(SslMode::Require),
        _ => Err(AddressError::Option {
            name: "sslmode",
            value: value.to_owned(),
            wanted: "verify-full, or disable on a network that you trust",
        }),
    }
}

fn seconds(value: &str) -> Result<Duration, AddressError> {
    let read = value.parse().ok().filter(|seconds| (1.0..=3600.0).contains(seconds)).map(Duration::from_secs_f64);
    read.ok_or_else(|| AddressError::Option {
        name: "lease",
        value: value.to_owned(),
        wanted: "a number of seconds from 1 to 3600",
    })
}

/// A value of an address, encoded so that it is read as it is.
fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    value.bytes().map(byte).collect()
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.text).field(&self.name).finish()
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Server) -> bool {
        (&self.text, &self.name) == (&other.text, &other.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ours_are_taken_and_the_others_are_those_of_libpq() {
        let text = "postgres://ada@db.example:6432/runs?name=a%20b&lease=3&sslmode=verify-full&connect_timeout=7";
        let server = Server::parse(text).unwrap();
        assert_eq!((server.name.as_deref(), server.lease), (Some("a b"), Duration::from_secs(3)));
        assert_eq!(server.config.get_user(), Some("ada"));
        assert_eq!(server.config.get_ports(), [6432]);
        assert_eq!(server.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(server.clone().for_name("/runs").name.as_deref(), Some("a b"));
        assert_eq!(server.to_string(), text);
    }

    #[test]
    fn a_connection_leaves_this_machine_with_verified_tls_only_unless_told_otherwise() {
        for (address, mode) in [
            ("postgres://a@db.example/x", SslMode::Require),
            ("postgres://a@127.0.0.1,db.example/x", SslMode::Require),
            ("postgres://a@127.0.0.1:5433/x", SslMode::Disable),
            ("postgresql://localhost/x", SslMode::Disable),
            ("postgres:///x?host=/var/run/postgresql", SslMode::Disable),
            ("postgres://a@db.example/x?sslmode=disable", SslMode::Disable),
        ] {
            assert_eq!(Server::parse(address).unwrap().config.get_ssl_mode(), mode, "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (address, words) in [
            ("postgres://a:hunter2@db/x", "contains a password"),
            ("postgres://a@db/x?password=hunter2", "contains a password"),
            ("postgres://a@db/x?sslmode=prefer", "write verify-full"),
            ("postgres://a@db/x?lease=0", "from 1 to 3600"),
            ("postgres://a@db:port/x", "postgres://USER@HOST/DATABASE"),
            ("postgres://a@db/x?nonsense=1", "postgres://USER@HOST/DATABASE"),
        ] {
            let told = Server::parse(address).unwrap_err().to_string();
            assert!(told.contains(words) && !told.contains("hunter2"), "{address}: {told}");
        }
    }

    #[test]
    fn certificates_are_read_from_the_named_file() {
        let server = |file: &str| Server::parse(&format!("postgres://a@db/x?sslrootcert={file}")).unwrap();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/");
        assert!(server(&format!("{folder}authority.pem")).tls().is_ok());
        let told = server(&format!("{folder}none.pem")).tls().err().unwrap().to_string();
        assert!(told.contains("none.pem") && told.contains("sslrootcert"), "{told}");
    }
}
