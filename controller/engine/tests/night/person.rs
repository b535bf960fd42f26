//! A person who answers.

use super::Night;
use iaso_engine::ledger::Standing;
use iaso_engine::record::{Record, Rung};

impl Night {
    /// Says yes or no to a rung of the incident that is open.
    pub fn person_says(&mut self, rung: Rung, yes: bool, who: &str, reason: &str) {
        let mut all = self.ledger.incidents.values();
        let open = all.find(|i| !matches!(i.standing, Standing::Closed(..)));
        let incident = open.expect("an incident is open").id.clone();
        self.journal(Record::decision(
            incident,
            rung,
            yes,
            who.into(),
            reason.into(),
        ));
    }
}
