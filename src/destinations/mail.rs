//! Sends one message to an SMTP relay and determines whether it may have arrived.
//!
//! Owns: the conversation with the relay, the format of an email. Must not know: the content of a message, presets.

use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::Outcome;
use super::http::Timeouts;
use super::picture::Picture;
use crate::case::Message;

/// The security of the connection to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// Unencrypted until the relay accepts `STARTTLS`; without it, nothing is sent.
    StartTls,
    /// Encrypted from the first byte.
    Tls,
    /// Unencrypted.
    None,
}

pub(super) struct MailChannel {
    server: String,
    host: String,
    security: Security,
    credentials: Option<Credentials>,
    from: Mailbox,
    to: Mailboxes,
    /// The name of this host in the SMTP greeting.
    hello: String,
    timeouts: Timeouts,
}

impl MailChannel {
    /// Validates the settings; sends nothing. `settings` are `server`, `security`, `user`, `password`, `from` and `to`,
    /// all of them texts.
    ///
    /// # Errors
    /// The invalid setting, and what it should be.
    pub(super) fn open(settings: &Value, hello: &str, timeouts: Timeouts) -> Result<MailChannel, (String, String)> {
        let text = |key: &str| settings.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let wrong = |key: &str, reason: &str| (key.to_owned(), reason.to_owned());
        let server = text("server");
        let split = server.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        let host = split.map(|(host, _)| host.trim_matches(['[', ']']).to_owned());
        let host = host.ok_or_else(|| wrong("server", "it must be a host and a port, such as mail.example:587"))?;
        let security = match text("security").as_str() {
            "" | "starttls" => Security::StartTls,
            "tls" => Security::Tls,
            "none" => Security::None,
            _ => return Err(wrong("security", "it must be starttls, tls or none")),
        };
        let (user, password) = (text("user"), text("password"));
        let credentials = if user.is_empty() { None } else { Some(Credentials::new(user, password)) };
        if security == Security::None && credentials.is_some() {
            return Err(wrong("security", "a password must not be sent unencrypted: use starttls or tls"));
        }
        let address = "it must be an address such as nextrun@example.org, or Name <name@example.org>";
        let from = text("from").parse::<Mailbox>().map_err(|_| wrong("from", address))?;
        let to = text("to").parse::<Mailboxes>().map_err(|_| wrong("to", address))?;
        Ok(MailChannel { server, host, security, credentials, from, to, hello: hello.to_owned(), timeouts })
    }

    /// The target of emails, for people: the relay and its security.
    pub(super) fn target(&self) -> String {
        let security = match self.security {
            Security::StartTls => "STARTTLS",
            Security::Tls => "TLS",
            Security::None => "not encrypted",
        };
        format!("email through {}, {security}", self.server)
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a message once, and returns the relay's reply code if there was one; `body` has its `subject` and `text`.
    /// If the connection breaks before the email begins, the email has not arrived; after that, only the relay's reply
    /// tells.
    pub(super) async fn send(
        &self,
        message: &Message,
        body: &Value,
        picture: Option<&Picture>,
    ) -> (Option<u16>, Outcome) {
        let email = match self.email(message, body, picture) {
            Ok(email) => email,
            Err(error) => {
                return (None, Outcome::Permanent { why: format!("could not create the email: {error}") });
            }
        };
        let timed_out = || format!("no response from {}: timed out", self.server);
        let end = Instant::now() + self.timeouts.whole;
        let mut relay = match timeout_at(end, self.connect()).await {
            Ok(Ok(relay)) => relay,
            Ok(Err(error)) => return (code(&error), self.not_begun(&error)),
            Err(_) => return (None, Outcome::Later { after: None, why: timed_out() }),
        };
        match timeout_at(end, relay.send(email.envelope(), &email.formatted())).await {
            Ok(Ok(said)) => {
                // The relay has accepted the email; errors while closing the connection do not matter.
                drop(timeout_at(end, relay.quit()).await);
                (Some(said.code().into()), Outcome::Delivered { reference: said.first_line().map(str::to_owned) })
            }
            Ok(Err(error)) => (code(&error), self.not_taken(&error)),
            Err(_) => (None, Outcome::Unknown { why: timed_out() }),
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let hello = ClientId::Domain(self.hello.clone());
        let tls = || TlsParameters::new_rustls(self.host.clone());
        let wrapped = if self.security == Security::Tls { Some(tls()?) } else { None };
        let within = Some(self.timeouts.connect);
        let mut relay = AsyncSmtpConnection::connect_tokio1(&self.server, within, &hello, wrapped, None).await?;
        if self.security == Security::StartTls {
            relay.starttls(tls()?, &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            relay.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await?;
        }
        Ok(relay)
    }

    fn not_begun(&self, error: &Error) -> Outcome {
        let why = format!("could not communicate with {}: {error}", self.server);
        if error.is_permanent() || error.is_client() {
            Outcome::Permanent { why: format!("{why} (check `security`, `user` and `password` in the configuration)") }
        } else {
            Outcome::Later { after: None, why }
        }
    }

    fn not_taken(&self, error: &Error) -> Outcome {
        let why = format!("{} did not accept it: {error}", self.server);
        if error.is_permanent() {
            Outcome::Permanent { why: format!("{why} (check `from` and `to` in the configuration)") }
        } else if error.is_transient() {
            Outcome::Later { after: None, why }
        } else {
            Outcome::Unknown { why }
        }
    }

    fn email(
        &self,
        message: &Message,
        body: &Value,
        picture: Option<&Picture>,
    ) -> Result<lettre::Message, lettre::error::Error> {
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let id = |name: &str| {
            let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            format!("<{name}@{}>", self.from.email.domain())
        };
        let to = self.to.iter().fold(lettre::Message::builder(), |builder, to| builder.to(to.clone()));
        // Mail clients show emails that refer to the same id as one thread.
        let said = MultiPart::alternative_plain_html(text("text").to_owned(), html(text("text")));
        let png = |picture: &Picture| {
            let kind = ContentType::parse("image/png").ok()?;
            Some(Attachment::new(picture.name.clone()).body(picture.bytes.clone(), kind))
        };
        let parts = match picture.and_then(png) {
            Some(picture) => MultiPart::mixed().multipart(said).singlepart(picture),
            None => said,
        };
        to.from(self.from.clone())
            .message_id(Some(id(&message.id)))
            .references(id(&message.case.0))
            .subject(super::words::one_line(text("subject")))
            .multipart(parts)
    }
}

/// The relay's reply code in an error, if any.
fn code(error: &Error) -> Option<u16> {
    error.status().map(u16::from)
}

/// The text as HTML that preserves its layout.
fn html(text: &str) -> String {
    let mut page = String::from("<pre style=\"white-space: pre-wrap\">");
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            other => page.push(other),
        }
    }
    page + "</pre>"
}
