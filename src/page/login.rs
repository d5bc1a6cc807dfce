//! The pages for people who have not logged in.
//!
//! Owns: their texts. Must not know: how people are authenticated.

use maud::html;

use super::{Frame, document, masthead};

/// The page of a link printed by `nextrun login`. A button, not the link itself, uses it up, because programs that open
/// links before people do not press buttons. The cookie is set in the response to this page.
pub fn offers_login(code: &str) -> String {
    let frame = Frame::Served { may_act: false };
    let content = html! {
        (masthead(frame, None))
        main id="content" {
            h1 { "Log in" }
            p { "This link works once. The cookie that it sets keeps this browser logged in for 7 days." }
            form method="post" action="/login" {
                input type="hidden" name="code" value=(code);
                button type="submit" { "Log in" }
            }
        }
    };
    document("Log in · nextrun", frame, &content)
}

/// Says how to get in.
pub fn asks_to_log_in(why: &str) -> String {
    let frame = Frame::Served { may_act: false };
    let content = html! {
        (masthead(frame, None))
        main id="content" {
            h1 { "Log in" }
            p { (why) }
            p { "Run " code { "nextrun login" } " on the machine of the daemon, as the user who runs it, and open the link that it prints." }
            p.quiet { "Programs send the header " code { "Authorization: Bearer" } " with the token of " code { "status.tokens.read" } "." }
        }
    };
    document("Log in · nextrun", frame, &content)
}
