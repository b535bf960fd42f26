//! `iaso incident ID`. Followed, the journal's stream says *when* something happened, the incident's timeline *what*: so nothing is
//! shown twice or lost over a reconnect, and its end is seen together with its last line.

use super::Session;
use super::reconnect::Reconnect;
use crate::args::{Follow, Format};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::model::{Followed, Incident, IncidentDetail};
use crate::render::{self, Timeline};
use crate::{output, verdict};
use std::time::Duration;

pub(super) async fn run(session: &Session, id: &str, follow: &Follow) -> Result<Exit, Failure> {
    if !follow.follow {
        let detail = session.client.incident(id).await?;
        session.show(&detail, |style, detail| {
            let mut timeline = Timeline::default();
            let lines = detail
                .timeline
                .iter()
                .map(|entry| timeline.entry(style, entry));
            render::incident_header(style, &detail.incident) + "\n" + &lines.collect::<String>()
        })?;
        return Ok(verdict::incident(&detail.incident));
    }
    let mut reader = Reader {
        session,
        id,
        seen: 0,
        shown: None,
        timeline: Timeline::default(),
    };
    let mut reconnect = Reconnect::new(Duration::from_secs(follow.reconnect_secs));
    loop {
        match reader.follow(&mut reconnect).await {
            Ok(exit) => return Ok(exit),
            Err(failure) => reconnect.wait(failure).await?,
        }
    }
}

struct Reader<'a> {
    session: &'a Session,
    id: &'a str,
    /// The last sequence shown or known to be of no line.
    seen: u64,
    /// The incident as it was shown last.
    shown: Option<Incident>,
    timeline: Timeline,
}

impl Reader<'_> {
    /// Reads one stream until the incident ends (`Ok`) or the stream does (`Err`).
    async fn follow(&mut self, reconnect: &mut Reconnect) -> Result<Exit, Failure> {
        if let Some(exit) = self.look().await? {
            return Ok(exit);
        }
        let mut events = self.session.client.watch(self.seen, true, self.id).await?;
        reconnect.opened();
        loop {
            let Some(event) = events.next().await? else {
                return Err(Failure::Interrupted {
                    said: "the controller ended the stream".into(),
                });
            };
            reconnect.arrived();
            if event.sequence <= self.seen {
                continue; // The last look saw it.
            }
            if let Some(exit) = self.look().await? {
                return Ok(exit);
            }
            self.seen = self.seen.max(event.sequence);
        }
    }

    /// Shows what is new; `Some` when the incident has ended.
    async fn look(&mut self) -> Result<Option<Exit>, Failure> {
        let detail = self.session.client.incident(self.id).await?;
        self.show(&detail)?;
        self.seen = self.seen.max(detail.tail());
        Ok(verdict::followed(&detail.incident))
    }

    fn show(&mut self, detail: &IncidentDetail) -> Result<(), Failure> {
        let style = &self.session.style;
        let json = self.session.format == Format::Json;
        let first = self.shown.is_none();
        let changed = self.shown.as_ref() != Some(&detail.incident);
        let mut out = String::new();
        if json && changed {
            out.push_str(&render::json(&Followed::Incident(&detail.incident)));
        } else if first {
            out = render::incident_header(style, &detail.incident) + "\n";
        }
        for entry in detail
            .timeline
            .iter()
            .filter(|entry| first || entry.sequence > self.seen)
        {
            out.push_str(&if json {
                render::json(&Followed::Entry(entry))
            } else {
                self.timeline.entry(style, entry)
            });
        }
        if !json && self.news(&detail.incident) {
            out = out + "\n" + &render::incident_header(style, &detail.incident) + "\n";
        }
        self.shown = Some(detail.incident.clone());
        output::print(&out)
    }

    /// Whether the head is worth showing again: its state changed, or it asks for something new.
    fn news(&self, incident: &Incident) -> bool {
        self.shown.as_ref().is_some_and(|shown| {
            shown.state != incident.state
                || (shown.awaits_approval != incident.awaits_approval
                    && !incident.awaits_approval.is_empty())
        })
    }
}
