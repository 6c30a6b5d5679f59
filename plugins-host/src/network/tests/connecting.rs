//! Who may be connected to, and what becomes of waiting.

use super::super::error::NetworkError;
use super::*;
use crate::call::Ended;

#[tokio::test]
async fn a_listed_name_is_reached_though_its_address_is_private() {
    let server = Server::echo().await;
    let web = Web::default();
    web.name("db.internal", &[&["127.0.0.1"]]);
    let allow = format!("db.internal:{}", server.port());
    let world = World::of(&web, Making { allow: &[&allow], ..Making::default() });
    let mut socket = world.connect("DB.internal.", server.port()).await.unwrap();
    socket.write(&world.call, b"hello").await.unwrap();
    assert_eq!(socket.read(&world.call, 100).await.unwrap(), b"hello");
    assert_eq!(world.refused(), 0);
}

#[tokio::test]
async fn a_name_that_is_not_listed_is_not_even_looked_up() {
    let world = World::allowing(&["db.internal:5432", "10.0.0.0/8"]);
    for (host, port) in
        [("secret.evil.example", 443), ("db.internal", 5433), ("127.0.0.1", 5432), ("localhost", 80)]
    {
        let refused = world.connect(host, port).await.err().unwrap();
        assert!(matches!(refused, NetworkError::Refused), "{host}: {refused}");
    }
    assert_eq!(world.web.looked_up().len(), 0);
    assert_eq!(world.web.dialed().len(), 0);
    assert_eq!(world.refused(), 4);
}

#[tokio::test]
async fn the_endpoint_of_the_source_is_reached_when_it_is_public() {
    let server = Server::echo().await;
    let web = Web::default();
    web.name("es.example", &[&[PUBLIC]]).route(PUBLIC, server.behind());
    let world = World::of(&web, Making { endpoints: &["https://es.example:9200/"], ..Making::default() });
    world.connect("es.example", 9200).await.unwrap();
    assert!(matches!(world.connect("es.example", 22).await, Err(NetworkError::Refused)));
}

#[tokio::test]
async fn the_endpoint_of_the_source_must_not_lead_inside() {
    for private in
        ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1", "0.0.0.0"]
    {
        let web = Web::default();
        web.name("es.example", &[&[private]]);
        let world = World::of(&web, Making { endpoints: &["es.example:9200"], ..Making::default() });
        assert!(matches!(world.connect("es.example", 9200).await, Err(NetworkError::Refused)), "{private}");
        assert_eq!((web.dialed(), world.refused()), (vec![], 1), "{private}");
    }
}

#[tokio::test]
async fn a_private_endpoint_is_reached_when_its_address_is_listed() {
    let server = Server::echo().await;
    let web = Web::default();
    web.name("es.internal", &[&["127.0.0.1"]]);
    let endpoint = format!("es.internal:{}", server.port());
    let making = Making { allow: &["127.0.0.0/8"], endpoints: &[&endpoint], ..Making::default() };
    World::of(&web, making).connect("es.internal", server.port()).await.unwrap();
}

#[tokio::test]
async fn a_name_that_changes_its_mind_does_not_lead_inside() {
    let (outer, inner) = (Server::echo().await, Server::echo().await);
    let web = Web::default();
    web.name("es.example", &[&[PUBLIC], &["127.0.0.1"]]).route(PUBLIC, outer.behind());
    let endpoint = format!("es.example:{}", inner.port());
    let world = World::of(&web, Making { endpoints: &[&endpoint], ..Making::default() });
    let _open = world.connect("es.example", inner.port()).await.unwrap();
    assert_eq!(web.looked_up().len(), 1, "what was checked is what is connected to");
    assert!(matches!(world.connect("es.example", inner.port()).await, Err(NetworkError::Refused)));
    assert_eq!((web.dialed(), inner.accepted()), (vec![ip(PUBLIC)], 0));
}

#[tokio::test]
async fn of_several_addresses_only_allowed_ones_are_tried() {
    let inner = Server::echo().await;
    let web = Web::default();
    web.name("es.example", &[&[PUBLIC, "127.0.0.1", OTHER_PUBLIC]]);
    let endpoint = format!("es.example:{}", inner.port());
    let world = World::of(&web, Making { endpoints: &[&endpoint], ..Making::default() });
    assert!(matches!(world.connect("es.example", inner.port()).await, Err(NetworkError::Connect(_))));
    assert_eq!((web.dialed(), inner.accepted()), (vec![ip(PUBLIC), ip(OTHER_PUBLIC)], 0));
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::echo().await;
    let web = Web::default();
    web.name("es.example", &[&[OTHER_PUBLIC, PUBLIC]]).route(PUBLIC, server.behind());
    let world = World::of(&web, Making { endpoints: &["es.example:9200"], ..Making::default() });
    world.connect("es.example", 9200).await.unwrap();
    assert_eq!(web.dialed(), [ip(OTHER_PUBLIC), ip(PUBLIC)]);
}

#[tokio::test]
async fn addresses_are_taken_in_their_usual_form_alone() {
    let server = Server::echo().await;
    let world = World::allowing(&["127.0.0.1"]);
    world.connect("127.0.0.1", server.port()).await.unwrap();
    world.connect("::ffff:127.0.0.1", server.port()).await.unwrap();
    for host in
        ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "１２７.0.0.1", "", "a b", "a\r\nb", "a/b", "u@a"]
    {
        let wrong = world.connect(host, server.port()).await.err().unwrap();
        assert!(matches!(wrong, NetworkError::Invalid { field: "host", .. }), "{host}: {wrong}");
    }
    assert!(matches!(world.connect("127.0.0.1", 0).await, Err(NetworkError::Invalid { field: "port", .. })));
}

