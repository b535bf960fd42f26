//! What the operator's policy says of a node, read from the policy's values alone: the checker's own reading, not the engine's.

use iaso_engine::id::NodeName;
use iaso_engine::plan::Situation;
use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::policy::window::{Day, Window};
use iaso_engine::policy::{Mode, Override};
use iaso_engine::record::Diagnosis;

/// What the node's own table says of a key, else what its role's does.
pub(crate) fn over<T>(
    s: &Situation<'_>,
    node: &NodeName,
    pick: impl Fn(&Override) -> Option<T>,
) -> Option<T> {
    let own = s.policy.nodes.get(node).and_then(&pick);
    own.or_else(|| {
        let role = s.inventory.nodes.get(node)?.role;
        s.policy.roles.get(&role).and_then(&pick)
    })
}

/// The ladder that the operator wrote for a diagnosis, if any.
fn written(s: &Situation<'_>, node: &NodeName, diagnosis: Diagnosis) -> Option<Vec<Step>> {
    over(s, node, |o| o.ladder.get(&diagnosis).cloned())
        .or_else(|| s.policy.ladder.get(&diagnosis).cloned())
}

fn step(
    s: &Situation<'_>,
    node: &NodeName,
    diagnosis: Option<Diagnosis>,
    kind: StepKind,
) -> Option<Step> {
    let steps = written(s, node, diagnosis?)?;
    steps.into_iter().find(|step| step.rung == kind)
}

pub(crate) fn mode(
    s: &Situation<'_>,
    node: &NodeName,
    diagnosis: Option<Diagnosis>,
    kind: StepKind,
) -> Mode {
    let of_step = step(s, node, diagnosis, kind).and_then(|step| step.mode);
    let p = s.policy;
    of_step.unwrap_or_else(|| match kind {
        StepKind::Fix => over(s, node, |o| o.fix).unwrap_or(p.fix),
        StepKind::Start => over(s, node, |o| o.start).unwrap_or(p.start),
        StepKind::Reboot => over(s, node, |o| o.reboot).unwrap_or(p.reboot),
        StepKind::Rescue => over(s, node, |o| o.rescue).unwrap_or(p.rescue),
        StepKind::Recreate => over(s, node, |o| o.recreate).unwrap_or(p.recreate),
        StepKind::Page => Mode::Auto,
    })
}

pub(crate) fn recreate_cooldown_secs(
    s: &Situation<'_>,
    node: &NodeName,
    diagnosis: Option<Diagnosis>,
) -> u64 {
    let of_step = step(s, node, diagnosis, StepKind::Recreate).and_then(|step| step.cooldown_secs);
    of_step
        .or_else(|| over(s, node, |o| o.recreate_cooldown_secs))
        .unwrap_or(s.policy.recreate_cooldown_secs)
}

pub(crate) fn fix_attempts(
    s: &Situation<'_>,
    node: &NodeName,
    diagnosis: Option<Diagnosis>,
) -> u32 {
    let of_step = step(s, node, diagnosis, StepKind::Fix).and_then(|step| step.attempts);
    of_step
        .or_else(|| over(s, node, |o| o.fix_attempts))
        .unwrap_or(s.policy.fix_attempts)
}

/// Whether a critical finding is to be acted on.
pub(crate) fn acts_on(s: &Situation<'_>, node: &NodeName, code: &str) -> bool {
    let own = over(s, node, |o| o.act_on.clone());
    let patterns = own.as_ref().unwrap_or(&s.policy.act_on);
    patterns.iter().any(|pattern| {
        let prefix = pattern.strip_suffix('*');
        prefix.map_or(pattern == code, |prefix| code.starts_with(prefix))
    })
}

/// Some ladder for a machine that answers has a reboot: the usual one for a hung machine does.
pub(crate) fn may_reboot_alive(s: &Situation<'_>, node: &NodeName) -> bool {
    let says = |diagnosis, unless: bool| {
        written(s, node, diagnosis).map_or(unless, |steps| {
            steps.iter().any(|step| step.rung == StepKind::Reboot)
        })
    };
    says(Diagnosis::Hung, true) || says(Diagnosis::K3sAgentDown, false)
}

/// Windows name this rung, and none of them is open.
pub(crate) fn is_shut(s: &Situation<'_>, node: &NodeName, kind: StepKind) -> bool {
    let windows = over(s, node, |o| o.windows.clone()).unwrap_or_else(|| s.policy.windows.clone());
    let mut named = windows
        .iter()
        .filter(|w| w.rungs.contains(&kind))
        .peekable();
    named.peek().is_some() && !named.any(|w| is_open(s.now.0 / 60_000, w))
}

/// Minute by minute of the week: Monday 00:00 by the window's clock is 0.
fn is_open(unix_minute: u64, window: &Window) -> bool {
    const WEEK: i64 = 7 * 1_440;
    // 1970-01-01 was a Thursday: three days into the week.
    let local = i64::try_from(unix_minute)
        .unwrap_or(i64::MAX / 2)
        .saturating_add(i64::from(window.utc_offset.minutes))
        .saturating_add(3 * 1_440);
    let minute = local.rem_euclid(WEEK);
    let (from, to) = (i64::from(window.from.minutes), i64::from(window.to.minutes));
    let long = if to > from {
        to - from
    } else {
        to + 1_440 - from
    };
    let days = [
        Day::Mon,
        Day::Tue,
        Day::Wed,
        Day::Thu,
        Day::Fri,
        Day::Sat,
        Day::Sun,
    ];
    (0_i64..).zip(days).any(|(n, day)| {
        let named = window.days.is_empty() || window.days.contains(&day);
        let opened_for = (minute - (n * 1_440 + from)).rem_euclid(WEEK);
        named && opened_for < long
    })
}
