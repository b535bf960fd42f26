//! Telling people: once for each matter in an incident, with the facts, what is left behind, and where to read on.

use crate::diagnose::Assessment;
use crate::effect::Action;
use crate::id::NodeName;
use crate::ledger::{EffectState, Incident};
use crate::plan::work::Work;
use crate::record::{Diagnosis, Record, Rung, RungResult, Waiting};
use crate::saga;
use std::time::Duration;

impl Work<'_> {
    pub(super) fn tell(&mut self, incident: &Incident, why: String) {
        let why = self.of_whole_cluster().map_or(why, ToOwned::to_owned);
        self.explain_unknown(incident);
        // One page for what holds the whole cluster or is a provider's trouble, not one for each node.
        let first = self
            .all
            .nodes
            .iter()
            .find(|(name, a)| self.shares(name, a))
            .is_none_or(|(name, _)| name == self.name);
        if first && !self.flapping_is_known() {
            let domain = self.all.domains.get(self.name);
            let shared = domain.map_or_else(String::new, |d| format!("{d}; "));
            let said = format!("{} is {}: {shared}{why}", self.name, self.node.diagnosis);
            self.page(&self.node.diagnosis.to_string(), self.with_runbook(&said));
        }
        self.waiting.insert(Waiting::Person { why });
    }

    /// What to say instead where the trouble is not the node's, or nobody can tell whose it is.
    fn of_whole_cluster(&self) -> Option<&'static str> {
        let alone = self.all.nodes.len() == 1;
        let silent = self.all.silent_api.as_ref();
        let named = silent.is_some_and(|(first, _)| first == self.name);
        if alone && self.node.diagnosis == Diagnosis::ControllerCutOff {
            Some(
                "it is the only node, so nobody but this controller can be asked: a machine that is gone and a controller that is cut off look the same from here. Look at both; nothing is done to it by itself",
            )
        } else if named && self.node.diagnosis == Diagnosis::Unknown {
            Some(
                "Kubernetes says nothing that counts of any node, and the agents are well: look at the API server, its datastore and its load; no node is touched for that",
            )
        } else {
            None
        }
    }

    /// Facts that contradict each other by turns, such as probes on a network that loses some, never last: nothing follows from them, so a
    /// person must hear of it.
    pub(super) fn tell_restless(&mut self, incident: &Incident) {
        let long = Duration::from_secs(self.policy.rejoin_secs);
        let was_done = !incident.rungs.is_empty() || !incident.effects.is_empty();
        if was_done || self.s.now.since(incident.opened) < long {
            return;
        }
        let said = format!(
            "{} has not been well for {} min, and what is seen of it changes before anything could follow from it; now it is {}. Iaso goes on looking; look at it yourself",
            self.name,
            self.s.now.since(incident.opened).as_secs() / 60,
            self.node.diagnosis
        );
        self.page("restless", self.with_runbook(&said));
    }

    /// Somebody was told that this node flaps, by another of its incidents: once in a while is enough.
    fn flapping_is_known(&self) -> bool {
        let about = Diagnosis::Flapping.to_string();
        let lately = Duration::from_secs(self.policy.flapping_secs);
        let told = |e: &EffectState| {
            matches!(e.effect.action, Action::Page { .. })
                && e.effect.evidence.first() == Some(&about)
                && self.s.now.since(e.intended) < lately
        };
        let own = || {
            self.s
                .ledger
                .effects()
                .filter(|e| &e.effect.node == self.name)
        };
        self.node.diagnosis == Diagnosis::Flapping && own().any(told)
    }

    /// Another node's page says the same.
    fn shares(&self, name: &NodeName, other: &Assessment) -> bool {
        let same = other.diagnosis == self.node.diagnosis;
        let of_cluster = match other.diagnosis {
            Diagnosis::ControllerCutOff => true,
            Diagnosis::Storm => {
                self.all.storm.is_some()
                    || self.all.domains.get(name) == self.all.domains.get(self.name)
            }
            Diagnosis::ProviderUnknown => {
                self.all.outages.values().next().is_some()
                    && self.provider(name) == self.provider(self.name)
            }
            Diagnosis::Healthy
            | Diagnosis::Unknown
            | Diagnosis::K3sAgentDown
            | Diagnosis::CheckFailing
            | Diagnosis::NotReady
            | Diagnosis::AgentLost
            | Diagnosis::Hung
            | Diagnosis::PartialPartition
            | Diagnosis::Flapping
            | Diagnosis::Isolated
            | Diagnosis::PoweredOff
            | Diagnosis::ProviderTrouble
            | Diagnosis::GoneNoProvider
            | Diagnosis::NeverJoined => false,
        };
        same && of_cluster
    }

    fn provider(&self, name: &NodeName) -> Option<&str> {
        let spec = self.s.inventory.nodes.get(name)?;
        spec.machine.as_ref().map(|(provider, _)| provider.as_str())
    }

    /// What a page ends with: the facts, and where to read on.
    fn with_runbook(&self, said: &str) -> String {
        format!(
            "{said}. Facts: {}. Runbook: {}",
            self.node.evidence.join("; "),
            self.policy.runbook(self.node.diagnosis)
        )
    }

    /// The reasons that keep a silent node from a diagnosis that could be acted on.
    pub(crate) fn explain_unknown(&mut self, incident: &Incident) {
        let held = match self.node.diagnosis {
            Diagnosis::ControllerCutOff | Diagnosis::Storm => true,
            Diagnosis::Unknown | Diagnosis::ProviderUnknown | Diagnosis::ProviderTrouble => false,
            Diagnosis::Healthy
            | Diagnosis::K3sAgentDown
            | Diagnosis::CheckFailing
            | Diagnosis::NotReady
            | Diagnosis::AgentLost
            | Diagnosis::Hung
            | Diagnosis::PartialPartition
            | Diagnosis::Flapping
            | Diagnosis::Isolated
            | Diagnosis::PoweredOff
            | Diagnosis::GoneNoProvider
            | Diagnosis::NeverJoined => return,
        };
        for why in self.closed(incident, &Rung::Reboot, incident.opened) {
            let of_cluster = matches!(
                why,
                Waiting::AmICutOff { .. } | Waiting::Storm { .. } | Waiting::Domain { .. }
            );
            let of_facts = matches!(
                why,
                Waiting::Quorum { .. }
                    | Waiting::FreshFacts { .. }
                    | Waiting::ProviderUnknown { .. }
                    | Waiting::ProviderOutage { .. }
                    | Waiting::ProviderBusy { .. }
            );
            if of_cluster || (of_facts && !held) {
                self.waiting.insert(why);
            }
        }
    }

    /// The end of what Iaso may do: told with the facts, with what is left behind, and where to read on.
    pub(crate) fn park(&mut self, incident: &Incident, why: String) {
        let left = saga::left_behind(incident);
        let why = if left.is_empty() {
            why
        } else {
            format!("{why}. Left behind: {}", left.join("; "))
        };
        let said = self.with_runbook(&format!("{} is parked: {why}", self.name));
        let why = format!(
            "{why}. Runbook: {}",
            self.policy.runbook(self.node.diagnosis)
        );
        self.push(Record::RungStarted {
            incident: incident.id.clone(),
            rung: Rung::Page,
            attempt: incident.attempts(&Rung::Page).saturating_add(1),
            why: why.clone(),
        });
        // Told each time: a person who opened it again waits for a word.
        let evidence = vec![format!("parked: {why}")];
        self.intend_with(Action::Page { message: said }, evidence);
        self.push(Record::RungEnded {
            incident: incident.id.clone(),
            rung: Rung::Page,
            result: RungResult::NoHelp,
            why: "a person was told".into(),
        });
        self.push(Record::Parked {
            incident: incident.id.clone(),
            why,
        });
    }

    /// Tells a person, once for each matter in an incident.
    pub(crate) fn page(&mut self, about: &str, message: String) {
        let told = self.incident.as_ref().is_some_and(|i| {
            i.effects.iter().any(|e| {
                matches!(e.effect.action, Action::Page { .. })
                    && e.effect.evidence.first().is_some_and(|a| a == about)
            })
        });
        if !told {
            self.intend_with(Action::Page { message }, vec![about.to_owned()]);
        }
    }

    /// Where nothing but the policy's `observe` and a person stand before a rung, nothing more happens by itself: somebody is told.
    pub(super) fn tell_observed(&mut self, rung: &Rung, closed: &[Waiting]) {
        let of_person = |w: &Waiting| matches!(w, Waiting::ObserveOnly { .. }) || needs_person(w);
        if closed.iter().all(of_person) {
            let said = format!(
                "{} is {}: {rung} would be next, and the policy only observes it: nothing more is done by itself. Look at the node; with mode approve you could say yes here",
                self.name, self.node.diagnosis
            );
            self.page(&format!("{rung}: only observed"), self.with_runbook(&said));
        }
    }

    /// Tells whoever can open a closed gate.
    pub(crate) fn ask(&mut self, incident: &Incident, rung: &Rung, closed: &[Waiting]) {
        let long = Duration::from_secs(self.policy.rejoin_secs);
        let begun = incident.running().map(|r| r.started);
        let long_held = begun.is_some_and(|at| self.s.now.since(at) >= long);
        // Whoever is away has had the time to come back, and the provider to say something plain.
        let others = |w: &Waiting| {
            let may_pass = matches!(
                w,
                Waiting::Disruption { .. }
                    | Waiting::ProviderUnknown { .. }
                    | Waiting::ProviderBusy { .. }
            );
            long_held && may_pass
        };
        for why in closed.iter().filter(|w| needs_person(w) || others(w)) {
            let said = format!(
                "{rung} of {} is held: {why}{}",
                self.name,
                decide(why, incident)
            );
            self.page(&format!("{rung}: {}", why.name()), self.with_runbook(&said));
        }
    }
}

