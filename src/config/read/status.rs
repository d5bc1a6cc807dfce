//! The section `status`, and how long things are kept.

use std::net::SocketAddr;

use crate::config::settings::{Keep, StatusSettings};
use crate::yaml::{Fields, Node};

use super::Reader;

impl Reader<'_> {
    pub(super) fn keep(&mut self, node: &Node) -> Keep {
        if node.is_word("always") {
            return Keep::Always;
        }
        let time = self.duration(node, "`keep_closed`", "`always` or ");
        time.map_or_else(Keep::default, Keep::For)
    }

    pub(super) fn status(&mut self, node: &Node) -> Option<StatusSettings> {
        let fields = Fields::new(node, "`status`", &["listen", "token"], &mut self.problems)?;
        let token = fields.get("token").and_then(|node| self.secret("`token`", node));
        let Some(node) = fields.get("listen") else {
            let help = "write an address with a port, such as 127.0.0.1:9747";
            self.problems.add_help(fields.place(), "`status` needs `listen`", help);
            return None;
        };
        let text = node.text("`listen`", &mut self.problems)?;
        let Ok(listen) = text.parse::<SocketAddr>() else {
            let help = "write it with its port, as in 127.0.0.1:9747 or [::1]:9747; names are not looked up";
            self.problems.add_help(node.place, format!("`listen` must be an address, but this is `{text}`"), help);
            return None;
        };
        if !listen.ip().is_loopback() && fields.get("token").is_none() {
            let help = "add `token: {file: PATH}`, or listen on 127.0.0.1";
            self.problems.add_help(node.place, format!("`{text}` is open to others, and there is no `token`"), help);
        }
        Some(StatusSettings { listen, token })
    }
}
