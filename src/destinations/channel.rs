//! The connection to one HTTP receiver: its address, its headers, and the key that signs requests.
//!
//! Owns: validation of addresses, the headers of every request. Must not know: the content of a message, interpretation
//! of responses.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::current::Current;
use super::http::{Http, HttpClient, MOST_ANSWER, MOST_LIST, Method, Outgoing, Way, site};
use super::listing::Sieve;
use super::preset::{List, Preset, Request, Send};
use super::signature::Keys;
use super::template::{Node, Scope};
use super::{Secret, Setup, SetupError, values};

pub(super) struct HttpChannel {
    pub(super) client: HttpClient,
    pub(super) url: Url,
    /// The local socket used for the connection, if any.
    socket: Option<PathBuf>,
    keys: Option<Keys>,
    /// The hosts that messages may go to; any where this is `None`.
    pub(super) allowed_hosts: Option<Vec<String>>,
}

/// The context for validating a setup.
struct Checked<'a> {
    preset: &'a Preset,
    setup: &'a Setup,
    scope: Scope,
}

impl HttpChannel {
    /// Validates the target and method of requests; sends nothing.
    ///
    /// # Errors
    /// An invalid address, header or secret, a host that is not allowed, or missing TLS.
    pub(super) fn open(preset: &Preset, setup: &Setup, http: &Http) -> Result<HttpChannel, SetupError> {
        let checked =
            Checked { preset, setup, scope: Scope::from([("fields".to_owned(), values(setup.fields.iter()))]) };
        let Send::Http { url, socket, certificates, signed_with, .. } = &preset.send else {
            return Err(checked.unusable("preset", "it does not send over HTTP".to_owned()));
        };
        let socket = socket.as_ref().map(|socket| {
            let path = checked.path(socket, "socket")?;
            path.ok_or_else(|| checked.unusable("socket", "it must be an absolute path".to_owned()))
        });
        let socket = socket.transpose()?;
        let certificates = certificates.as_ref().map(|file| checked.path(file, "certificates")).transpose()?.flatten();
        let url = checked.url(url)?;
        if socket.is_none() {
            check_host(setup, "url", url.host_str().unwrap_or_default())?;
        }
        let way = match (&socket, &certificates) {
            (Some(socket), _) => Way::Socket(socket),
            (None, Some(file)) => Way::Certified(file),
            (None, None) => Way::Net(&url),
        };
        let client = http.client(way);
        let client = client.map_err(|reason| SetupError::NoHttp { destination: setup.name.clone(), reason })?;
        headers_of(preset, &checked.fields()).map_err(|reason| checked.unusable("headers", reason))?;
        let allowed_hosts = setup.allowed_hosts.clone();
        Ok(HttpChannel { client, url, socket, keys: checked.keys(signed_with.as_ref())?, allowed_hosts })
    }

    /// The target of requests, for people: scheme, host and port of the address, and whether they are signed.
    pub(super) fn target(&self) -> String {
        if let Some(socket) = &self.socket {
            return format!("POST {}, through {}", self.url.path(), socket.display());
        }
        let signed = if self.keys.is_some() { "signed" } else { "not signed" };
        format!("POST {}/***, {signed}", site(&self.url))
    }

    /// The request that carries a message. In addition to the preset's headers, it has the id of the event, by which a
    /// receiver recognises it, and its signature. `now` is in seconds since the Unix epoch.
    pub(super) fn carrying(&self, id: &str, body: &Value, current: &Current, now: f64) -> Outgoing {
        let body = body.to_string().into_bytes();
        let timestamp = now as i64;
        let mut headers = current.headers.clone();
        let mut insert = |name: &'static str, text: &str| {
            // An id that is not valid in a header appears only in the body.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        insert("idempotency-key", id);
        if let Some(keys) = &self.keys {
            insert("webhook-id", id);
            insert("webhook-timestamp", &timestamp.to_string());
            insert("webhook-signature", &keys.sign(id, timestamp, &body));
        }
        let (method, url) = (Method::Post, self.url.clone());
        Outgoing { method, url, headers, body: Some(body), most_answer: MOST_ANSWER, sieve: None }
    }

    /// An additional request. Its address can use all `fields`, its body only `scope`. Every request goes to the same
    /// receiver, so that the content of a message cannot redirect the secrets in the headers.
    ///
    /// # Errors
    /// Why the request cannot be built.
    pub(super) fn besides(
        &self,
        request: &Request,
        preset: &Preset,
        scope: &Scope,
        current: &Current,
    ) -> Result<Outgoing, String> {
        let mut of_address = scope.clone();
        of_address.insert("fields".to_owned(), values(current.fields.iter()));
        let address = preset.render(&request.url, &of_address, "url").map_err(|error| error.to_string())?;
        let url = address.as_str().and_then(|text| Url::parse(text).ok()).ok_or("the address is invalid")?;
        if url.origin() != self.url.origin() {
            return Err(format!("the address is at {}, not at {}", site(&url), site(&self.url)));
        }
        let body = request.body.as_ref().map(|body| preset.render_body(body, scope, "body")).transpose();
        let body = body.map_err(|error| error.to_string())?.map(|body| body.to_string().into_bytes());
        let sieve = request.list.as_ref().map(|list| sieve(list, preset, scope)).transpose()?;
        // Additional requests may return long lists, even if they are not filtered.
        let (headers, most_answer) = (current.headers.clone(), MOST_LIST);
        Ok(Outgoing { method: request.method, url, headers, body, most_answer, sieve })
    }
}

