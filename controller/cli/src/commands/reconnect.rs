//! How a follower bridges the time without its controller.

use crate::failure::Failure;
use crate::output;
use std::time::Duration;
use tokio::time::Instant;

/// First pause, doubled until [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pauses between attempts, and the end of patience.
#[derive(Debug)]
pub(super) struct Reconnect {
    patience: Duration,
    pause: Duration,
    lost: Option<Instant>,
}

impl Reconnect {
    /// Gives up after `patience` without the controller.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            pause: PAUSE_MIN,
            lost: None,
        }
    }

    /// The stream is open again. The pause stays: a controller that ends every stream at once is not asked ten times a second.
    pub(super) fn opened(&mut self) {
        if self.lost.take().is_some() {
            output::complain("iaso: the controller is back");
        }
    }

    /// Something came over the stream.
    pub(super) fn arrived(&mut self) {
        self.pause = PAUSE_MIN;
    }

    /// Waits before the next attempt. `Err`: asking again cannot help, or patience is at its end.
    pub(super) async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        if !failure.may_pass() {
            return Err(failure);
        }
        let now = Instant::now();
        let lost = *self.lost.get_or_insert_with(|| {
            output::complain(&format!(
                "iaso: lost the controller, trying again; nothing will be missed ({})",
                first_line(&failure)
            ));
            now
        });
        if now.duration_since(lost) >= self.patience {
            return Err(failure);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

fn first_line(failure: &Failure) -> String {
    failure
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn gone() -> Failure {
        Failure::Unreachable {
            url: "http://x".to_owned(),
            why: "gone".into(),
            advice: "",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_when_patience_ends_and_not_before() {
        let mut reconnect = Reconnect::new(Duration::from_mins(1));
        let begin = Instant::now();
        let failure = loop {
            if let Err(failure) = reconnect.wait(gone()).await {
                break failure;
            }
        };
        assert_eq!(failure.exit(), Exit::Unreachable);
        assert!(
            (60..=65).contains(&begin.elapsed().as_secs()),
            "{:?}",
            begin.elapsed()
        );
    }

    // Catches: a pause that starts anew with every stream that opens.
    #[tokio::test(start_paused = true)]
    async fn a_controller_that_ends_every_stream_is_asked_ever_more_slowly() {
        let mut reconnect = Reconnect::new(Duration::from_mins(1));
        let begin = Instant::now();
        for _ in 0..10 {
            reconnect.wait(gone()).await.expect("still patient");
            reconnect.opened();
        }
        assert!(
            begin.elapsed() > Duration::from_secs(20),
            "{:?}",
            begin.elapsed()
        );
        reconnect.arrived();
        let begin = Instant::now();
        reconnect.wait(gone()).await.expect("still patient");
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_ends_at_once() {
        let mut reconnect = Reconnect::new(Duration::from_mins(1));
        let refused = Failure::NotFound {
            said: "no".into(),
            advice: "",
        };
        assert_eq!(
            reconnect.wait(refused).await.expect_err("final").exit(),
            Exit::NotFound
        );
    }
}
