//! The isolated network, and networks that callers make.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{Network, NetworkConnectRequest, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use harness::docker::Engine;
use sandbox::{Ipam, NetworkSpec, Removal, Request, SandboxErrorCode};
use uuid::Uuid;

use crate::support::{House, IMAGE, shell};

const ISOLATED: &str = "light-runner-isolated";
const ICC: &str = "com.docker.network.bridge.enable_icc";

/// A name of this test alone.
fn name() -> String {
    format!("semilayer-test-{}", Uuid::new_v4().simple())
}

fn spec(name: &str) -> NetworkSpec {
    NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() }
}

async fn named(house: &House, name: &str) -> Vec<Network> {
    let options = ListNetworksOptionsBuilder::new().filters(&HashMap::from([("name", vec![name])])).build();
    let mut networks = house.docker.list_networks(Some(options)).await.unwrap();
    networks.retain(|network| network.name.as_deref() == Some(name));
    networks
}

/// A network as somebody else would make it.
async fn foreign(house: &House, name: &str) -> String {
    let request = NetworkCreateRequest { name: name.to_owned(), ..NetworkCreateRequest::default() };
    house.docker.create_network(request).await.unwrap().id
}

#[tokio::test]
async fn a_network_is_made_found_and_removed() {
    let house = House::new();
    let name = name();
    assert!(!house.sandbox.network_exists(&name).await.unwrap());
    assert!(house.sandbox.create_network(&spec(&name)).await.unwrap());
    assert!(house.sandbox.network_exists(&name).await.unwrap());
    assert!(house.sandbox.create_network(&spec(&name)).await.unwrap(), "again is no error");
    let made = named(&house, &name).await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].options.as_ref().unwrap()[ICC], "false");
    assert_eq!(house.sandbox.remove_network(&name).await.unwrap(), Removal::Removed);
    assert_eq!(house.sandbox.remove_network(&name).await.unwrap(), Removal::Absent);
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_where_it_must_be_free() {
    let house = House::new();
    let name = name();
    let exclusive = NetworkSpec { exclusive: true, ..spec(&name) };
    assert!(house.sandbox.create_network(&exclusive).await.unwrap());
    let error = house.sandbox.create_network(&exclusive).await.unwrap_err();
    assert_eq!((error.code(), error.field()), (SandboxErrorCode::InvalidRequest, Some("name")));
    house.sandbox.remove_network(&name).await.unwrap();
}

#[tokio::test]
async fn a_network_that_does_not_separate_is_not_taken_for_one_that_does() {
    let house = House::new();
    let name = name();
    foreign(&house, &name).await;
    let error = house.sandbox.create_network(&spec(&name)).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::InvalidRequest);
    assert!(house.sandbox.create_network(&NetworkSpec { icc_enabled: true, ..spec(&name) }).await.unwrap());
    house.sandbox.remove_network(&name).await.unwrap();
}

#[tokio::test]
async fn networks_made_at_once_are_one() {
    let house = House::new();
    let name = name();
    let wanted = spec(&name);
    let made = futures::future::join_all((0..8).map(|_| house.sandbox.create_network(&wanted))).await;
    assert!(made.into_iter().all(|made| made.unwrap()));
    assert_eq!(named(&house, &name).await.len(), 1);
    house.sandbox.remove_network(&name).await.unwrap();
}

#[tokio::test]
async fn addresses_are_the_callers() {
    let house = House::new();
    let name = name();
    let octet = Uuid::new_v4().as_bytes()[0];
    let ipam = Ipam {
        subnet: Some(format!("10.213.{octet}.0/24")),
        gateway: Some(format!("10.213.{octet}.9")),
        ip_range: Some(format!("10.213.{octet}.128/25")),
    };
    let spec = NetworkSpec { ipam: Some(ipam.clone()), ..spec(&name) };
    assert!(house.sandbox.create_network(&spec).await.unwrap());
    let made = named(&house, &name).await.remove(0).ipam.unwrap().config.unwrap().remove(0);
    assert_eq!((made.subnet, made.gateway, made.ip_range), (ipam.subnet, ipam.gateway, ipam.ip_range));
    house.sandbox.remove_network(&name).await.unwrap();
}

#[tokio::test]
async fn names_that_are_the_engines_own_or_no_names_are_refused() {
    let house = House::new();
    for bad in ["", "a/b", "a?x=1", "..", "host", "none", "bridge"] {
        let refused = house.sandbox.create_network(&spec(bad)).await.unwrap_err();
        assert_eq!(refused.code(), SandboxErrorCode::InvalidRequest, "{bad}");
        assert!(house.sandbox.remove_network(bad).await.is_err(), "{bad}");
    }
    assert!(house.sandbox.cleanup_networks("", Duration::ZERO).await.is_err());
}

#[tokio::test]
async fn a_network_with_a_container_is_in_use_and_survives_the_sweep() {
    let house = House::new();
    let name = name();
    house.sandbox.create_network(&spec(&name)).await.unwrap();
    let execution = house.start(Request { networks: vec![name.clone()], ..shell("sleep 60") });
    house.until_running(execution.id()).await;
    assert_eq!(house.sandbox.remove_network(&name).await.unwrap(), Removal::InUse);
    assert_eq!(house.sandbox.cleanup_networks(&name, Duration::ZERO).await.unwrap(), 0);
    execution.cancel();
    execution.outcome().await.unwrap();
    assert_eq!(house.sandbox.cleanup_networks(&name, Duration::from_secs(60)).await.unwrap(), 0, "too young");
    assert_eq!(house.sandbox.cleanup_networks(&name, Duration::ZERO).await.unwrap(), 1);
    assert!(!house.sandbox.network_exists(&name).await.unwrap());
}

