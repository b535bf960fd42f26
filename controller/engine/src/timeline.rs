//! One readable line for every journal entry.

use crate::effect::{Action, Outcome, Remembered, Yield};
use crate::id::NodeName;
use crate::record::{Closing, Entry, Record};
use crate::time::Tick;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Tick,
    /// `fact`, `diagnosis`, `decision`, `intent`, `outcome`, `waiting`, `approval` or `note`.
    pub kind: String,
    /// For a person.
    pub text: String,
}

/// The line of an entry.
#[must_use]
pub fn describe(entry: &Entry) -> Line {
    Line {
        at: entry.at,
        kind: kind(&entry.record).to_owned(),
        text: text(&entry.record),
    }
}

fn kind(record: &Record) -> &'static str {
    match record {
        Record::ControllerStarted { .. } => "note",
        Record::Noted { .. } => "fact",
        Record::IncidentOpened { .. } | Record::Diagnosed { .. } => "diagnosis",
        Record::WaitingChanged { .. } => "waiting",
        Record::RungStarted { .. }
        | Record::RungEnded { .. }
        | Record::WouldHave { .. }
        | Record::Verifying { .. }
        | Record::VerifyFailed { .. }
        | Record::Parked { .. }
        | Record::Closed { .. } => "decision",
        Record::Intended { .. } => "intent",
        Record::Resolved { .. } => "outcome",
        Record::Approved { .. }
        | Record::Denied { .. }
        | Record::Paused { .. }
        | Record::Resumed { .. } => "approval",
    }
}

fn text(record: &Record) -> String {
    match record {
        Record::ControllerStarted { version, term } => {
            format!("controller {version} began to lead, term {term}")
        }
        Record::Noted { node, text, .. } => match node {
            Some(node) => format!("{node}: {text}"),
            None => text.clone(),
        },
        Record::IncidentOpened {
            incident,
            node,
            diagnosis,
            evidence,
            ..
        } => {
            format!(
                "{incident} opened for {node}: {diagnosis} ({})",
                evidence.join("; ")
            )
        }
        Record::Diagnosed {
            incident,
            diagnosis,
            evidence,
        } => {
            format!("{incident} is now {diagnosis} ({})", evidence.join("; "))
        }
        Record::WaitingChanged { incident, waiting } => waits(incident.as_str(), waiting),
        Record::RungStarted {
            incident,
            rung,
            attempt,
            why,
        } => {
            format!("{incident} begins {rung}, attempt {attempt}: {why}")
        }
        Record::RungEnded {
            incident,
            rung,
            result,
            why,
        } => {
            format!("{incident} ends {rung}, {result}: {why}")
        }
        Record::WouldHave {
            incident,
            rung,
            why,
        } => {
            format!("{incident} would have taken {rung}, but only observes: {why}")
        }
        Record::Intended { effect } => {
            format!(
                "{} on {}: {}",
                effect.id,
                effect.node,
                action(&effect.action)
            )
        }
        Record::Resolved {
            effect,
            outcome: result,
        } => format!("{effect} {}", outcome(result)),
        Record::Approved {
            incident,
            rung,
            who,
            reason,
        } => {
            format!("{who} approved {rung} for {incident}: {reason}")
        }
        Record::Denied {
            incident,
            rung,
            who,
            reason,
        } => {
            format!("{who} denied {rung} for {incident}: {reason}")
        }
        Record::Paused { node, who, reason } => {
            format!("{who} paused {}: {reason}", scope(node.as_ref()))
        }
        Record::Resumed { node, who, reason } => {
            format!("{who} resumed {}: {reason}", scope(node.as_ref()))
        }
        Record::Verifying { incident, why } => format!("{incident} is being verified: {why}"),
        Record::VerifyFailed { incident, why } => {
            format!("{incident} is not well after all: {why}")
        }
        Record::Parked { incident, why } => format!("{incident} is parked: {why}"),
        Record::Closed {
            incident, closing, ..
        } => match closing {
            Closing::Recovered => format!("{incident} closed: recovered and verified"),
            Closing::RecoveredByItself => {
                format!("{incident} closed: the node recovered by itself")
            }
        },
    }
}

fn waits(incident: &str, waiting: &[crate::record::Waiting]) -> String {
    if waiting.is_empty() {
        return format!("{incident} waits for nothing");
    }
    let reasons: Vec<String> = waiting.iter().map(ToString::to_string).collect();
    format!("{incident} waits: {}", reasons.join("; "))
}

fn scope(node: Option<&NodeName>) -> &str {
    node.map_or("all nodes", NodeName::as_str)
}

/// A number of things in words: "1 label", "2 labels".
#[must_use]
pub fn counted(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// What Kubernetes knew about a node, in words.
#[must_use]
pub fn belongings(remembered: &Remembered) -> String {
    format!(
        "{}, {} and {}",
        counted(remembered.labels.len(), "label"),
        counted(remembered.taints.len(), "taint"),
        counted(remembered.annotations.len(), "annotation")
    )
}

/// An action in words; never a secret, for none passes through the engine.
#[must_use]
pub fn action(action: &Action) -> String {
    match action {
        Action::ApplyFix { plugin, fix } => format!("ask the agent for fix {fix} of {plugin}"),
        Action::Reboot => "reboot by the provider".into(),
        Action::Start => "power on by the provider".into(),
        Action::Rescue { password_key } => {
            format!("boot the provider's rescue image (password {password_key})")
        }
        Action::LeaveRescue => "boot the machine's own disk again".into(),
        Action::Remember => "write down labels, taints, annotations and version".into(),
        Action::Cordon => "cordon".into(),
        Action::StorePassword => {
            "draw a root password, store it as pending and read it back".into()
        }
        Action::PrepareScript => "make a short-lived join token and the post-install script".into(),
        Action::Recreate {
            password_key,
            script,
        } => {
            format!("recreate the machine (password {password_key}, script {script})")
        }
        Action::Release => {
            "release what the old machine held: stuck pods, volumes, node password".into()
        }
        Action::Restore { remembered } => format!("restore {}", belongings(remembered)),
        Action::Uncordon => "uncordon".into(),
        Action::PromotePassword { password_key } => format!("make password {password_key} current"),
        Action::DiscardPassword { password_key } => {
            format!("forget password {password_key}, which was never used")
        }
        Action::Cleanup { script, token } => {
            format!("delete post-install script {script} and join token {token}")
        }
        Action::Page { message } => format!("page: {message}"),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { detail, yielded } => match yielded {
            Yield::Fix { result } => format!("done, {result}: {detail}"),
            Yield::Reboot { proven: Some(true) } => format!("done, proven by uptime: {detail}"),
            Yield::Reboot {
                proven: Some(false),
            } => {
                format!("done by the provider's word, but uptime did not fall: {detail}")
            }
            Yield::Reboot { proven: None }
            | Yield::Nothing
            | Yield::Remembered { .. }
            | Yield::Password { .. }
            | Yield::Script { .. } => format!("done: {detail}"),
        },
        Outcome::Failed { detail } => format!("failed: {detail}"),
        Outcome::NotStarted { class, detail } => format!("did not begin ({class}): {detail}"),
        Outcome::InDoubt { detail } => format!("in doubt: {detail}"),
        Outcome::Started {
            operation: Some(op),
        } => {
            format!("accepted as operation {} ({})", op.id, op.name)
        }
        Outcome::Started { operation: None } => "accepted".into(),
    }
}
