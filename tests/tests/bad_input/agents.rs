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
        let mut styx = alone.agent("styx", "data/agent.token")?;
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
async fn an_agent_with_a_wrong_token_is_told_which_file_to_copy_and_goes_on_when_it_is_right()
-> Result<()> {
    let Some(good) = Good::start("wrong token").await? else {
        return Ok(());
    };
    std::fs::write(
        good.alone.path("copy.token"),
        "not-the-token-of-this-controller",
    )?;
    let mut wrong = good.alone.agent("lethe", "copy.token")?;
    let said = [
        "no session",
        "does not accept the token",
        "copy its agent.token to token_file again",
    ];
    let line = wrong.says(&said).await?;
    assert!(!line.contains("not-the-token"), "{line}");
    std::fs::copy(
        good.alone.path("data/agent.token"),
        good.alone.path("copy.token"),
    )?;
    wrong.says(&["session open"]).await?;
    good.lost_nothing().await
}

#[tokio::test]
async fn the_second_of_two_agents_with_one_name_is_told_to_stop_or_to_be_renamed() -> Result<()> {
    let Some(good) = Good::start("two agents with one name").await? else {
        return Ok(());
    };
    let mut second = good.alone.agent("styx", "data/agent.token")?;
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
    let mut cocytus = good.alone.agent("cocytus", "data/agent.token")?;
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
