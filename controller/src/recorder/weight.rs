//! About how much memory an observation takes: for bounds, not for bills.

use iaso_engine::fact::Observation;

/// What any observation takes.
const LEAST: usize = 160;

pub(super) fn of(observation: &Observation) -> usize {
    let more = match observation {
        Observation::Report {
            findings, fault, ..
        } => {
            let found: usize = findings
                .iter()
                .map(|finding| {
                    let attributes: usize = finding
                        .attributes
                        .iter()
                        .map(|(key, value)| {
                            key.len().saturating_add(value.len()).saturating_add(64)
                        })
                        .sum();
                    let remedies: usize = finding.remedies.iter().map(|r| r.len() + 32).sum();
                    finding.summary.len() + finding.subject.len() + attributes + remedies + 160
                })
                .sum();
            found + fault.as_ref().map_or(0, |fault| fault.message.len())
        }
        Observation::Kube { seen, .. } => {
            160 + seen
                .local_data
                .iter()
                .map(|text| text.len() + 32)
                .sum::<usize>()
        }
        Observation::Probed { results, .. } => results.len().saturating_mul(80),
        Observation::AgentConnected { .. }
        | Observation::AgentLost { .. }
        | Observation::AgentHeartbeat { .. }
        | Observation::KubeApi { .. }
        | Observation::Machine { .. }
        | Observation::Metrics { .. }
        | Observation::Store { .. }
        | Observation::SecretStore { .. } => 64,
    };
    more.saturating_add(LEAST)
}
