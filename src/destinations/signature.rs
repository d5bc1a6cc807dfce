//! Signatures after the Standard Webhooks specification, version 1.0.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! Owns: keys and the signed text. Must not know: HTTP.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Secret;

/// The keys of one destination; more than one while a secret is being changed.
#[derive(Clone)]
pub(super) struct Keys(Vec<Vec<u8>>);

impl Keys {
    /// Reads `whsec_` and base64, or only base64; several keys are separated by white space. `None` if one of them is
    /// invalid, or there is none.
    pub(super) fn parse(secret: &Secret) -> Option<Keys> {
        let decode = |word: &str| STANDARD.decode(word.strip_prefix("whsec_").unwrap_or(word)).ok();
        let keys: Vec<Vec<u8>> = secret.expose().split_whitespace().map(decode).collect::<Option<_>>()?;
        let usable = !keys.is_empty() && keys.iter().all(|key| !key.is_empty());
        usable.then_some(Keys(keys))
    }

    /// The value of the header `webhook-signature`; `timestamp` is in seconds since the Unix epoch.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let sign = |key: &Vec<u8>| {
            #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_the_specification_says() {
        // The example from the specification's reference libraries.
        let keys = Keys::parse(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_give_two_signatures_and_text_that_is_no_key_is_refused() {
        let both = Keys::parse(&Secret::new("whsec_AAAA BBBB")).unwrap().sign("id", 1, b"");
        assert_eq!(both.split(' ').count(), 2);
        for bad in ["", "whsec_", "not base64!", "whsec_AAAA ?"] {
            assert!(Keys::parse(&Secret::new(bad)).is_none(), "{bad:?}");
        }
    }
}