#[tokio::test]
async fn sockets_are_counted() {
    let server = Server::mute().await;
    let making = Making { allow: &["127.0.0.1"], sockets: 2, ..Making::default() };
    let world = World::of(&Web::default(), making);
    let first = world.connect("127.0.0.1", server.port()).await.unwrap();
    let _second = world.connect("127.0.0.1", server.port()).await.unwrap();
    let full = world.connect("127.0.0.1", server.port()).await.err().unwrap();
    assert!(matches!(full, NetworkError::TooMany { limit: 2 }), "{full}");
    drop(first);
    world.connect("127.0.0.1", server.port()).await.unwrap();
}

#[tokio::test]
async fn a_name_without_an_address_says_so() {
    let web = Web::default();
    web.name("empty.example", &[&[]]);
    let world = World::of(&web, Making { allow: &["*.example"], ..Making::default() });
    for host in ["empty.example", "unknown.example"] {
        let failed = world.connect(host, 1).await.err().unwrap();
        assert!(matches!(failed, NetworkError::Resolve(_)), "{failed}");
        assert!(!failed.to_string().contains(host), "messages leave this machine: {failed}");
    }
}

#[tokio::test]
async fn connecting_ends_when_the_job_is_cancelled() {
    let web = Web::default();
    web.name("far.example", &[&[PUBLIC]]).route(PUBLIC, Behind::Silence);
    let world = World::of(&web, Making { allow: &["far.example"], ..Making::default() });
    let cancel = async {
        eventually("dialing", || !web.dialed().is_empty()).await;
        world.call.cancel();
    };
    let (connected, ()) = tokio::join!(world.connect("far.example", 1), cancel);
    assert!(matches!(connected, Err(NetworkError::Ended(Ended::Cancelled))));
}

#[tokio::test(start_paused = true)]
async fn connecting_gives_up_on_silence() {
    let web = Web::default();
    web.name("far.example", &[&[PUBLIC, OTHER_PUBLIC]]);
    web.route(PUBLIC, Behind::Silence).route(OTHER_PUBLIC, Behind::Silence);
    let world = World::of(&web, Making { allow: &["far.example"], ..Making::default() });
    assert!(matches!(world.connect("far.example", 1).await, Err(NetworkError::Silent)));
    assert_eq!(web.dialed().len(), 2);
}

#[tokio::test]
async fn a_read_that_is_cancelled_loses_nothing() {
    let server = Server::echo().await;
    let world = World::allowing(&["127.0.0.1"]);
    let mut socket = world.connect("127.0.0.1", server.port()).await.unwrap();
    let job = CallState::within(Duration::from_secs(20));
    let cancel = async { job.cancel() };
    let (read, ()) = tokio::join!(socket.read(&job, 10), cancel);
    assert!(matches!(read, Err(NetworkError::Ended(Ended::Cancelled))));
    assert!(!socket.told(read).unwrap_err().connection_lost);
    socket.write(&world.call, b"later").await.unwrap();
    assert_eq!(socket.read(&world.call, 2).await.unwrap(), b"la");
    assert_eq!(socket.read(&world.call, 10).await.unwrap(), b"ter");
}

#[tokio::test]
async fn a_read_ends_at_the_deadline() {
    let server = Server::mute().await;
    let world = World::allowing(&["127.0.0.1"]);
    let mut socket = world.connect("127.0.0.1", server.port()).await.unwrap();
    let job = CallState::within(Duration::from_millis(30));
    assert!(matches!(socket.read(&job, 10).await, Err(NetworkError::Ended(Ended::TimedOut))));
}

#[tokio::test]
async fn a_write_that_was_given_up_ends_the_stream() {
    // Takes nothing, so that a write never ends.
    let server = Server::new(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
        Ok(())
    })
    .await;
    let world = World::allowing(&["127.0.0.1"]);
    let mut socket = world.connect("127.0.0.1", server.port()).await.unwrap();
    let job = CallState::within(Duration::from_millis(200));
    let much = vec![0; 64 << 20];
    assert!(matches!(socket.write(&job, &much).await, Err(NetworkError::Ended(Ended::TimedOut))));
    assert!(matches!(socket.write(&world.call, b"more").await, Err(NetworkError::Abandoned)));
    assert!(matches!(socket.read(&world.call, 1).await, Err(NetworkError::Abandoned)));
}

#[tokio::test]
async fn the_end_of_a_stream_is_an_empty_read() {
    let server = Server::echo().await;
    let world = World::allowing(&["127.0.0.1"]);
    let mut socket = world.connect("127.0.0.1", server.port()).await.unwrap();
    socket.write(&world.call, b"x").await.unwrap();
    socket.shutdown(&world.call).await.unwrap();
    assert_eq!(socket.read(&world.call, u32::MAX).await.unwrap(), b"x");
    assert_eq!(socket.read(&world.call, 10).await.unwrap(), b"");
    assert!(matches!(socket.read(&world.call, 0).await, Err(NetworkError::Invalid { .. })));
}
