//! Faults of a file as strikes of a scenario. A key that a kind does not have is an error.

use crate::file::text::{FaultText, HealText, Kind, TroubleText};
use crate::scenario::{Fault, Heal, Ix, NodeSetup, SECOND, Strike, Trouble};
use std::collections::BTreeMap;

/// Most strikes of one scenario, repetitions counted.
const STRIKES_MAX: usize = 1_000;
/// Most fixes that one finding names, and the longest name of one, in bytes.
const REMEDIES_MAX: usize = 16;
const NAME_MAX: usize = 63;

pub(super) fn strikes(faults: &[FaultText], nodes: &[NodeSetup]) -> Result<Vec<Strike>, String> {
    let mut all = Vec::new();
    let mut causes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut last_cause = 0_u32;
    for (n, text) in faults.iter().enumerate() {
        let at = |what: String| format!("faults[{n}]{what}");
        let fault = kind(text).map_err(at)?;
        let on = places(text, fault, nodes).map_err(at)?;
        bounds(text, fault).map_err(at)?;
        let mut new_cause = || {
            last_cause = last_cause.saturating_add(1);
            last_cause
        };
        let cause = match &text.cause {
            Some(word) => *causes.entry(word).or_insert_with(&mut new_cause),
            None => new_cause(),
        };
        let (times, every) = text.repeat.map_or((1, 0), |r| (r.times, r.every_secs));
        for nth in 0..times {
            let later = every.saturating_mul(u64::from(nth));
            let begins = text.at_secs.saturating_add(later);
            let ends = text.for_secs.map(|span| begins.saturating_add(span));
            all.push(Strike {
                at: begins.saturating_mul(SECOND),
                until: ends.map(|secs| secs.saturating_mul(SECOND)),
                fault,
                nodes: on.clone(),
                heal: Heal {
                    fix: text.fix.clone(),
                    start: text.healed_by.contains(&HealText::Start),
                    reboot: text.healed_by.contains(&HealText::Reboot),
                    recreate: text.healed_by.contains(&HealText::Recreate),
                },
                remedies: text.remedies.clone(),
                cause,
            });
        }
        if all.len() > STRIKES_MAX {
            return Err(at(format!(
                ": more than {STRIKES_MAX} faults in all, repetitions counted: leave some out"
            )));
        }
    }
    all.sort_by_key(|strike| strike.at);
    Ok(all)
}

fn kind(text: &FaultText) -> Result<Fault, String> {
    only_where_meant(text)?;
    let needed = |key: &str| format!(".{key} is missing: this kind of fault needs it");
    Ok(match text.fault {
        Kind::Cut => Fault::Cut,
        Kind::Hang => Fault::Hang,
        Kind::PowerOff => Fault::PowerOff,
        Kind::K3sDown => Fault::K3sDown,
        Kind::KubeletSilent => Fault::KubeletSilent,
        Kind::Check => Fault::Check,
        Kind::AgentDead => Fault::AgentDead,
        Kind::Stalled => Fault::Stalled,
        Kind::PluginBroken => Fault::PluginBroken,
        Kind::Sluggish => Fault::Sluggish(text.percent.ok_or_else(|| needed("percent"))?),
        Kind::Path => Fault::Path {
            controller: text.controller.unwrap_or(false),
            peers_percent: text.peers_percent.unwrap_or(0),
            session: text.session.unwrap_or(false),
            api: text.api.unwrap_or(false),
        },
        Kind::ZoneSplit => Fault::ZoneSplit,
        Kind::Blind => Fault::Blind {
            fit: text.fit.unwrap_or(true),
        },
        Kind::ControllerCut => Fault::ControllerCut {
            provider: text.provider.unwrap_or(false),
        },
        Kind::ApiDown => Fault::ApiDown,
        Kind::ApiOverload => Fault::ApiOverload,
        Kind::LeaseFrozen => Fault::LeaseFrozen,
        Kind::ReadyLatched => Fault::ReadyLatched,
        Kind::ProviderTrouble => {
            let trouble = text.trouble.ok_or_else(|| needed("trouble"))?;
            Fault::ProviderTrouble(in_trouble(trouble))
        }
        Kind::Suspended => Fault::Suspended,
        Kind::Locked => Fault::Locked,
        Kind::SaysRunning => Fault::SaysRunning,
        Kind::SaysStopped => Fault::SaysStopped,
        Kind::SecretStore => Fault::SecretStore,
        Kind::Journal => Fault::Journal,
        Kind::Paused => Fault::Paused,
        Kind::Crash => Fault::Crash {
            clock_ms: text.clock_secs.unwrap_or(0).saturating_mul(1_000),
        },
    })
}

