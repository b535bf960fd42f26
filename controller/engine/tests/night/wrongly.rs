//! A night whose engine has something wrong with it.

use super::Night;
use iaso_engine::plan::{Plan, Situation};
use iaso_engine::record::Record;

impl Night {
    /// Whoever plants a bug looks at what was vetoed before the night goes on.
    pub(super) fn decide_wrongly(&mut self, planted: fn(&Situation<'_>) -> Plan) {
        let made = planted(&self.situation());
        let vetoes = iaso_engine_check::vet(&self.situation(), &made);
        self.vetoed.extend(vetoes.into_iter().map(|v| v.invariant));
        if !self.vetoed.is_empty() {
            return;
        }
        self.looks = made.looks.into_iter().collect();
        for record in made.records {
            let intended = match &record {
                Record::Intended { effect } => Some(effect.clone()),
                _ => None,
            };
            self.journal(record);
            if let Some(effect) = intended {
                self.execute(&effect);
            }
        }
    }
}
