//! What a process in a container can see, do and use up.

use std::time::Instant;

use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{CommitContainerOptionsBuilder, RemoveImageOptionsBuilder};
use sandbox::{ContainerRuntime, Overrides, Request, Transfer};
use tokio::sync::mpsc;

use crate::support::{House, IMAGE, resident, secs, shell, until, within};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_process_is_nobody_with_no_capability_and_no_way_to_more() {
    let house = House::new();
    let told =
        house.shell("id -u; grep -E 'CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status").await;
    let text = told.text();
    assert!(!text.starts_with("0\n"), "{text}");
    for line in [
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn root_has_no_capability_either_but_those_that_were_asked_for() {
    let house = House::new();
    let root = |capabilities: &[&str]| Request {
        user: Some("root".to_owned()),
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
        ..shell("grep CapEff /proc/self/status; touch f && chown 1:1 f 2>/dev/null && echo chowned")
    };
    assert_eq!(house.run(root(&[])).await.text(), "CapEff:\t0000000000000000\n");
    assert_eq!(house.run(root(&["CHOWN"])).await.text(), "CapEff:\t0000000000000001\nchowned\n");
}

#[tokio::test]
async fn only_workdir_and_tmp_can_be_written() {
    for house in House::each_transfer() {
        let line = "touch /app/a /tmp/b && echo yes; touch /c /etc/d /usr/e 2>/dev/null || echo no";
        assert_eq!(house.shell(line).await.text(), "yes\nno\n");
        let root = Request {
            writable_root: true,
            user: Some("0".to_owned()),
            ..shell("touch /c /etc/d && echo yes")
        };
        assert_eq!(house.run(root).await.text(), "yes\n");
    }
}

#[tokio::test]
async fn a_script_can_be_run_from_tmp_and_a_setuid_bit_means_nothing() {
    let house = House::new();
    let line = "printf '#!/bin/sh\\necho ran' > /tmp/s && chmod +x /tmp/s && /tmp/s; \
        grep -E ' /tmp ' /proc/mounts | grep -q nosuid && grep -E ' /tmp ' /proc/mounts | grep -q nodev && echo walled";
    assert_eq!(house.shell(line).await.text(), "ran\nwalled\n");
}

#[tokio::test]
async fn no_socket_of_the_engine_and_no_device_of_the_host_is_there() {
    let house = House::new();
    let told = house.shell("ls /var/run/docker.sock /run/docker.sock /dev/sda /dev/vda /dev/mem /dev/kmsg 2>/dev/null; echo end").await;
    assert_eq!(told.text(), "end\n");
}

#[tokio::test]
async fn without_a_network_there_is_only_the_loopback() {
    let house = House::new();
    assert_eq!(house.shell("ls /sys/class/net").await.text(), "lo\n");
}

#[tokio::test]
async fn raw_sockets_are_refused() {
    let house = House::new();
    let told = house.shell("ping -c 1 -w 1 127.0.0.1 > /dev/null 2>&1; echo $?").await;
    assert_ne!(told.text(), "0\n");
}

#[tokio::test]
async fn a_process_that_eats_memory_is_killed_and_it_is_told_why() {
    let house = House::new();
    let limits = Overrides { memory: Some(20 * MIB), ..Overrides::default() };
    let told = house
        .run(Request { limits, ..shell("head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null") })
        .await;
    assert!(!told.outcome.success() && told.outcome.oom_killed, "{:?}", told.outcome);
}

#[tokio::test]
async fn tmp_counts_as_memory_and_is_bounded() {
    let house = House::with(|options| options.tmp = 4 * MIB);
    let told = house.shell("head -c 8000000 /dev/zero > /tmp/big || echo full; wc -c < /tmp/big").await;
    assert_eq!(told.text(), format!("full\n{}\n", 4 * MIB));
}

#[tokio::test]
async fn a_fork_bomb_meets_the_limit_of_processes_and_its_neighbour_goes_on() {
    let house = House::new();
    let limits = Overrides { pids: Some(32), ..Overrides::default() };
    let bomb = Request { limits, timeout: Some(secs(3)), ..shell("b() { b | b & }; b; sleep 60") };
    let (bombed, neighbour) = tokio::join!(house.run(bomb), house.shell("sleep 1; (echo fine)"));
    assert!(!bombed.outcome.success());
    assert_eq!(neighbour.text(), "fine\n");
}

#[tokio::test]
async fn one_file_cannot_grow_beyond_the_disk_of_a_run() {
    for transfer in [Transfer::Shared, Transfer::Archive] {
        let house = House::with(|options| (options.disk, options.transfer) = (4 * MIB, transfer));
        let told = house.shell("(head -c 20000000 /dev/zero > big) 2>/dev/null; wc -c < big").await;
        assert_eq!(told.text(), format!("{}\n", 4 * MIB));
    }
}

const FILL: &str = "i=0; while true; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); sleep 0.01; done";

#[tokio::test]
async fn many_files_beyond_the_disk_of_a_run_end_it() {
    for transfer in [Transfer::Shared, Transfer::Archive] {
        let house = House::with(|options| (options.disk, options.transfer) = (16 * MIB, transfer));
        let told = within(secs(60), house.shell(FILL)).await;
        assert!(told.outcome.disk_exceeded && !told.outcome.success(), "{:?}", told.outcome);
        assert!(!told.outcome.cancelled && !told.outcome.timed_out);
    }
}

#[tokio::test]
async fn a_root_that_can_be_written_is_bounded_too() {
    for transfer in [Transfer::Shared, Transfer::Archive] {
        let house = House::with(|options| (options.disk, options.transfer) = (16 * MIB, transfer));
        let line = format!("mkdir /full; cd /full; {FILL}");
        let root = Request { writable_root: true, user: Some("root".to_owned()), ..shell(&line) };
        let told = within(secs(60), house.run(root)).await;
        assert!(told.outcome.disk_exceeded || told.errors().contains("No space"), "{:?}", told.outcome);
    }
}

/// An image of one test, made from the usual one.
struct Declaring {
    name: String,
}

impl Declaring {
    async fn volumes(house: &House, targets: &[&str]) -> Self {
        let body = ContainerCreateBody { image: Some(IMAGE.to_owned()), ..ContainerCreateBody::default() };
        let container = house.docker.create_container(None, body).await.unwrap().id;
        let name = format!("semilayer-test/volumes-{}", uuid::Uuid::new_v4().simple());
        let changes: Vec<String> = targets.iter().map(|target| format!("VOLUME {target}")).collect();
        let options = CommitContainerOptionsBuilder::default()
            .container(&container)
            .repo(&name)
            .tag("latest")
            .changes(&changes.join("\n"));
        let config = ContainerConfig::default();
        house.docker.commit_container(options.build(), config).await.unwrap();
        house.docker.remove_container(&container, None).await.unwrap();
        Self { name }
    }

    async fn remove(self, house: &House) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        house.docker.remove_image(&self.name, Some(options), None).await.unwrap();
    }
}

#[tokio::test]
async fn volumes_that_an_image_declares_are_bounded_with_the_rest_and_go_with_the_run() {
    for house in House::each_transfer_with(|options| options.disk = 16 * MIB) {
        let image = Declaring::volumes(&house, &["/data", "/srv/more/", "/tmp", "/app"]).await;
        let request =
            |line: &str| Request { image: image.name.clone(), user: Some("root".to_owned()), ..shell(line) };
        let seen = "grep -cE ' (/data|/srv/more) ' /proc/mounts; touch /app/a /tmp/b /data/c";
        let fill = format!("cd /data; {FILL}");
        let three = "head -c 6000000 /dev/zero > f; cp f /data; cp f /srv/more; sleep 60";
        let two = "head -c 6000000 /dev/zero > f; cp f /data; sleep 2";
        let mut told = Vec::new();
        for line in [seen, fill.as_str(), three, two] {
            told.push(within(secs(90), house.run(request(line))).await);
        }
        image.remove(&house).await;
        assert!(told[0].outcome.success() && told[0].text() == "2\n", "{:?}", told[0]);
        assert_eq!(
            [1, 2, 3].map(|at: usize| told[at].outcome.disk_exceeded),
            [true, true, false],
            "{told:?}"
        );
        assert!(told[3].outcome.success(), "{:?}", told[3]);
    }
}

#[tokio::test]
async fn a_flood_of_output_takes_no_memory_of_ours() {
    flood(512 * MIB).await;
}

#[tokio::test]
#[ignore = "ten GiB through the engine take minutes"]
async fn a_flood_of_ten_gibibytes_takes_no_memory_of_ours() {
    flood(10 * 1024 * MIB).await;
}

async fn flood(bytes: u64) {
    let house = House::new();
    let (sender, mut receiver) = mpsc::channel(16);
    let before = resident();
    let execution = house.start(Request {
        output: Some(sender),
        timeout: Some(secs(1200)),
        ..shell(&format!("yes | head -c {bytes}"))
    });
    let (mut read, mut most) = (0, 0);
    while let Some(piece) = receiver.recv().await {
        assert!(piece.bytes.len() <= 64 * 1024);
        if read / (32 * MIB) != (read + piece.bytes.len() as u64) / (32 * MIB) {
            most = most.max(resident());
        }
        read += piece.bytes.len() as u64;
    }
    assert_eq!(read, bytes);
    assert!(execution.outcome().await.unwrap().success());
    assert!(most.saturating_sub(before) < 64 * MIB, "{before} bytes before, {most} at most");
}

#[tokio::test]
async fn two_hundred_runs_at_once_all_end_well() {
    let house = House::with(|options| options.memory = 16 * MIB);
    let begun = Instant::now();
    let executions: Vec<_> =
        (0..200).map(|number| house.start(shell(&format!("exit $(({number} % 100))")))).collect();
    for (number, execution) in executions.iter().enumerate() {
        let outcome =
            within(secs(500), execution.outcome()).await.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(outcome.exit_code, i64::try_from(number % 100).unwrap());
    }
    for execution in &executions {
        house.assert_nothing_left(execution.id()).await;
    }
    assert!(house.sandbox.list().unwrap().len() == 200, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn gvisor_runs_the_same_lines() {
    let house = House::with(|options| options.runtime = ContainerRuntime::Runsc);
    let told = house.shell("dmesg 2>/dev/null | head -1; id -u; echo x > f; cat f; exit 7").await;
    assert_eq!(told.outcome.exit_code, 7);
    assert!(told.text().ends_with("x\n"), "{}", told.text());
    let execution = house.start(shell("sleep 60"));
    house.until_running(execution.id()).await;
    execution.cancel();
    assert!(within(secs(30), execution.outcome()).await.unwrap().cancelled);
    until("nothing is left", secs(5), async || house.container_status(execution.id()).await.is_none()).await;
}