fn in_trouble(text: TroubleText) -> Trouble {
    match text {
        TroubleText::Unauthorized => Trouble::Unauthorized,
        TroubleText::Forbidden => Trouble::Forbidden,
        TroubleText::NotFound => Trouble::NotFound,
        TroubleText::RateLimited => Trouble::RateLimited,
        TroubleText::Server => Trouble::Server,
        TroubleText::Silence => Trouble::Silence,
    }
}

fn only_where_meant(text: &FaultText) -> Result<(), String> {
    let found = matches!(text.fault, Kind::K3sDown | Kind::Check);
    let rules = [
        (
            "percent",
            text.percent.is_some(),
            text.fault == Kind::Sluggish,
            "sluggish",
        ),
        (
            "peers_percent",
            text.peers_percent.is_some(),
            text.fault == Kind::Path,
            "path",
        ),
        (
            "controller",
            text.controller.is_some(),
            text.fault == Kind::Path,
            "path",
        ),
        (
            "session",
            text.session.is_some(),
            text.fault == Kind::Path,
            "path",
        ),
        ("api", text.api.is_some(), text.fault == Kind::Path, "path"),
        (
            "provider",
            text.provider.is_some(),
            text.fault == Kind::ControllerCut,
            "controller-cut",
        ),
        (
            "fit",
            text.fit.is_some(),
            text.fault == Kind::Blind,
            "blind",
        ),
        (
            "trouble",
            text.trouble.is_some(),
            text.fault == Kind::ProviderTrouble,
            "provider-trouble",
        ),
        (
            "clock_secs",
            text.clock_secs.is_some(),
            text.fault == Kind::Crash,
            "crash",
        ),
        ("fix", text.fix.is_some(), found, "k3s-down and check"),
        (
            "remedies",
            !text.remedies.is_empty(),
            found,
            "k3s-down and check",
        ),
    ];
    for (key, said, meant, whose) in rules {
        if said && !meant {
            return Err(format!(".{key} is a key of {whose} only: remove it"));
        }
    }
    Ok(())
}

fn places(text: &FaultText, fault: Fault, nodes: &[NodeSetup]) -> Result<Vec<Ix>, String> {
    if fault.is_global() && !text.nodes.is_empty() {
        return Err(".nodes: this fault is of no node: remove the key".into());
    }
    if !fault.is_global() && text.nodes.is_empty() {
        return Err(".nodes is missing: name the nodes that it strikes".into());
    }
    if fault.is_global() && !text.healed_by.is_empty() {
        return Err(
            ".healed_by: no act on a node heals this: remove the key, and say for_secs".into(),
        );
    }
    let mut all = Vec::new();
    for name in &text.nodes {
        match nodes.binary_search_by(|setup| setup.name.cmp(name)) {
            Ok(ix) => all.push(Ix(ix)),
            Err(_) => {
                return Err(format!(
                    ".nodes names {name}, which no [[nodes]] declares: correct the name"
                ));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn bounds(text: &FaultText, fault: Fault) -> Result<(), String> {
    let within = super::within;
    within(".at_secs", text.at_secs, 0, super::RUN_SECS_MAX)?;
    within(
        ".for_secs",
        text.for_secs.unwrap_or(1),
        1,
        super::RUN_SECS_MAX,
    )?;
    for (key, percent) in [
        (".percent", text.percent),
        (".peers_percent", text.peers_percent),
    ] {
        within(key, percent.unwrap_or(0).into(), 0, 100)?;
    }
    if matches!(fault, Fault::Crash { .. }) && text.for_secs.is_none() {
        return Err(".for_secs is missing: say for how long the controller is away".into());
    }
    if let Some(repeat) = text.repeat {
        within(".repeat.times", repeat.times.into(), 1, 100)?;
        within(
            ".repeat.every_secs",
            repeat.every_secs,
            1,
            super::RUN_SECS_MAX,
        )?;
        if text.for_secs.is_none_or(|span| span >= repeat.every_secs) {
            return Err(
                ".repeat: each time must end before the next: say for_secs, below every_secs"
                    .into(),
            );
        }
    }
    let skew = text.clock_secs.unwrap_or(0).unsigned_abs();
    within(".clock_secs", skew, 0, 86_400)?;
    let names = text.fix.iter().chain(&text.remedies);
    let bad = |name: &&String| {
        name.is_empty()
            || name.len() > NAME_MAX
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if text.remedies.len() > REMEDIES_MAX {
        return Err(format!(".remedies: at most {REMEDIES_MAX}"));
    }
    match names.clone().find(bad) {
        Some(name) => Err(format!(
            ": {name:?} is no name of a fix: 1 to {NAME_MAX} letters, digits and '-', such as restart"
        )),
        None => Ok(()),
    }
}