/// The parts of a long list to keep.
fn sieve(list: &List, preset: &Preset, scope: &Scope) -> Result<Sieve, String> {
    let any = list.any.iter().map(|(field, node)| {
        let text = preset.render(node, scope, "list.any").map_err(|error| error.to_string())?;
        let text = text.as_str().ok_or_else(|| format!("`list.any.{field}` is not a text"))?;
        Ok((field.clone(), text.to_owned()))
    });
    Ok(Sieve { of: list.of.clone(), any: any.collect::<Result<_, String>>()? })
}

/// The headers of every request with these settings.
///
/// # Errors
/// The setting that is not valid in a header, and the reason.
pub(super) fn headers_of(preset: &Preset, fields: &BTreeMap<String, Secret>) -> Result<HeaderMap, String> {
    let Send::Http { headers, .. } = &preset.send else { return Ok(HeaderMap::new()) };
    let scope = Scope::from([("fields".to_owned(), values(fields.iter()))]);
    let rendered = preset.render(headers, &scope, "headers").map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in rendered.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let header = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(text).ok());
        let (name, mut value) = header.ok_or_else(|| format!("the header {name} contains invalid characters"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

impl Checked<'_> {
    /// The settings, with placeholders for those that each owner's account provides.
    fn fields(&self) -> BTreeMap<String, Secret> {
        let mut fields = self.setup.fields.clone();
        if self.setup.accounts.is_some() {
            fields.extend(["user", "token"].map(|name| (name.to_owned(), Secret::new("an owner's"))));
        }
        fields
    }

    fn unusable(&self, field: &str, reason: String) -> SetupError {
        SetupError::Unusable { destination: self.setup.name.clone(), field: field.to_owned(), reason }
    }

    fn url(&self, node: &Node) -> Result<Url, SetupError> {
        let address = self.preset.render(node, &self.scope, "url");
        let address = address.map_err(|error| self.unusable("url", error.to_string()))?;
        let parsed = address.as_str().and_then(|text| Url::parse(text).ok());
        let usable = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        usable.ok_or_else(|| self.unusable("url", "it must be an address such as https://host/path".to_owned()))
    }

    /// A path among the settings; `None` if it renders to an empty text.
    fn path(&self, node: &Node, name: &str) -> Result<Option<PathBuf>, SetupError> {
        let path = self.preset.render(node, &self.scope, name);
        let path = path.map_err(|error| self.unusable(name, error.to_string()))?;
        let Some(path) = path.as_str().filter(|path| !path.is_empty()).map(PathBuf::from) else { return Ok(None) };
        if path.is_absolute() {
            Ok(Some(path))
        } else {
            Err(self.unusable(name, "it must be an absolute path".to_owned()))
        }
    }

    fn keys(&self, signed_with: Option<&String>) -> Result<Option<Keys>, SetupError> {
        let secret = signed_with.and_then(|field| Some((field, self.setup.fields.get(field)?)));
        let secret = secret.filter(|(_, secret)| !secret.expose().is_empty());
        let reason = "it must be `whsec_` and base64; `echo whsec_$(openssl rand -base64 32)` creates one";
        let keys =
            secret.map(|(field, secret)| Keys::parse(secret).ok_or_else(|| self.unusable(field, reason.to_owned())));
        keys.transpose()
    }
}

/// Rejects a host that may not receive messages; `field` is the setting that contains it.
///
/// # Errors
/// The host is not allowed.
pub(super) fn check_host(setup: &Setup, field: &str, host: &str) -> Result<(), SetupError> {
    match &setup.allowed_hosts {
        Some(allowed) if !allowed.iter().any(|pattern| is_allowed(host, pattern)) => Err(SetupError::Unusable {
            destination: setup.name.clone(),
            field: field.to_owned(),
            reason: format!("its host {host} is not in `allowed_hosts`; add it there to permit messages to it"),
        }),
        _ => Ok(()),
    }
}

/// Whether a host is in a list: the same name, or a subdomain if the list contains `*.name`.
pub(super) fn is_allowed(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => host.eq_ignore_ascii_case(pattern.trim_matches(['[', ']'])) || host.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_allowed_by_its_name_or_its_domain() {
        for (host, pattern, allowed) in [
            ("queue.example", "queue.example", true),
            ("queue.example", "Queue.Example", true),
            ("queue.example.evil", "queue.example", false),
            ("a.example", "*.example", true),
            ("a.b.example", "*.example", true),
            ("example", "*.example", false),
            (".example", "*.example", false),
            ("evilexample", "*.example", false),
            ("[::1]", "[::1]", true),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(is_allowed(host, pattern), allowed, "{host} {pattern}");
        }
    }
}