fn needs_person(why: &Waiting) -> bool {
    matches!(
        why,
        Waiting::Approval { .. }
            | Waiting::LocalData { .. }
            | Waiting::Budget { .. }
            | Waiting::SecretStore { .. }
            | Waiting::EtcdQuorum { .. }
            | Waiting::OptOut { .. }
            | Waiting::Cooldown {
                rung: Rung::Recreate,
                ..
            }
    )
}

/// The key of the password of a rescue image that answers now.
fn rescue_key(incident: &Incident) -> Option<&str> {
    let on = incident.rescue_answered() == Some(true) && incident.left_rescue().is_none();
    let Action::Rescue { password_key } = &incident.rescue().filter(|_| on)?.effect.action else {
        return None;
    };
    Some(password_key)
}

/// What a person can do about a closed gate.
fn decide(why: &Waiting, incident: &Incident) -> String {
    if matches!(why, Waiting::Budget { .. }) {
        return ". It opens by itself as the day goes on; to open it earlier, change the policy"
            .into();
    }
    if matches!(why, Waiting::SecretStore { .. }) {
        return ". Mend the secret store, and it goes on by itself".into();
    }
    if matches!(why, Waiting::OptOut { .. }) {
        return ". Take iaso.dev/opt-out off the node, and it goes on by itself".into();
    }
    if matches!(
        why,
        Waiting::ProviderUnknown { .. } | Waiting::ProviderBusy { .. }
    ) {
        return ". When the provider says something plain, it goes on by itself; or act in the provider's panel".into();
    }
    if matches!(why, Waiting::Disruption { .. }) {
        return ". Mend or uncordon the others, or reboot it by hand".into();
    }
    let id = &incident.id;
    let saved = match (why, rescue_key(incident)) {
        (Waiting::LocalData { .. }, Some(key)) => format!(
            ". It runs the provider's rescue image, and that answers: log in as root with the password under key {key} of the secret store, and save what is needed from the old disk (with Hostinger under /mnt)"
        ),
        _ => String::new(),
    };
    format!("{saved}. Decide with `iaso approve {id}` or `iaso deny {id}`")
}
