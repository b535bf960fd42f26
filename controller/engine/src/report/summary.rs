//! The first lines of a report: what happened, what was done, how it ended, and whether anybody was needed.

use crate::record::Diagnosis;
use crate::report::Report;

/// One sentence each, in the order in which a person asks.
pub(super) fn sentences(r: &Report) -> Vec<String> {
    let mut all = vec![format!(
        "{} was {}: {}.",
        r.node,
        r.diagnosis,
        meaning(r.diagnosis)
    )];
    all.push(deeds(r));
    let took = span(r.until.since(r.since).as_secs());
    all.push(match r.outcome.as_str() {
        "recovered" => format!("It was verified well {took} after the first bad fact."),
        "recovered-by-itself" => {
            format!("It was well again {took} after the first bad fact, without a disruptive act of Iaso's.")
        }
        "parked" => format!("It is parked after {took}: a person must decide; see the follow-ups."),
        _ => format!("It is still open after {took}."),
    });
    all.push(match r.decisions.len() {
        0 => "No person decided anything.".into(),
        1 => "One decision was a person's.".into(),
        n => format!("{n} decisions were a person's."),
    });
    all
}

fn deeds(r: &Report) -> String {
    if r.tried.is_empty() {
        return "Iaso changed nothing.".into();
    }
    let told = r.tried.iter().map(|t| {
        let result = t.result.as_deref().unwrap_or("under way");
        format!("{} ({result})", t.rung)
    });
    format!("Iaso tried: {}.", told.collect::<Vec<_>>().join(", "))
}

/// What a diagnosis means to somebody who was asleep.
fn meaning(diagnosis: Diagnosis) -> &'static str {
    match diagnosis {
        Diagnosis::Healthy => "every channel said that it was well",
        Diagnosis::Unknown => "too little was known to say what was wrong",
        Diagnosis::K3sAgentDown => {
            "the machine ran and its agent answered, but Kubernetes heard nothing from its kubelet"
        }
        Diagnosis::CheckFailing => "the node ran, and a check found a fault on it",
        Diagnosis::NotReady => {
            "its kubelet lived and said for a long time that the node was not Ready"
        }
        Diagnosis::Hung => {
            "the machine answered everybody, and neither its agent nor its kubelet lived: what ran on it hung"
        }
        Diagnosis::Flapping => "it came back and went away again, several times",
        Diagnosis::AgentLost => "its agent was gone, and the node itself was fine",
        Diagnosis::PartialPartition => {
            "some reached it and some did not, or nobody did although its agent spoke"
        }
        Diagnosis::Isolated => {
            "nobody reached it while the provider said that it ran; nothing inside the machine can see or mend that"
        }
        Diagnosis::PoweredOff => "the provider said that it was powered off",
        Diagnosis::ProviderTrouble => {
            "the provider had blocked the machine or was in trouble itself"
        }
        Diagnosis::ProviderUnknown => {
            "nobody reached it, and what the provider knew of it could not be learned"
        }
        Diagnosis::GoneNoProvider => "nobody reached it, and there is no provider to ask",
        Diagnosis::ControllerCutOff => {
            "the controller reached none of the nodes it had lost: it may have been the one cut off"
        }
        Diagnosis::Storm => "too many nodes were down at once for one of them to be the cause",
        Diagnosis::NeverJoined => "it was declared and never seen",
    }
}

/// `47 s`, `12 min 3 s`, `3 h 5 min`.
pub(super) fn span(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_at_a_glance() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (723, "12 min 3 s"),
            (7_200, "2 h"),
            (11_100, "3 h 5 min"),
        ];
        for (seconds, expect) in cases {
            assert_eq!(span(seconds), expect);
        }
    }
}
