//! Tables, labelled lines and wrapped paragraphs.

use super::style::{Style, Tone};
use crate::text::Text;
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// Narrowest column that a paragraph is wrapped to, however deep it is indented.
const PARAGRAPH_MIN: usize = 12;

/// A table without lines, fitted to the width.
pub(crate) struct Grid {
    table: Table,
    color: bool,
}

impl Grid {
    /// With these headings.
    pub(crate) fn new(style: &Style, headings: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if style.color {
            table.enforce_styling();
        }
        if let Some(width) = style.width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        let bold = |heading: &&str| {
            let cell = Cell::new(heading);
            if style.color {
                cell.add_attribute(Attribute::Bold)
            } else {
                cell
            }
        };
        table.set_header(headings.iter().map(bold));
        Self {
            table,
            color: style.color,
        }
    }

    /// Adds a row; a cell that is one of the protocol's words gets its colour.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|content| {
            let tone = if self.color {
                Tone::of(&content).cell()
            } else {
                None
            };
            let cell = Cell::new(content);
            match tone {
                Some(color) => cell.fg(color),
                None => cell,
            }
        });
        self.table.add_row(cells.collect::<Vec<_>>());
    }

    /// The text, without blanks at the ends of lines.
    pub(crate) fn finish(mut self) -> String {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut out = String::new();
        for line in self.table.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// `  label      value`, the value wrapped and indented.
pub(crate) fn field(out: &mut String, style: &Style, label: &str, value: &str) {
    let painted = style.paint(Tone::of(value), value);
    paragraph(
        out,
        style,
        &format!("  {label:<12}"),
        if value.contains(' ') { value } else { &painted },
    );
}

/// `- item` for each; nothing for none.
pub(crate) fn bullets(out: &mut String, style: &Style, heading: &str, items: &[Text]) {
    if items.is_empty() {
        return;
    }
    self::heading(out, style, heading);
    for item in items {
        paragraph(out, style, "  - ", &item.to_string());
    }
}

/// An empty line and a heading.
pub(crate) fn heading(out: &mut String, style: &Style, heading: &str) {
    let _ = writeln!(out, "\n{}", style.bold(heading));
}

/// The text after `lead`, wrapped to the width, further lines under the first.
pub(crate) fn paragraph(out: &mut String, style: &Style, lead: &str, text: &str) {
    hanging(out, style, lead, lead.width(), text);
}

/// As [`paragraph`], where `lead` holds colours and its width is told.
pub(crate) fn hanging(out: &mut String, style: &Style, lead: &str, lead_width: usize, text: &str) {
    let room = style.width.map_or(usize::MAX, |width| {
        usize::from(width)
            .saturating_sub(lead_width)
            .max(PARAGRAPH_MIN)
    });
    let mut lines = wrap(text, room).into_iter();
    let _ = writeln!(out, "{lead}{}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(out, "{:lead_width$}{line}", "");
    }
}

/// Breaks at blanks; a word longer than a line is broken where the line ends.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![];
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > room {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        if word.width() <= room || word.starts_with('\u{1b}') {
            line.push_str(word);
            continue;
        }
        for c in word.chars() {
            if line.width() >= room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

/// Joined, or `-`.
pub(crate) fn list(items: &[Text]) -> String {
    if items.is_empty() {
        "-".to_owned()
    } else {
        items
            .iter()
            .map(Text::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_broken_and_short_ones_kept_whole() {
        assert_eq!(wrap("to be or not", 5), ["to be", "or", "not"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 3), [""]);
    }
}
