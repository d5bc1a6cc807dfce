//! The curves of a message as a picture.
//!
//! Owns: which curves stand in it, and its words for those who cannot see it. Must not know: how a picture reaches people.

use crate::case::{About, Curve, Message};
use crate::picture::{Chart, Line, Window, png};
use crate::series::joined;

/// A picture, ready to be sent.
pub(super) struct Picture {
    /// The PNG.
    pub(super) bytes: Vec<u8>,
    /// The name of its file.
    pub(super) name: String,
    /// What it shows.
    pub(super) alt: String,
}

/// The picture of a message; `None` where it has no curves, or none can be drawn. Drawing takes some hundredths of a second,
/// which no other message waits for.
pub(super) async fn of(message: &Message) -> Option<Picture> {
    let about = message.body.about().filter(|about| !about.curves.is_empty())?;
    let chart = chart(about);
    let (name, alt) = (format!("{}.png", message.case.0), chart.title.clone());
    match tokio::task::spawn_blocking(move || png(&[chart])).await {
        Ok(Ok(bytes)) => Some(Picture { bytes, name, alt }),
        Ok(Err(error)) => {
            tracing::warn!(id = message.id, %error, "a message goes without its picture");
            None
        }
        Err(_) => None,
    }
}

fn chart(about: &About) -> Chart {
    let mut numbered = 0;
    let line = |curve: &Curve| {
        let name = if curve.suggestion.is_some() { "experiment" } else { "baseline" };
        numbered += usize::from(curve.suggestion.is_some());
        let style = if curve.suggestion.is_some() { numbered } else { 0 };
        Line { name: name.to_owned(), outline: curve.outline.clone(), style }
    };
    let lines = about.curves.iter().map(line).collect();
    let tag = about.curves.first().map(|curve| curve.tag.as_str()).unwrap_or_default();
    let mut windows: Vec<Window> = Vec::new();
    for evidence in about.evidence.iter().filter(|evidence| evidence.tag == tag) {
        let (Some(from), Some(to)) = (evidence.first_step, evidence.last_step) else { continue };
        let name = super::words::words(&evidence.symptom);
        windows.push(Window { from: from as f64, to: to as f64, name });
    }
    windows.dedup_by(|a, b| (a.from, a.to) == (b.from, b.to));
    Chart { title: format!("{tag} of {}", joined(about.logdir.as_deref(), &about.baseline_run)), lines, windows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Body, CaseId, CaseOpened};
    use crate::series::{Level, Outline};

    #[tokio::test]
    async fn a_message_with_curves_has_a_picture() {
        let level = |step: i32| Level { step: step.into(), mean: 1.0, low: 1.0, high: 1.0 };
        let curve = |suggestion: Option<&str>| Curve {
            suggestion: suggestion.map(str::to_owned),
            signal: "loss".into(),
            tag: "train/loss".into(),
            outline: Outline { levels: (0..9).map(level).collect(), broken: vec![] },
        };
        let mut about =
            About { baseline_run: "a".into(), curves: vec![curve(None), curve(Some("s"))], ..About::default() };
        let message = |about: About| Message {
            id: "m".into(),
            case: CaseId("c1".into()),
            subject: "a".into(),
            time: 0.0,
            body: Body::CaseOpened(CaseOpened { about, ..CaseOpened::default() }),
        };
        let picture = of(&message(about.clone())).await.unwrap();
        assert!(picture.bytes.starts_with(b"\x89PNG"));
        assert_eq!((picture.name.as_str(), picture.alt.as_str()), ("c1.png", "train/loss of a"));
        about.curves.clear();
        assert!(of(&message(about)).await.is_none());
    }
}
