//! (a) All rows of the table: through the whole path, by `psql` as JSON, by `psql` as text.

use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::wait::{secs, within};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::arguments::Arguments;
use crate::report::{Aim, Line, Quantity};
use crate::rig::{COLUMNS, Data, ITEMS, Rig};
use crate::usage::cpu_seconds;

const LIMIT: Duration = secs(120);
const MEGA: f64 = 1e6;

/// One transfer of the whole table.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    rows: usize,
    bytes: usize,
    time: Duration,
    runner_cpu: f64,
    gateway_cpu: f64,
}

impl Transfer {
    fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.time.as_secs_f64()
    }

    fn mb_per_second(&self) -> f64 {
        self.bytes as f64 / MEGA / self.time.as_secs_f64()
    }

    /// CPU seconds a million rows.
    fn per_million(&self, cpu: f64) -> f64 {
        cpu * MEGA / self.rows as f64
    }
}

pub(crate) async fn measure(data: &Data, arguments: &Arguments) -> Vec<Line> {
    let rig = Rig::start(data).await;
    let as_json = format!("select row_to_json(t) from (select {COLUMNS} from items) t");
    let as_text = format!("select {COLUMNS} from items");
    let (mut path, mut json, mut text) = (Vec::new(), Vec::new(), Vec::new());
    // The first run warms caches and pools and does not count.
    for run in 0..=arguments.runs {
        let turns = [
            within(LIMIT, through_the_path(&rig, data)).await,
            within(LIMIT, by_psql(data, &as_json)).await,
            within(LIMIT, by_psql(data, &as_text)).await,
        ];
        eprintln!(
            "stream {run}: {}",
            turns.map(|turn| format!("{:.0} rows/s", turn.rows_per_second())).join(", ")
        );
        if run > 0 {
            path.push(turns[0]);
            json.push(turns[1]);
            text.push(turns[2]);
        }
    }
    lines(&path, &json, &text)
}

fn lines(path: &[Transfer], json: &[Transfer], text: &[Transfer]) -> Vec<Line> {
    let rows =
        |transfers: &[Transfer]| Quantity::of("rows/s", transfers.iter().map(Transfer::rows_per_second));
    let mega = |transfers: &[Transfer]| Quantity::of("MB/s", transfers.iter().map(Transfer::mb_per_second));
    let cpu =
        |of: fn(&Transfer) -> f64| Quantity::of("s/M rows", path.iter().map(|one| one.per_million(of(one))));
    vec![
        Line::ratio("a", "rows against row_to_json", rows(path), rows(json)).aim(Aim::AtLeast(1.0)),
        Line::ratio("a", "bytes against row_to_json", mega(path), mega(json)),
        Line::ratio("a", "rows against COPY text", rows(path), rows(text)),
        Line::ratio("a", "bytes against COPY text", mega(path), mega(text)),
        Line::alone("a", "CPU of the runner", cpu(|one| one.runner_cpu)),
        Line::alone("a", "CPU of the gateway", cpu(|one| one.gateway_cpu)),
    ]
}

async fn through_the_path(rig: &Rig, data: &Data) -> Transfer {
    let cpu = || (cpu_seconds(rig.runner.process.pid()), cpu_seconds(rig.gateway.process.pid()));
    let before = cpu();
    let started = Instant::now();
    let answer = rig.app.lines(ITEMS, &json!({"limit": data.rows})).await;
    assert_eq!(answer.status, 200);
    let (rows, bytes) = answer.count_lines().await;
    let time = started.elapsed();
    let after = cpu();
    assert_eq!(rows as u64, data.rows, "rows are missing");
    Transfer { rows, bytes, time, runner_cpu: after.0 - before.0, gateway_cpu: after.1 - before.1 }
}

async fn by_psql(data: &Data, select: &str) -> Transfer {
    let mut command = data.database.client("psql");
    command.args(["--no-psqlrc", "--quiet", "--command", &format!("\\copy ({select}) to stdout")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let (rows, bytes) = count(child.stdout.take().unwrap()).await;
    assert!(child.wait().await.unwrap().success(), "psql failed");
    let time = started.elapsed();
    assert_eq!(rows as u64, data.rows, "rows are missing");
    Transfer { rows, bytes, time, runner_cpu: 0.0, gateway_cpu: 0.0 }
}

async fn count(mut pipe: tokio::process::ChildStdout) -> (usize, usize) {
    let mut buffer = vec![0; 256 * 1024];
    let (mut lines, mut bytes) = (0, 0);
    loop {
        match pipe.read(&mut buffer).await.unwrap() {
            0 => return (lines, bytes),
            read => {
                lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
                bytes += read;
            }
        }
    }
}
