//! `iaso events`.

use super::layout::hanging;
use super::style::{Style, Tone, date_time};
use crate::model::Event;

/// One journal entry. The sequence comes first: it is what `--since` takes.
pub(crate) fn event(style: &Style, event: &Event) -> String {
    let sequence = format!("{:>6}", event.sequence);
    let at = event.at.map_or_else(|| format!("{:<20}", "-"), date_time);
    let kind = format!("{:<9}", event.kind.to_string());
    let width = sequence.len() + 2 + at.len() + 2 + kind.chars().count() + 2;
    let lead = format!(
        "{sequence}  {at}  {}  ",
        style.paint(Tone::of(event.kind.raw()), &kind)
    );
    let about = [&event.node, &event.incident]
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    let text = if about.is_empty() {
        event.text.to_string()
    } else {
        format!("{}: {}", about.join(" "), event.text)
    };
    let mut out = String::new();
    hanging(&mut out, style, &lead, width, &text);
    out
}
