//! Web pages about jobs and cases: the pages that the daemon serves, and a case in one file.
//!
//! Owns: the order of a page, its texts, HTML, the style sheet and the script. Must not know: HTTP, SQL, who may see
//! it.
//!
//! Untrusted text (names of runs, tags, arguments, the last lines of a log) is data: escaped by the templates, without
//! control characters, limited in length, and with secrets masked (`shown`).

mod belief;
mod case;
mod changes;
mod charts;
mod experiments;
mod history;
mod home;
mod lines;
mod login;
mod month;
mod time;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use case::{CaseView, Links};
pub use charts::charts_of;
pub use home::{Home, JobFilter};
pub use lines::{CaseLine, JobLine, Need, NeedKind};
pub use login::{asks_to_log_in, offers_login};
pub use month::{Month, month_of};
pub use words::shown;

/// The style sheet of all pages.
pub const STYLE: &str = include_str!("page/page.css");

/// The script that updates a served page; all content is available without it.
pub const SCRIPT: &str = include_str!("page/page.js");

/// The icon in a browser tab: a falling curve.
pub const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"7\" \
     fill=\"#0b5cad\"/><path d=\"M6 8c3 12 8 15 20 16\" fill=\"none\" stroke=\"#fff\" stroke-width=\"3.4\" stroke-linecap=\"round\"/></svg>";

/// The content security policy of a served page: only its own style sheet and script, even if the name of a job contains markup.
pub const SERVED_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The same for a file: only its inline style.
const FILE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The context of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Served by the daemon, which updates it.
    Served {
        /// Whether the viewer may act on behalf of a person.
        may_act: bool,
    },
    /// A separate file.
    File,
}

impl Frame {
    fn may_act(self) -> bool {
        self == Frame::Served { may_act: true }
    }

    fn is_served(self) -> bool {
        self != Frame::File
    }
}

/// A whole page.
fn document(title: &str, frame: Frame, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                @if frame.is_served() {
                    link rel="icon" type="image/svg+xml" href="/icon.svg";
                    link rel="stylesheet" href="/page.css";
                    script src="/page.js" defer {}
                    noscript { meta http-equiv="refresh" content="30"; }
                } @else {
                    meta http-equiv="content-security-policy" content=(FILE_POLICY);
                    meta name="referrer" content="no-referrer";
                    style { (PreEscaped(STYLE)) }
                }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (content)
            }
        }
    };
    page.into_string()
}

/// The header of every page.
fn masthead(frame: Frame, readiness: Option<&Result<&'static str, String>>) -> Markup {
    html! {
        header.masthead {
            @if frame.is_served() { a.brand href="/" { "nextrun" } } @else { span.brand { "nextrun" } }
            @if let Some(readiness) = readiness {
                @match readiness {
                    Ok(word) => span.health.good { (word) },
                    Err(why) => span.health.bad { (shown(why, 200)) },
                }
            }
        }
    }
}
