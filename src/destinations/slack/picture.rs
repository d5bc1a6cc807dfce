//! A picture in a message of Slack: uploaded, waited for, shown by a block.
//!
//! Owns: the requests and their order. Must not know: what a message says. Whatever fails, the message goes without its
//! picture, and never later for it.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::destinations::channel::{HttpChannel, is_allowed};
use crate::destinations::current::Current;
use crate::destinations::http::{MOST_ANSWER, Method, Outgoing};
use crate::destinations::picture::Picture;

/// Slack takes some seconds until a file can be shown; a block with one that cannot is refused. It is asked after these
/// seconds.
const ASKED_AFTER: [u64; 5] = [0, 1, 1, 2, 4];

/// The end of an address is escaped as it is in a form.
fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// Uploads of one message.
pub(in crate::destinations) struct Upload<'a> {
    pub(in crate::destinations) http: &'a HttpChannel,
    pub(in crate::destinations) current: &'a Current,
    /// The hosts that may be spoken to; any where this is `None`.
    pub(in crate::destinations) allowed_hosts: Option<&'a [String]>,
}

impl Upload<'_> {
    /// Uploads a picture, and waits until it can be shown. Gives the block that shows it.
    ///
    /// # Errors
    /// Why it cannot be shown.
    pub(in crate::destinations) async fn block(&self, picture: &Picture) -> Result<Value, String> {
        let length = picture.bytes.len().to_string();
        let asked = form(&[("filename", &picture.name), ("length", &length), ("alt_txt", &picture.alt)]);
        let place = self.call("files.getUploadURLExternal", "application/x-www-form-urlencoded", asked).await?;
        let text = |key: &str| place.get(key).and_then(Value::as_str).map(str::to_owned);
        let (address, id) = text("upload_url").zip(text("file_id")).ok_or("Slack named no place for it")?;
        self.put(&address, picture).await?;
        let completed = json!({ "files": [{ "id": id, "title": picture.alt }] }).to_string();
        self.call("files.completeUploadExternal", "application/json; charset=utf-8", completed).await?;
        for seconds in ASKED_AFTER {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let asked = form(&[("file", &id)]);
            let info = self.call("files.info", "application/x-www-form-urlencoded", asked).await?;
            let ready = info.pointer("/file/mimetype").and_then(Value::as_str).is_some_and(|kind| !kind.is_empty());
            if ready {
                return Ok(json!({ "type": "image", "slack_file": { "id": id }, "alt_text": picture.alt }));
            }
        }
        Err("Slack did not have it ready in time".to_owned())
    }

    /// Calls a method of Slack's API, beside the one that posts.
    async fn call(&self, method: &str, kind: &'static str, body: String) -> Result<Value, String> {
        let url = self.http.url.join(method).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        if let Some(token) = self.current.headers.get(AUTHORIZATION) {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let answer: Value = serde_json::from_str(&self.send(url, headers, body.into_bytes()).await?)
            .map_err(|_| format!("{method} was not answered with JSON"))?;
        match answer.get("ok").and_then(Value::as_bool) {
            Some(true) => Ok(answer),
            _ => {
                let error = answer.get("error").and_then(Value::as_str).unwrap_or("no reason");
                Err(format!("{method} was refused: {error}"))
            }
        }
    }

    /// Sends the bytes where Slack wants them. That place is another host, so that nothing secret goes with them.
    async fn put(&self, address: &str, picture: &Picture) -> Result<(), String> {
        let url = Url::parse(address).map_err(|_| "Slack named no address".to_owned())?;
        let host = url.host_str().unwrap_or_default();
        let own = url.origin() == self.http.url.origin();
        if !own && url.scheme() != "https" {
            return Err("Slack named an address without TLS".to_owned());
        }
        if !own && self.allowed_hosts.is_some_and(|allowed| !allowed.iter().any(|pattern| is_allowed(host, pattern))) {
            return Err(format!("{host} is not among `allowed_hosts`"));
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("image/png"))]);
        self.send(url, headers, picture.bytes.clone()).await.map(drop)
    }

    async fn send(&self, url: Url, headers: HeaderMap, body: Vec<u8>) -> Result<String, String> {
        let request =
            Outgoing { method: Method::Post, url, headers, body: Some(body), most_answer: MOST_ANSWER, sieve: None };
        match self.http.client.send(request).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(reply.body),
            Ok(reply) => Err(format!("it was answered with {}", reply.status)),
            Err(error) => Err(error.why()),
        }
    }
}

/// A body of blocks with one more, after what says what it is about.
pub(in crate::destinations) fn with_block(mut body: Value, block: Value) -> Value {
    if let Some(blocks) = body.get_mut("blocks").and_then(Value::as_array_mut) {
        let before_last = blocks.len().saturating_sub(1);
        blocks.insert(blocks.len().min(2).min(before_last.max(1)), block);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_holds_any_text() {
        assert_eq!(form(&[("a", "x&y=z"), ("b", "ä b")]), "a=x%26y%3Dz&b=%C3%A4+b");
    }

    #[test]
    fn the_block_stands_below_the_head() {
        let body = json!({ "blocks": [{ "type": "header" }, { "type": "section" }, { "type": "context" }] });
        let shown = with_block(body, json!({ "type": "image" }));
        let kinds: Vec<&str> =
            shown["blocks"].as_array().unwrap().iter().map(|b| b["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["header", "section", "image", "context"]);
        let short = with_block(json!({ "blocks": [{ "type": "section" }] }), json!({ "type": "image" }));
        assert_eq!(short["blocks"][1]["type"], "image");
        assert_eq!(with_block(json!({ "text": "x" }), json!({})), json!({ "text": "x" }));
    }
}
