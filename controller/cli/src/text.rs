//! Text from outside: shown with control characters escaped and cut to a bound, kept whole for JSON and files.
//!
//! A finding's text is written by a plugin, on a node that may be broken. It must not move the cursor, set the window's title or
//! hide what follows it.

use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};

/// Most characters of one text that are shown.
pub(crate) const CHARS_MAX: usize = 2_000;

/// A string from the controller. `Display` is safe on a terminal; serialised, it is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(String);

impl Text {
    /// The string as it came, for comparisons and files; never for a terminal.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }

    /// Nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Safe on a terminal, and `-` when empty.
    pub(crate) fn or_dash(&self) -> String {
        if self.is_empty() {
            "-".to_owned()
        } else {
            self.to_string()
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, c) in self.0.chars().enumerate() {
            if index == CHARS_MAX {
                return f.write_str("… (cut)");
            }
            write_safe(f, c)?;
        }
        Ok(())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A document of many lines, such as a report: line breaks and tabs stay, everything else that could drive a terminal is escaped.
/// Not cut: its size is bounded by the largest message.
pub(crate) fn document(body: &str) -> String {
    let mut safe = String::with_capacity(body.len());
    for c in body.chars() {
        if c == '\n' || c == '\t' {
            safe.push(c);
        } else {
            write_safe(&mut safe, c).expect("writing to a String cannot fail");
        }
    }
    safe
}

/// JSON text with what `serde_json` leaves as it is (DEL, C1 controls, bidirectional overrides) written as `\uXXXX`, so that the
/// value is unchanged and the terminal sees ASCII. These characters can stand only inside a JSON string.
pub(crate) fn json(serialised: &str) -> String {
    let mut safe = String::with_capacity(serialised.len());
    for c in serialised.chars() {
        if c != '\n' && drives_a_terminal(c) {
            write!(safe, "\\u{:04x}", u32::from(c)).expect("writing to a String cannot fail");
        } else {
            safe.push(c);
        }
    }
    safe
}

fn write_safe(out: &mut impl fmt::Write, c: char) -> fmt::Result {
    if drives_a_terminal(c) {
        write!(out, "{}", c.escape_default())
    } else {
        out.write_char(c)
    }
}

/// Control characters, and the invisible ones that reorder or hide text. All lie in the basic plane.
fn drives_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escape_sequence_is_shown_not_obeyed() {
        let text = Text::from("\u{1b}]0;owned\u{7}\r\nok\u{9b}2J\u{202e}gpj");
        assert_eq!(
            text.to_string(),
            r"\u{1b}]0;owned\u{7}\r\nok\u{9b}2J\u{202e}gpj"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let shown = Text::from("x".repeat(CHARS_MAX + 1)).to_string();
        assert!(shown.ends_with("x… (cut)"));
        assert_eq!(shown.chars().count(), CHARS_MAX + "… (cut)".chars().count());
    }

    #[test]
    fn a_document_keeps_its_lines() {
        assert_eq!(document("# a\n\tb\u{1b}[2J\r\n"), "# a\n\tb\\u{1b}[2J\\r\n");
    }

    /// `any::<String>()` draws no control characters: these are mostly that.
    fn hostile() -> impl Strategy<Value = String> {
        let char = prop_oneof![
            proptest::char::range('\0', '\u{20}'),
            proptest::char::range('\u{7f}', '\u{a0}'),
            proptest::char::range('\u{2000}', '\u{2070}'),
            any::<char>(),
        ];
        proptest::collection::vec(char, 0..64).prop_map(String::from_iter)
    }

    proptest! {
        // Catches: a class of characters left out of `drives_a_terminal`.
        #[test]
        fn nothing_shown_holds_a_control_character(raw in hostile()) {
            prop_assert!(!Text::from(raw.clone()).to_string().chars().any(char::is_control));
            prop_assert!(!document(&raw).chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }

        // Catches: an escape that changes the value that a script reads.
        #[test]
        fn escaped_json_means_the_same(raw in hostile()) {
            let line = json(&serde_json::to_string(&Text::from(raw.clone())).expect("a string serialises"));
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&line).expect("still JSON"), raw);
        }
    }
}
