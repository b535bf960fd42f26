//! How a run went, as data: lanes over time, incidents with their milestones and phases, what was held and why, and what the judge says.
//!
//! Made of the journal and of the model's own truth; the engine's report of each incident is the same one that an operator gets.

mod incident;
mod lanes;
mod words;

pub use incident::{IncidentStory, Milestone, Phases};
pub use lanes::{Kind, Lane, Span};

use crate::file::Loaded;
use crate::scenario::{Ms, SECOND, Scenario};
use crate::sim::Run;
use iaso_engine::effect::Action;
use iaso_engine::record::Record;
use iaso_engine::timeline::describe;
use serde::Serialize;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Story {
    /// The scenario's name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// Its seed.
    pub seed: u64,
    /// How many nodes it has.
    pub nodes: usize,
    /// When the run ended: nothing more followed by itself, or its time was up.
    pub ended_ms: Ms,
    /// What was of no single node: the controller, the API server, the provider.
    pub everywhere: Vec<Span>,
    /// Every node on which anything happened.
    pub lanes: Vec<Lane>,
    /// In the order in which they were opened.
    pub incidents: Vec<IncidentStory>,
    /// What was waited for, held or refused, and why.
    pub holds: Vec<Hold>,
    /// What was ordered.
    pub acts: Acts,
    /// Seconds from a fault to a node that is well in truth, of those on which Iaso acted.
    pub healed: Vec<Healed>,
    /// Journal and truth, in the order of time.
    pub timeline: Vec<Moment>,
    /// The independent reference's word.
    pub judge: Word,
    /// What did not come as the scenario's author expects.
    pub unmet: Vec<String>,
}

/// One reason for which an incident waited.
#[derive(Debug, Clone, Serialize)]
pub struct Hold {
    /// Whose.
    pub incident: String,
    /// Its short name.
    pub name: String,
    /// In words.
    pub why: String,
    /// Seconds in all.
    pub seconds: u64,
    /// Something was refused or held, not merely given time.
    pub refused: bool,
}

/// Orders by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Acts {
    /// Fixes.
    pub fixes: u64,
    /// Power-ons.
    pub starts: u64,
    /// Reboots.
    pub reboots: u64,
    /// Recreates.
    pub recreates: u64,
    /// Pages.
    pub pages: u64,
}

/// One recovery.
#[derive(Debug, Clone, Serialize)]
pub struct Healed {
    /// The fault's class.
    pub class: &'static str,
    /// Seconds.
    pub seconds: u64,
}

/// One line of the timeline.
#[derive(Debug, Clone, Serialize)]
pub struct Moment {
    /// When.
    pub at_ms: Ms,
    /// It is the model's truth, which nobody in the run sees; else it is in the journal.
    pub truth: bool,
    /// The journal's kind; `truth` for what really happened.
    pub kind: String,
    /// In words.
    pub text: String,
}

/// What the judge says.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Word {
    /// Nothing that must never happen did.
    pub clean: bool,
    /// What must never happen, and did.
    pub wrongs: Vec<String>,
    /// What an allowed rung would have healed and is down at the end, with the reason.
    pub missed: Vec<String>,
    /// Recreates of faults that would have passed by themselves: nobody could know.
    pub unforeseeable: u64,
}

/// Tells a run. What was really so is in it only if the run was told: see [`crate::sim::run_told`].
#[must_use]
pub fn tell(loaded: &Loaded, run: &Run) -> Story {
    let scenario = &loaded.scenario;
    let incidents = incident::all(scenario, run);
    let mut story = Story {
        name: loaded.name.clone(),
        about: loaded.about.clone(),
        seed: scenario.seed,
        nodes: scenario.nodes.len(),
        ended_ms: run.ended,
        everywhere: lanes::everywhere(scenario, run),
        lanes: lanes::all(scenario, run, &loaded.zones),
        holds: incidents
            .iter()
            .flat_map(|(_, holds)| holds.clone())
            .collect(),
        incidents: incidents
            .into_iter()
            .map(|(incident, _)| incident)
            .collect(),
        acts: acts(run),
        healed: healed(run),
        timeline: timeline(scenario, run),
        judge: judge(run),
        unmet: Vec::new(),
    };
    if let Some(expect) = &loaded.expect {
        story.unmet = expect.unmet(&story);
    }
    story
}

impl Story {
    /// Nothing that must never happen did, and what was expected came.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.judge.clean && self.unmet.is_empty()
    }
}

fn acts(run: &Run) -> Acts {
    let mut acts = Acts::default();
    for entry in &run.entries {
        let Record::Intended { effect } = &entry.record else {
            continue;
        };
        let count = match effect.action {
            Action::ApplyFix { .. } => &mut acts.fixes,
            Action::Start => &mut acts.starts,
            Action::Reboot => &mut acts.reboots,
            Action::Recreate { .. } => &mut acts.recreates,
            Action::Page { .. } => &mut acts.pages,
            Action::Remember
            | Action::Cordon
            | Action::Rescue { .. }
            | Action::LeaveRescue
            | Action::StorePassword
            | Action::PrepareScript
            | Action::Release
            | Action::Restore { .. }
            | Action::Uncordon
            | Action::PromotePassword { .. }
            | Action::DiscardPassword { .. }
            | Action::Cleanup { .. } => continue,
        };
        *count = count.saturating_add(1);
    }
    acts
}

fn healed(run: &Run) -> Vec<Healed> {
    let all = run.verdict.recovered.iter();
    all.map(|(class, span)| Healed {
        class,
        seconds: span / SECOND,
    })
    .collect()
}

fn timeline(scenario: &Scenario, run: &Run) -> Vec<Moment> {
    let journal = run.entries.iter().zip(&run.moments).map(|(entry, at)| {
        let line = describe(entry);
        Moment {
            at_ms: *at,
            truth: false,
            kind: line.kind,
            text: line.text,
        }
    });
    let truth = words::truth(scenario, run);
    // Of the same moment: first what happened, then what was made of it.
    let mut all: Vec<Moment> = truth.into_iter().chain(journal).collect();
    all.sort_by_key(|moment| moment.at_ms);
    all
}

fn judge(run: &Run) -> Word {
    let verdict = &run.verdict;
    let wrongs = verdict.wrongs().map(|(kind, wrong)| {
        format!(
            "{kind} on {} at {} s: {}",
            wrong.node,
            wrong.at / SECOND,
            wrong.what
        )
    });
    let broken = (verdict.broken > 0)
        .then(|| format!("broken {} times: journal or planner", verdict.broken));
    Word {
        clean: verdict.is_clean(),
        wrongs: wrongs.chain(broken).collect(),
        missed: verdict
            .missed
            .iter()
            .map(|(wrong, why)| format!("{}: {} ({why})", wrong.node, wrong.what))
            .collect(),
        unforeseeable: verdict.unforeseeable,
    }
}
