//! Questions that tell whether a server knows names at all.

use std::net::IpAddr;
use std::time::Duration;

use iaso_plugin::capability::{Question, ms};
use iaso_plugin::{Dns, Error};

/// What came of a question for a name that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Knows,
    /// It answers, and not with the name.
    Fails(String),
    Silent,
    Unseen(String),
}

pub(crate) fn ask<H: Dns>(host: &H, server: IpAddr, name: &str, timeout: Duration) -> Reply {
    let answer = host.query(&Question {
        server: server.to_string(),
        port: 53,
        name: name.to_owned(),
        record_type: "A".to_owned(),
        transport: "udp".to_owned(),
        timeout_ms: ms(timeout),
    });
    match answer {
        Ok(answer) if answer.rcode == "NOERROR" => Reply::Knows,
        Ok(answer) => Reply::Fails(answer.rcode),
        Err(Error::Timeout | Error::Unavailable(_)) => Reply::Silent,
        Err(why @ (Error::Denied(_) | Error::TooLarge(_) | Error::Other(_))) => {
            Reply::Unseen(why.to_string())
        }
    }
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Knows => "an answer",
            Self::Fails(rcode) => rcode,
            Self::Silent => "no answer",
            Self::Unseen(why) => why,
        }
    }
}
