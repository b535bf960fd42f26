//! The report as Markdown.

use crate::report::Report;
use crate::report::summary::span;
use crate::time::Tick;
use std::fmt::Write;

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, r: &Report) -> std::fmt::Result {
    let total = span(r.until.since(r.since).as_secs());
    writeln!(
        page,
        "# Incident {}: {} is {}\n",
        r.incident,
        plain(r.node.as_str()),
        r.outcome
    )?;
    for sentence in &r.summary {
        writeln!(page, "{}", plain(sentence))?;
    }
    writeln!(page, "\n- Diagnosis: **{}**", r.diagnosis)?;
    writeln!(page, "- First bad fact: {}", utc(r.since))?;
    writeln!(page, "- Opened: {}", utc(r.opened))?;
    writeln!(page, "- Until: {} ({total} in all)", utc(r.until))?;
    writeln!(page, "- Recreates: {}", r.recreates)?;
    let p = &r.phases;
    writeln!(
        page,
        "\n## Time by phase\n\n| detect | decide | reboot | recreate | rejoin | verify |\n| --- | --- | --- | --- | --- | --- |"
    )?;
    writeln!(
        page,
        "| {} s | {} s | {} s | {} s | {} s | {} s |",
        p.detect_s, p.decide_s, p.reboot_s, p.recreate_s, p.rejoin_s, p.verify_s
    )?;
    writeln!(page, "\n## What was tried\n")?;
    if r.tried.is_empty() {
        writeln!(page, "Nothing.")?;
    }
    for t in &r.tried {
        let took = t
            .took_s
            .map_or_else(String::new, |s| format!(" after {s} s"));
        let end = t.result.as_deref().unwrap_or("under way");
        writeln!(
            page,
            "- **{}**, attempt {}: {}",
            plain(&t.rung),
            t.attempt,
            plain(&t.why)
        )?;
        writeln!(
            page,
            "  - {end}{took}: {}",
            plain(t.because.as_deref().unwrap_or("no word yet"))
        )?;
    }
    list(page, "Why it escalated", &r.escalation)?;
    let facts: Vec<String> = r
        .facts
        .iter()
        .map(|l| format!("{}: {}", utc(l.at), l.text))
        .collect();
    list(page, "Facts", &facts)?;
    let waited: Vec<String> = r
        .waited
        .iter()
        .filter(|w| w.seconds > 0)
        .map(|w| format!("{} s: {}", w.seconds, w.text))
        .collect();
    list(page, "What it waited for", &waited)?;
    list(page, "Deviations from the ladder", &r.deviations)?;
    list(page, "What was seen at the end", &r.verified)?;
    list(page, "What changed", &r.changed)?;
    let decisions: Vec<String> = r
        .decisions
        .iter()
        .map(|d| format!("{}: {}", utc(d.at), d.text))
        .collect();
    list(page, "Who decided", &decisions)?;
    if !r.would_have.is_empty() {
        let judged: Vec<String> = r.would_have.iter().map(judged).collect();
        list(page, "What observing alone would have done", &judged)?;
    }
    list(page, "Follow-ups", &r.follow_ups)?;
    writeln!(
        page,
        "\n## Timeline\n\n| when | what | |\n| --- | --- | --- |"
    )?;
    for line in &r.timeline {
        writeln!(
            page,
            "| {} | {} | {} |",
            utc(line.at),
            line.kind,
            plain(&line.text).replace('|', "\\|")
        )?;
    }
    if !r.cut.is_empty() {
        writeln!(page, "\nCut: {}.", r.cut)?;
    }
    Ok(())
}

fn judged(scored: &crate::score::Scored) -> String {
    format!(
        "{}: {}: {}, {}",
        utc(scored.at),
        scored.rung,
        scored.verdict.name(),
        scored.why
    )
}

fn list(page: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    writeln!(page, "\n## {title}\n")?;
    if lines.is_empty() {
        writeln!(page, "None.")?;
    }
    for line in lines {
        writeln!(page, "- {}", plain(line))?;
    }
    Ok(())
}

/// Text from plugins and providers must not become markup or new lines.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '*' | '`' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// `2026-11-24 00:13:07 UTC`, by the civil-from-days rule of the proleptic Gregorian calendar.
fn utc(at: Tick) -> String {
    let seconds = at.0 / 1_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days.saturating_add(719_468);
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era
        .saturating_add(era.saturating_mul(400))
        .saturating_add(u64::from(month <= 2));
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_written_as_utc() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_479_187, "2026-11-24 00:13:07 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
        ];
        for (seconds, expect) in cases {
            assert_eq!(utc(Tick(seconds * 1_000)), expect);
        }
    }

    #[test]
    fn text_from_outside_cannot_become_markup() {
        assert_eq!(
            plain("a\n# b <script> [x](y)"),
            "a # b &lt;script> \\[x\\](y)"
        );
    }
}
