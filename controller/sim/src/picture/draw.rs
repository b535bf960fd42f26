//! SVG by hand: escaped text, boxes, and an estimate of how wide text is.

use std::fmt::Write as _;

/// Average width of a character of the fonts that are asked for, in hundredths of the font's size. On the safe side.
const CHARACTER_PERCENT: f64 = 62.0;

/// A drawing that grows downwards.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    body: String,
}

/// A piece of text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) size: f64,
    pub(super) class: &'static str,
    pub(super) anchor: &'static str,
    pub(super) words: &'a str,
}

/// A rectangle with a tooltip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) class: &'static str,
    pub(super) tip: &'a str,
}

impl Canvas {
    pub(super) fn text(&mut self, t: Text<'_>) {
        let _ = writeln!(
            self.body,
            r#"<text x="{:.1}" y="{:.1}" font-size="{:.0}" class="{}" text-anchor="{}">{}</text>"#,
            t.x,
            t.y,
            t.size,
            t.class,
            t.anchor,
            escaped(t.words)
        );
    }

    pub(super) fn block(&mut self, b: Block<'_>) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="3" class="{}"><title>{}</title></rect>"#,
            b.x,
            b.y,
            b.width,
            b.height,
            b.class,
            escaped(b.tip)
        );
    }

    pub(super) fn line(&mut self, class: &'static str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        );
    }

    /// Puts another drawing on top.
    pub(super) fn add(&mut self, other: &Self) {
        self.body.push_str(&other.body);
    }

    /// The document. `title` and `desc` are what a screen reader says.
    pub(super) fn finish(self, width: f64, height: f64, title: &str, desc: &str) -> String {
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" aria-labelledby="title desc" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif">
<title id="title">{}</title>
<desc id="desc">{}</desc>
<style>{STYLE}</style>
<rect width="100%" height="100%" fill="white"/>
{}</svg>
"#,
            escaped(title),
            escaped(desc),
            self.body
        )
    }
}

const STYLE: &str = "
text { fill: #1f2328; }
.strong { font-weight: 600; }
.soft { fill: #59636e; }
.grid { stroke: #e4e8ec; stroke-width: 1; }
.edge { stroke: #c8d0d8; stroke-width: 1; }
.fault { fill: #ffd8d3; stroke: #b42318; }
.after { fill: #fff4f2; stroke: #d99a92; }
.diagnosis { fill: #fff1c2; stroke: #8a6100; }
.fix { fill: #d3f1e4; stroke: #0b6e4f; }
.power { fill: #d6e9ff; stroke: #0b5cad; }
.recreate { fill: #ead9fb; stroke: #6f3cb0; }
.verify { fill: #d9f3da; stroke: #1a7f37; }
.parked { fill: #ffe0c2; stroke: #a04a00; }
.wait { fill: #eceff3; stroke: #6b7682; stroke-dasharray: 3 2; }
.measure { fill: #ffffff; stroke: #1f2328; }
";

/// How much room a text needs.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let mut characters = 0.0;
    for _ in text.chars() {
        characters += 1.0;
    }
    characters * size * CHARACTER_PERCENT / 100.0
}

/// As much of a text as fits, with an ellipsis where it was cut.
pub(super) fn fitted(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        cut.push(c);
        if width(&cut, size) + size > room {
            break;
        }
    }
    cut.pop();
    cut.push('…');
    cut
}

/// A text in lines that fit.
pub(super) fn wrapped(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let longer = format!("{line} {word}");
        if line.is_empty() {
            line.push_str(word);
        } else if width(&longer, size) <= room {
            *line = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Text for XML. What XML does not allow at all is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<script>&\"\u{7}"), "&lt;script&gt;&amp;&quot; ");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        assert_eq!(fitted("short", 10.0, 100.0), "short");
        let cut = fitted("a long sentence that goes on", 10.0, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 10.0) <= 60.0, "{cut}");
    }
}
