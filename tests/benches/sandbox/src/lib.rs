//! The words after `docker` that make the same container as the sandbox makes by default: what the benchmark compares
//! with. The engine is asked in the tests whether it is the same.

/// Bytes that a run may write.
const DISK: u64 = 1 << 30;

/// `docker run --rm` of a program in a container with the sandbox's walls. Its name, where there is one, is for a test
/// that looks at it.
pub fn arguments(image: &str, network: &str, program: &[&str]) -> Vec<String> {
    let walls = [
        "run",
        "--rm",
        "--network",
        network,
        "--workdir",
        "/app",
        "--mount",
        "type=volume,target=/app",
        "--tmpfs",
        "/tmp:rw,exec,nosuid,nodev,mode=1777,size=67108864",
        "--user",
        "65534:65534",
        "--env",
        "HOME=/tmp",
        "--memory",
        "512m",
        "--memory-swap",
        "512m",
        "--cpus",
        "1",
        "--pids-limit",
        "100",
        "--ulimit",
        "nofile=16384:16384",
        "--ulimit",
        "core=0:0",
        "--ulimit",
        &format!("fsize={DISK}:{DISK}"),
        "--oom-score-adj",
        "500",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--read-only",
        "--init",
        "--ipc",
        "private",
        "--shm-size",
        "64m",
        "--cgroupns",
        "private",
        "--log-driver",
        "none",
        "--no-healthcheck",
        image,
    ];
    walls.iter().chain(program).map(ToString::to_string).collect()
}
