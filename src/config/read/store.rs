//! The setting `store`: the database that several daemons share.

use crate::config::settings::ServerSettings;
use crate::store::{AddressError, Server};
use crate::yaml::{Fields, Kind, Node};

use super::Reader;

impl Reader<'_> {
    /// An address, or an address with the source of its password.
    pub(super) fn store(&mut self, node: &Node) -> Option<ServerSettings> {
        if let Kind::Scalar(_) = &node.kind {
            return Some(ServerSettings { server: self.server(node)?, password: None });
        }
        let fields = Fields::new(node, "`store`", &["url", "password"], &mut self.problems)?;
        let password = fields.get("password").and_then(|node| self.secret("`password`", node));
        let Some(url) = fields.get("url") else {
            let help = "write postgres://USER@HOST/DATABASE";
            self.problems.add_help(fields.place(), "`store` needs `url`", help);
            return None;
        };
        Some(ServerSettings { server: self.server(url)?, password })
    }

    fn server(&mut self, node: &Node) -> Option<Server> {
        let text = node.text("`store`", &mut self.problems)?;
        if !Server::is_address(text) {
            let help = "write postgres://USER@HOST/DATABASE; without `store`, a file in the directory `state` is used";
            self.problems.add_help(node.place, "`store` must be the address of a PostgreSQL database", help);
            return None;
        }
        match Server::parse(text) {
            Ok(server) => Some(server),
            Err(AddressError::Password) => {
                let help = "write `store: {url: postgres://USER@HOST/DATABASE, password: {file: PATH}}`, and change the \
                            password if this file was shared";
                self.problems.add_help(node.place, "`store` contains a password, which must not be in this file", help);
                None
            }
            Err(error) => {
                self.problems.add(node.place, error.to_string());
                None
            }
        }
    }
}
