//! `iaso events`: the journal, and what is added to it.

use super::Session;
use super::reconnect::Reconnect;
use crate::args::{Follow, Format};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::model::Event;
use crate::{output, render, verdict};
use std::time::Duration;

pub(super) async fn run(
    session: &Session,
    since: u64,
    incident: Option<&str>,
    follow: &Follow,
) -> Result<Exit, Failure> {
    let mut reader = Reader {
        session,
        incident,
        after: since,
        end: None,
    };
    if !follow.follow {
        let mut events = session
            .client
            .watch(since, false, incident.unwrap_or_default())
            .await?;
        while let Some(event) = events.next().await? {
            reader.show(&event)?;
        }
        return Ok(Exit::Ok);
    }
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
    incident: Option<&'a str>,
    /// The last sequence shown: where a new stream goes on.
    after: u64,
    /// How the incident ended, and with which sequence.
    end: Option<(u64, Exit)>,
}

impl Reader<'_> {
    /// Reads one stream until the incident ends (`Ok`) or the stream does (`Err`).
    async fn follow(&mut self, reconnect: &mut Reconnect) -> Result<Exit, Failure> {
        // Opened before the incident is looked at: what happens between the two is in the stream.
        let mut events = self
            .session
            .client
            .watch(self.after, true, self.incident.unwrap_or_default())
            .await?;
        let mut tail = self.look().await?;
        reconnect.opened();
        loop {
            if let Some((last, exit)) = self.end
                && self.after >= last
            {
                return Ok(exit);
            }
            let Some(event) = events.next().await? else {
                return Err(Failure::Interrupted {
                    said: "the controller ended the stream".into(),
                });
            };
            reconnect.arrived();
            if event.sequence <= self.after {
                continue; // Shown before the stream was lost.
            }
            self.show(&event)?;
            if self.after > tail {
                tail = self.look().await?;
            }
        }
    }

    /// Looks whether the incident has ended; answers the last sequence that was taken into account.
    async fn look(&mut self) -> Result<u64, Failure> {
        let Some(id) = self.incident else {
            return Ok(u64::MAX);
        };
        let detail = self.session.client.incident(id).await?;
        self.end = verdict::followed(&detail.incident).map(|exit| (detail.tail(), exit));
        Ok(detail.tail().max(self.after))
    }

    fn show(&mut self, event: &Event) -> Result<(), Failure> {
        self.after = self.after.max(event.sequence);
        output::print(&match self.session.format {
            Format::Json => render::json(event),
            Format::Table => render::event(&self.session.style, event),
        })
    }
}
