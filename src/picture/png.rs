//! A chart as PNG: its SVG, rendered with an embedded font.
//!
//! Owns: the rendering, the size in pixels. Must not know: the content.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::Chart;

/// Pixels for each unit of the drawing: sharp on a screen with a high resolution.
const SCALE: f32 = 2.0;

/// Between two charts of one picture, in pixels.
const GAP: u32 = 24;

/// A picture has no more charts than this.
const MOST_CHARTS: usize = 24;

/// Open Sans; a server may have no font at all.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(include_bytes!("font/OpenSans-Regular.ttf").to_vec());
    fonts.load_font_data(include_bytes!("font/OpenSans-Semibold.ttf").to_vec());
    fonts.set_sans_serif_family("Open Sans");
    Arc::new(fonts)
});

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// There is nothing to draw.
    #[error("there is no curve to draw")]
    Nothing,
    /// The drawing could not be rendered.
    #[error("could not create the picture: {0}")]
    Render(String),
}

/// Charts as one PNG, one below the other. Those without a curve are left out.
///
/// # Errors
/// None of them has a curve, or a chart could not be rendered.
pub fn png(charts: &[Chart]) -> Result<Vec<u8>, PictureError> {
    let drawn = charts.iter().map(Chart::svg).filter(|svg| !svg.is_empty()).take(MOST_CHARTS);
    let trees: Vec<Tree> = drawn.map(|svg| tree(&svg)).collect::<Result<_, _>>()?;
    let (width, height) = pixels();
    let Some(gaps) = u32::try_from(trees.len()).ok().and_then(|charts| charts.checked_sub(1)) else {
        return Err(PictureError::Nothing);
    };
    let too_large = || PictureError::Render("it is too large".to_owned());
    let mut canvas = Pixmap::new(width, (gaps + 1) * height + gaps * GAP).ok_or_else(too_large)?;
    canvas.fill(resvg::tiny_skia::Color::WHITE);
    let mut top = 0u32;
    for tree in &trees {
        let place = Transform::from_scale(SCALE, SCALE).post_translate(0.0, top as f32);
        resvg::render(tree, place, &mut canvas.as_mut());
        top += height + GAP;
    }
    canvas.encode_png().map_err(|error| PictureError::Render(error.to_string()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred pixels")]
fn pixels() -> (u32, u32) {
    let (width, height) = super::SIZE;
    ((width as f32 * SCALE) as u32, (height as f32 * SCALE) as u32)
}

fn tree(svg: &str) -> Result<Tree, PictureError> {
    let options = Options { font_family: "Open Sans".to_owned(), fontdb: FONTS.clone(), ..Options::default() };
    Tree::from_str(svg, &options).map_err(|error| PictureError::Render(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;
    use crate::series::{Level, Outline};

    fn chart(name: &str) -> Chart {
        let level = |step: i32| Level { step: step.into(), mean: 1.0, low: 1.0, high: 1.0 };
        let outline = Outline { levels: (0..10).map(level).collect(), broken: vec![] };
        Chart { title: name.into(), lines: vec![Line { name: name.into(), outline, style: 0 }], windows: vec![] }
    }

    #[test]
    fn a_picture_has_its_size_and_something_on_it() {
        let bytes = png(&[chart("loss"), chart("accuracy"), Chart::default()]).unwrap();
        let picture = Pixmap::decode_png(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (1520, 2 * 680 + 24));
        let dark = picture.pixels().iter().filter(|pixel| pixel.red() < 100).count();
        assert!(dark > 1000, "{dark}");
    }

    #[test]
    fn text_is_drawn_with_the_font_that_is_built_in() {
        let ink = |name: &str| {
            let picture = Pixmap::decode_png(&png(&[chart(name)]).unwrap()).unwrap();
            picture.pixels().iter().filter(|pixel| pixel.red() < 128).count()
        };
        assert!(ink("MMMMMMMMMM") > ink("") + 500);
    }

    #[test]
    fn nothing_gives_no_picture() {
        assert!(matches!(png(&[]), Err(PictureError::Nothing)));
        assert!(matches!(png(&[Chart::default()]), Err(PictureError::Nothing)));
    }

    #[test]
    fn any_name_is_drawn() {
        for name in ["<svg onload=x>&\"'", "\u{0}\u{1b}[31m", "\u{202e}evil", "名前 🦀", "]]>"] {
            png(&[chart(name)]).unwrap();
        }
    }
}
