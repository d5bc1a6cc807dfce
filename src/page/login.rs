//! The pages for people who are not known yet.
//!
//! Owns: their words. Must not know: how somebody is known.

use maud::html;

use super::{Frame, document, masthead};

/// The page of a link that `nextrun login` printed. A button, not the link itself, uses it up: programs that look at links
/// before people do press none. The cookie is then set in answer to this page, and not to wherever the link was.
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
