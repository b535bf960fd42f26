//! The recreate saga's invariants, each broken on purpose and vetoed by name.

use crate::before::{check, effect, facts, forget, instead, past, the_incident};
use iaso_engine::effect::{Action, Outcome, Remembered, Yield};
use iaso_engine::fact::Ready;
use iaso_engine::time::Tick;
use iaso_engine::world::AgentLink;

#[test]
fn the_password_and_the_script_are_the_ones_that_were_made() {
    check("recreate", &["password-stored-first"], |_, p| {
        if let Action::Recreate { password_key, .. } = &mut effect(p).action {
            *password_key = "another".into();
        }
    });
    check("recreate", &["password-stored-first"], |n, _| {
        past(n, "store-password").latest = None;
    });
    check("recreate", &["script-first"], |_, p| {
        if let Action::Recreate { script, .. } = &mut effect(p).action {
            *script = "another".into();
        }
    });
    check("recreate", &["script-first"], |n, _| {
        let mut gone = past(n, "prepare-script").clone();
        gone.effect.action = Action::Cleanup {
            script: "script-1".into(),
            token: "token-1".into(),
        };
        let at = n.now();
        gone.latest = Some((at, crate::before::night::done()));
        the_incident(n).effects.push(gone);
    });
}

#[test]
fn what_the_node_was_is_written_down_and_it_is_cordoned_before_the_wipe() {
    let first = &["remembered-and-cordoned-first"];
    check("recreate", first, |n, _| forget(n, "remember"));
    check("recreate", first, |n, _| forget(n, "cordon"));
    check("recreate", &[], |n, _| {
        n.inventory.has_cluster = false;
        forget(n, "remember");
        forget(n, "cordon");
    });
    check("cordon", &["remembered-before-cordon"], |n, _| {
        forget(n, "remember");
    });
}

#[test]
fn local_data_is_known_by_a_fresh_word() {
    check("recreate", &["local-data-known"], |n, _| {
        n.world.kube_api.as_mut().expect("it was asked").value = Some("timed out".into());
    });
    check("recreate", &["local-data-known"], |n, _| {
        n.world.kube_api = None;
    });
    check("recreate", &["local-data-known"], |n, _| {
        let then = Tick(n.now().0 - 50_000);
        n.world.kube_api.as_mut().expect("it was asked").at = then;
    });
    check("recreate", &["local-data-known"], |n, _| {
        let then = Tick(n.now().0 - 50_000);
        facts(n, "styx").kube.as_mut().expect("it was seen").at = then;
    });
    check("recreate", &["local-data-known"], |n, _| {
        n.policy.local_data_expendable = true;
        facts(n, "styx").kube = None;
    });
    check("recreate", &[], |n, _| {
        n.policy.local_data_expendable = true;
        let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
        kube.value.local_data = vec!["pvc-1".into()];
    });
}

#[test]
fn nothing_is_prepared_after_the_wipe() {
    for action in [
        Action::Remember,
        Action::Cordon,
        Action::StorePassword,
        Action::PrepareScript,
    ] {
        let (night, mut plan) =
            crate::before::before(crate::before::styx(), crate::before::intends("release"));
        instead(&mut plan, action);
        assert_eq!(
            crate::before::named(&night, &plan),
            ["prepared-before-the-wipe"]
        );
    }
}

#[test]
fn a_server_is_not_even_prepared() {
    for action in ["remember", "cordon", "store-password", "prepare-script"] {
        check(action, &["server-never-recreated"], |n, _| {
            let node = n
                .inventory
                .nodes
                .get_mut(&crate::before::night::name("styx"));
            node.expect("it is declared").role = iaso_engine::fact::Role::Server;
        });
    }
}

