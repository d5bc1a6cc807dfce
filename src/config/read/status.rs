//! The section `status`, and how long data are kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::secret::SecretSource;
use crate::config::settings::{Keep, StatusSettings, TokenSources};
use crate::yaml::{Fields, Node};

use super::Reader;
use super::values::is_plain_part;

impl Reader<'_> {
    pub(super) fn keep(&mut self, node: &Node) -> Keep {
        if node.is_word("always") {
            return Keep::Always;
        }
        let time = self.duration(node, "`keep_closed`", "`always` or ");
        time.map_or_else(Keep::default, Keep::For)
    }

    pub(super) fn status(&mut self, node: &Node) -> Option<StatusSettings> {
        let fields = Fields::new(node, "`status`", &["listen", "token", "tokens", "tensorboard"], &mut self.problems)?;
        let (tokens, guarded) = self.tokens(&fields);
        let tensorboard = fields.get("tensorboard").and_then(|node| self.address_of_a_page(node));
        let Some(node) = fields.get("listen") else {
            let help = "write an address with a port, such as 127.0.0.1:9747";
            self.problems.add_help(fields.place(), "`status` needs `listen`", help);
            return None;
        };
        let text = node.text("`listen`", &mut self.problems)?;
        let Ok(listen) = text.parse::<SocketAddr>() else {
            let help = "include the port, as in 127.0.0.1:9747 or [::1]:9747; host names are not resolved";
            self.problems.add_help(node.place, format!("`listen` must be an address, but this is `{text}`"), help);
            return None;
        };
        if !listen.ip().is_loopback() && !guarded {
            let help = "add `tokens: {read: {file: PATH}}`, or listen on 127.0.0.1";
            self.problems.add_help(
                node.place,
                format!("`{text}` is reachable from other machines, but there is no read token"),
                help,
            );
        }
        Some(StatusSettings { listen, tokens, tensorboard })
    }

    /// An address that a browser can open.
    fn address_of_a_page(&mut self, node: &Node) -> Option<String> {
        let text = node.text("`tensorboard`", &mut self.problems)?;
        let is_one = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"<>`".contains(c));
        if !is_one {
            let help = "write the address of your TensorBoard, as in http://tensorboard.example:6006";
            self.problems.add_help(
                node.place,
                format!("`tensorboard` must be a web address, but this is `{text}`"),
                help,
            );
        }
        is_one.then(|| text.to_owned())
    }

    /// The directory of each machine that forwards files, with its token.
    fn senders(&mut self, node: &Node) -> BTreeMap<String, SecretSource> {
        let mut senders = BTreeMap::new();
        for (key, node) in node.entries("`forward`", &mut self.problems) {
            if !key.name.split('/').all(is_plain_part) {
                let help = "name the directory below which the files of the machine appear, as in node-7 or lab/node-7";
                self.problems.add_help(key.place, format!("`{}` cannot be such a directory", key.name), help);
                continue;
            }
            senders.extend(self.secret("`forward`", node).map(|source| (key.name.clone(), source)));
        }
        senders
    }

    /// `tokens`, and `token`, which is short for `tokens.read`. Also returns whether a read token is set.
    fn tokens(&mut self, status: &Fields<'_>) -> (TokenSources, bool) {
        let (mut tokens, mut guarded) = (TokenSources::default(), status.get("token").is_some());
        if let Some(node) = status.get("tokens")
            && let Some(fields) =
                Fields::new(node, "`tokens`", &["read", "report", "act", "forward"], &mut self.problems)
        {
            guarded |= fields.get("read").is_some();
            tokens.read = fields.get("read").and_then(|node| self.secret("`read`", node));
            tokens.report = fields.get("report").and_then(|node| self.secret("`report`", node));
            tokens.act = fields.get("act").and_then(|node| self.secret("`act`", node));
            tokens.forward = fields.get("forward").map(|node| self.senders(node)).unwrap_or_default();
        }
        if let Some(node) = status.get("token") {
            if tokens.read.is_some() {
                let help = "remove `token`; it is short for `tokens.read`";
                self.problems.add_help(node.place, "`token` and `tokens.read` are the same setting", help);
            }
            tokens.read = self.secret("`token`", node);
        }
        (tokens, guarded)
    }
}
