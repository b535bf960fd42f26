//! Agents that the controller must refuse: each is told what to do, and the good ones lose nothing.

use crate::setup::{Alone, NODES, Program, Session, skipped};
use anyhow::Result;
use iaso_proto::v1;
use iaso_proto::v1::agent_message::Kind;
use std::time::Duration;
use tonic::Code;

/// A controller with two agents that do well: a real one on styx, and one on calypso that reported a full disk.
struct Good {
    alone: Alone,
    styx: Program,
    calypso: Session,
}

impl Good {
    async fn start(name: &str) -> Result<Option<Self>> {
        if skipped(name)? {
            return Ok(None);
        }
        let alone = Alone::start(NODES).await?;
        let mut styx = alone.agent("styx", &alone.join_token("styx").await?)?;
        styx.says(&["session open"]).await?;
        let mut calypso = alone.session("calypso").await?;
        drop(calypso.beats());
        calypso.report(1, "critical").await?;
        Ok(Some(Self {
            alone,
            styx,
            calypso,
        }))
    }

    /// Both sessions are the ones they began with, and what was reported is still there.
    async fn lost_nothing(mut self) -> Result<()> {
        self.calypso.report(2, "critical").await?;
        let said = self.styx.said();
        assert_eq!(said.matches("session open").count(), 1, "{said}");
        assert!(!said.contains("no session"), "{said}");
        let node = self.alone.iaso(&["node", "calypso"]).await?;
        assert!(node.out.contains("by-hand.disk-full"), "{node:?}");
        let nodes = self.alone.iaso(&["nodes", "--output", "json"]).await?;
        let nodes: serde_json::Value = serde_json::from_str(&nodes.out)?;
        for name in ["styx", "calypso"] {
            let mut all = nodes["nodes"].as_array().into_iter().flatten();
            let up = |node: &serde_json::Value| node["name"] == name && node["agent"] == "up";
            assert!(all.any(up), "{name} is not up: {nodes}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_agent_with_a_used_token_is_told_how_to_get_another_and_goes_on_when_it_is_there()
-> Result<()> {
    let Some(good) = Good::start("used token").await? else {
        return Ok(());
    };
    // Whoever copied lethe's token before lethe came.
    let stolen = good.alone.says(&["join-token", "lethe"]).await?;
    good.alone.use_up("lethe", &stolen).await?;
    std::fs::write(good.alone.path("copy.join"), &stolen)?;
    let mut lethe = good.alone.agent("lethe", "copy.join")?;
    let said = [
        "no session",
        "was used before, by another key",
        "iaso join-token NODE",
    ];
    let line = lethe.says(&said).await?;
    let secret = stolen.rsplit('.').next().unwrap_or_default();
    assert!(!line.contains(secret), "{line}");
    let events = good.alone.iaso(&["events"]).await?;
    assert!(events.out.contains("presented again"), "{events:?}");
    std::fs::copy(
        good.alone.path(&good.alone.join_token("lethe").await?),
        good.alone.path("copy.join"),
    )?;
    lethe.says(&["session open"]).await?;
    good.lost_nothing().await
}

#[tokio::test]
async fn an_agent_without_a_token_is_told_where_one_belongs() -> Result<()> {
    let Some(good) = Good::start("no token").await? else {
        return Ok(());
    };
    let mut lethe = good.alone.agent("lethe", "none.join")?;
    let said = ["no session", "none.join", "iaso join-token lethe"];
    lethe.says(&said).await?;
    good.lost_nothing().await
}

#[tokio::test]
async fn the_second_of_two_agents_with_one_name_is_told_to_stop_or_to_be_renamed() -> Result<()> {
    let Some(good) = Good::start("two agents with one name").await? else {
        return Ok(());
    };
    // The disk of the one was copied to the other: one identity, two machines.
    let mut second = good.alone.copy_of(&good.styx)?;
    let said = [
        "another live agent has this node's name",
        "stop it, or give this one another name",
    ];
    second.says(&said).await?;
    good.lost_nothing().await
}

#[tokio::test]
async fn an_agent_of_an_unknown_node_is_told_where_nodes_are_declared() -> Result<()> {
    let Some(good) = Good::start("unknown node").await? else {
        return Ok(());
    };
    let mut cocytus = good
        .alone
        .agent("cocytus", &good.alone.join_token("lethe").await?)?;
    cocytus
        .says(&["no such node", "add it under [[nodes]]", "cocytus"])
        .await?;
    good.lost_nothing().await
}

#[tokio::test]
async fn a_report_larger_than_allowed_is_refused_with_the_limit_and_its_agent_may_come_back()
-> Result<()> {
    let Some(good) = Good::start("oversize report").await? else {
        return Ok(());
    };
    let mut lethe = good.alone.session("lethe").await?;
    lethe.next().await?;
    let huge = v1::PluginReport {
        plugin: "x".repeat(iaso_proto::MAX_MESSAGE_BYTES + 1),
        ..v1::PluginReport::default()
    };
    lethe.say(Kind::Report(huge)).await?;
    let refused = lethe.next().await.expect_err("it is too large");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    for words in [&iaso_proto::MAX_MESSAGE_BYTES.to_string(), "report less"] {
        assert!(refused.message().contains(words), "{refused}");
    }
    let mut again = good.alone.session("lethe").await?;
    again.next().await?;
    good.lost_nothing().await
}

#[tokio::test]
async fn what_is_no_grpc_at_all_is_hung_up_on() -> Result<()> {
    let Some(good) = Good::start("garbage").await? else {
        return Ok(());
    };
    let mut stream = tokio::net::TcpStream::connect(good.alone.address).await?;
    let garbage = vec![0xff_u8; 64 << 10];
    // It may hang up before it has read everything.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &garbage).await;
    let mut answer = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), ended).await?;
    good.lost_nothing().await
}