#[test]
fn what_is_restored_is_what_was_written_down_after_the_wipe() {
    check("recreate", &["restored-after-the-wipe"], |n, p| {
        let remembered = the_incident(n)
            .effects
            .iter()
            .find_map(|e| match &e.latest {
                Some((
                    _,
                    Outcome::Done {
                        yielded: Yield::Remembered { remembered },
                        ..
                    },
                )) => Some(remembered.clone()),
                _ => None,
            });
        let remembered = remembered.expect("it was remembered");
        instead(p, Action::Restore { remembered });
    });
    check("restore", &["restore-what-was-remembered"], |_, p| {
        let remembered = Remembered::default();
        instead(p, Action::Restore { remembered });
    });
    check("restore", &["restored-after-the-wipe"], |n, _| {
        past(n, "recreate").latest = None;
    });
}

#[test]
fn release_waits_for_the_wipe_to_have_succeeded() {
    for outcome in [
        None,
        Some(crate::before::night::failed("error")),
        Some(crate::before::night::not_started("transport")),
    ] {
        let (mut night, plan) =
            crate::before::before(crate::before::styx(), crate::before::intends("release"));
        let at = night.now();
        past(&mut night, "recreate").latest = outcome.map(|o| (at, o));
        assert_eq!(
            crate::before::named(&night, &plan),
            ["fence-before-release"]
        );
    }
}

#[test]
fn only_our_own_cordon_is_taken_back() {
    check("uncordon", &["uncordon-only-our-own"], |n, _| {
        forget(n, "cordon");
    });
    // One whose answer was lost may stand all the same: it is taken back.
    check("uncordon", &[], |n, _| {
        let at = n.now();
        past(n, "cordon").latest = Some((at, crate::before::night::not_started("conflict")));
    });
    check("uncordon", &["uncordon-only-our-own"], |n, _| {
        if let Some((
            _,
            Outcome::Done {
                yielded: Yield::Remembered { remembered },
                ..
            },
        )) = &mut past(n, "remember").latest
        {
            remembered.was_cordoned = true;
        }
    });
}

#[test]
fn a_wiped_machine_takes_workloads_only_when_it_is_back() {
    let back = &["uncordon-only-when-back"];
    check("uncordon", back, |n, _| {
        let agent = facts(n, "styx").agent.as_mut().expect("it was seen");
        agent.value = AgentLink::Lost {
            reason: "closed".into(),
        };
    });
    check("uncordon", back, |n, _| {
        let wiped = past(n, "recreate").intended;
        facts(n, "styx").agent.as_mut().expect("it was seen").at = wiped;
    });
    check("uncordon", back, |n, _| {
        let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
        kube.value.ready = Ready::False;
    });
    check("uncordon", back, |n, _| {
        let then = Tick(n.now().0 - 50_000);
        let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
        kube.value.lease_changed = Some(then);
    });
    check("uncordon", back, |n, _| past(n, "recreate").latest = None);
    // Before any wipe the cordon is taken back whatever the node is.
    check("uncordon", &[], |n, _| {
        forget(n, "recreate");
        facts(n, "styx").agent = None;
    });
}

#[test]
fn the_password_that_is_promoted_is_the_machine_s() {
    check("promote-password", &["promote-what-was-used"], |_, p| {
        let password_key = "another".into();
        instead(p, Action::PromotePassword { password_key });
    });
    check("promote-password", &["promote-what-was-used"], |n, _| {
        past(n, "recreate").latest = None;
    });
}

#[test]
fn only_what_was_made_is_cleaned_up_and_not_while_it_is_needed() {
    for (script, token) in [("another", "token-1"), ("script-1", "another")] {
        let (night, mut plan) =
            crate::before::before(crate::before::styx(), crate::before::intends("cleanup"));
        instead(
            &mut plan,
            Action::Cleanup {
                script: script.into(),
                token: token.into(),
            },
        );
        assert_eq!(
            crate::before::named(&night, &plan),
            ["cleanup-only-our-own"]
        );
    }
    check("cleanup", &["script-kept-while-needed"], |n, _| {
        past(n, "recreate").latest = None;
    });
}
