//! What the readings mean.

use iaso_plugin::{Finding, Severity};

use crate::look::{Keeper, Reading, Sight};
use crate::settings::Settings;

const CLOCK: &str = "this host's clock";

pub(crate) fn judge(settings: &Settings, sight: &Sight) -> Vec<Finding> {
    let mut findings = vec![of_clock(settings, sight)];
    findings.extend(of_keeper(&sight.keeper));
    if let Some(first) = findings.first_mut() {
        first.attributes.extend(evidence(sight));
    }
    findings
}

fn of_clock(settings: &Settings, sight: &Sight) -> Finding {
    let mut offsets: Vec<(i64, i64)> = sight
        .readings
        .iter()
        .filter_map(|(_, reading)| match reading {
            Reading::Offset {
                offset_ms,
                error_ms,
            } => Some((*offset_ms, *error_ms)),
            Reading::Unseen(_) => None,
        })
        .collect();
    offsets.sort_unstable();
    if offsets.len() < settings.quorum {
        let summary = format!(
            "{} of {} sources told their time, and {} must agree: the clock is not known to be right",
            offsets.len(),
            sight.readings.len(),
            settings.quorum
        );
        return Finding::unknown("clock-skew.unknown", CLOCK, summary);
    }
    let Some(agreed) = agreement(settings, &offsets) else {
        let summary = format!(
            "{} sources told their time, and fewer than {} agree: one of them is wrong, or something on the way answers for them",
            offsets.len(),
            settings.quorum
        );
        return Finding::unknown("clock-skew.sources-disagree", CLOCK, summary);
    };
    let (offset_ms, error_ms) = middle(agreed);
    let sure_ms = offset_ms
        .unsigned_abs()
        .saturating_sub(error_ms.unsigned_abs());
    let over = |limit: std::time::Duration| u128::from(sure_ms) >= limit.as_millis();
    let severity = if over(settings.skew_critical) {
        Severity::Critical
    } else if over(settings.skew_warn) {
        Severity::Warning
    } else {
        let summary = format!("{} sources agree with it to the second or so", agreed.len());
        return Finding::ok("clock-skew.ok", CLOCK, summary)
            .attribute("offset-ms", offset_ms.to_string());
    };
    let side = if offset_ms > 0 { "behind" } else { "ahead of" };
    let summary = format!(
        "it is {} s {side} {} sources that agree: certificates and tokens are refused by it; start its time service, and step the clock",
        offset_ms.unsigned_abs().div_ceil(1000),
        agreed.len()
    );
    Finding::new("clock-skew.skewed", severity, CLOCK, summary)
        .attribute("offset-ms", offset_ms.to_string())
}

/// The largest run of sources that are near to each other, if it makes a quorum and no other run is as large.
fn agreement<'a>(settings: &Settings, offsets: &'a [(i64, i64)]) -> Option<&'a [(i64, i64)]> {
    let near = i64::try_from(settings.agreement.as_millis()).unwrap_or(i64::MAX);
    let run = |from: usize| {
        let rest = offsets.get(from..).unwrap_or_default();
        let first = rest.first().map_or(0, |(offset, _)| *offset);
        let length = rest
            .iter()
            .take_while(|(offset, _)| offset.saturating_sub(first) <= near)
            .count();
        rest.get(..length).unwrap_or_default()
    };
    let best = (0..offsets.len()).map(run).max_by_key(|run| run.len())?;
    let last = best.last()?.0;
    let is_split = (0..offsets.len()).map(run).any(|other| {
        other.len() == best.len() && other.first().is_some_and(|(offset, _)| *offset > last)
    }) || (0..offsets.len()).map(run).any(|other| {
        other.len() == best.len()
            && other
                .last()
                .is_some_and(|(offset, _)| best.first().is_some_and(|(first, _)| offset < first))
    });
    (best.len() >= settings.quorum && !is_split).then_some(best)
}

fn middle(offsets: &[(i64, i64)]) -> (i64, i64) {
    offsets.get(offsets.len() / 2).copied().unwrap_or((0, 0))
}

fn of_keeper(keeper: &Keeper) -> Option<Finding> {
    Some(match keeper {
        Keeper::Running(_) | Keeper::NotAsked | Keeper::Unseen(_) => return None,
        Keeper::Waiting(unit) => {
            let summary = "it runs, and has not reached a time server since the boot: UDP port 123, or the servers it was given";
            Finding::warning("clock-skew.not-synchronized", unit, summary)
        }
        Keeper::Nobody => {
            let summary = "nothing keeps this host's clock: enable systemd-timesyncd or chrony, or name the unit with `time_units`";
            Finding::warning("clock-skew.no-time-service", "time service", summary)
        }
    })
}

fn evidence(sight: &Sight) -> Vec<(String, String)> {
    let keeper = match &sight.keeper {
        Keeper::Running(unit) | Keeper::Waiting(unit) => unit.clone(),
        Keeper::Nobody => "none".to_owned(),
        Keeper::Unseen(why) => format!("not looked at: {why}"),
        Keeper::NotAsked => "not asked".to_owned(),
    };
    let mut evidence = vec![("time service".to_owned(), keeper)];
    evidence.extend(sight.readings.iter().take(24).map(|(url, reading)| {
        let text = match reading {
            Reading::Offset {
                offset_ms,
                error_ms,
            } => format!("{offset_ms} ms, give or take {error_ms}"),
            Reading::Unseen(why) => format!("not known: {why}"),
        };
        (url.clone(), text)
    }));
    evidence
}