#[tokio::test]
async fn runs_without_a_network_of_their_own_share_one_that_separates_them() {
    let house = House::new();
    let line = "ip -4 -o addr show dev eth0 | wc -l";
    let runs =
        futures::future::join_all((0..6).map(|_| house.run(Request { networks: Vec::new(), ..shell(line) })))
            .await;
    assert!(runs.iter().all(|told| told.text().trim() == "1"), "{runs:?}");
    let isolated = named(&house, ISOLATED).await;
    assert_eq!(isolated.len(), 1, "runs at once have made several");
    assert_eq!(isolated[0].options.as_ref().unwrap()[ICC], "false");
    assert_eq!(
        house.sandbox.cleanup_networks(ISOLATED, Duration::ZERO).await.unwrap(),
        0,
        "it is never swept"
    );
}

#[tokio::test]
async fn containers_of_the_isolated_network_do_not_reach_one_another() {
    let house = House::new();
    let listen = "ip -4 -o addr show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'; nc -l -p 8080";
    let (sender, mut output) = tokio::sync::mpsc::channel(4);
    let listener = house.start(Request { networks: Vec::new(), output: Some(sender), ..shell(listen) });
    let address = String::from_utf8(output.recv().await.unwrap().bytes.to_vec()).unwrap();
    let line = format!("nc -w 2 {} 8080 </dev/null && echo reached", address.trim());
    let told = house.run(Request { networks: Vec::new(), ..shell(&line) }).await;
    assert_eq!(told.text(), "");
    listener.cancel();
    listener.outcome().await.unwrap();
}

#[tokio::test]
async fn a_network_that_is_missing_or_the_machines_own_ends_the_run_before_it_begins() {
    let house = House::new();
    let host = named(&house, "host").await.remove(0).id.unwrap();
    for networks in [vec![name()], vec![host]] {
        let execution = house.start(Request { networks: networks.clone(), ..shell("true") });
        let error = execution.outcome().await.unwrap_err();
        assert_eq!(error.code(), SandboxErrorCode::NetworkConnectFailed, "{networks:?}");
        house.assert_nothing_left(execution.id()).await;
    }
}

#[tokio::test]
async fn a_further_network_is_joined_beside_the_first() {
    let house = House::new();
    let names = [name(), name()];
    for name in &names {
        house.sandbox.create_network(&spec(name)).await.unwrap();
    }
    let line = "ip -4 -o addr show | grep -c 'eth[01]'";
    let told = house.run(Request { networks: names.to_vec(), ..shell(line) }).await;
    assert_eq!(told.text(), "2\n");
    for name in &names {
        house.sandbox.remove_network(name).await.unwrap();
    }
}

fn isolated() -> Request {
    Request { networks: Vec::new(), ..shell("true") }
}

fn at(engine: &Engine) -> House {
    House::with(|options| options.docker_host = Some(engine.host().to_owned()))
}

/// Each has its own lock, as processes have, and this engine lets several networks have one name.
#[tokio::test]
async fn runs_of_sandboxes_that_make_the_isolated_network_at_once_begin_and_leave_one() {
    let engine = Engine::own().await;
    let houses = [at(&engine), at(&engine)];
    for _ in 0..5 {
        let runs = futures::future::join_all(houses.each_ref().map(|house| house.run(isolated()))).await;
        assert!(runs.iter().all(|told| told.outcome.success()), "{runs:?}");
        // It may have been left by one that did not see the other; the next run would not begin then.
        assert!(houses[0].run(isolated()).await.outcome.success());
        assert_eq!(named(&houses[0], ISOLATED).await.len(), 1);
        assert_eq!(houses[0].sandbox.remove_network(ISOLATED).await.unwrap(), Removal::Removed);
    }
}

#[tokio::test]
async fn of_isolated_networks_that_were_made_twice_the_one_with_containers_stays_or_the_oldest() {
    let engine = Engine::own().await;
    let house = at(&engine);
    for is_used in [false, true] {
        house.run(isolated()).await;
        let Network { id: oldest, labels, options, .. } = named(&house, ISOLATED).await.remove(0);
        let double =
            NetworkCreateRequest { name: ISOLATED.to_owned(), labels, options, ..Default::default() };
        let double = house.docker.create_network(double).await.unwrap().id;
        if is_used {
            let container = engine.start_container("semilayer-test", IMAGE, &["sleep", "600"]).await;
            let member = NetworkConnectRequest { container, ..NetworkConnectRequest::default() };
            house.docker.connect_network(&double, member).await.unwrap();
        }
        assert!(house.run(isolated()).await.outcome.success());
        let left: Vec<_> = named(&house, ISOLATED).await.into_iter().map(|network| network.id).collect();
        assert_eq!(left, [if is_used { Some(double) } else { oldest }]);
    }
}
