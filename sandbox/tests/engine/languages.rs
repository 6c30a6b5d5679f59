//! What people bring: programs in their languages, with files in and files out.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use harness::docker::{NODE, PYTHON};
use ring::digest::{SHA256, digest};
use sandbox::{Extract, ExtractStatus, Request, Seed};

use crate::support::{House, shell};

fn program(image: &str, files: &[(&str, &str)], line: &str) -> Request {
    let file = |(name, text): &(&str, &str)| ((*name).to_owned(), Bytes::from((*text).to_owned()));
    let files: BTreeMap<_, _> = files.iter().map(file).collect();
    Request { image: image.to_owned(), seed: Some(Seed::Files(files)), ..shell(line) }
}

fn extract(from: &str, to: &Path) -> Vec<Extract> {
    vec![Extract { from: from.to_owned(), to: to.to_owned() }]
}

#[tokio::test]
async fn python_reads_json_from_its_input_and_writes_a_result() {
    for house in House::each_transfer() {
        let to = house.folder("results");
        let main = "import json, sys\n\
            def fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n\
            json.dump({'fib': fib(json.load(sys.stdin)['n'])}, open('result.json', 'w'))\n";
        let request = Request {
            input: Some(Bytes::from(r#"{"n":20}"#)),
            extract: extract("result.json", &to),
            ..program(PYTHON, &[("main.py", main)], "python main.py")
        };
        let told = house.run(request).await;
        assert!(told.outcome.success(), "{}", told.errors());
        assert_eq!(std::fs::read_to_string(to.join("result.json")).unwrap(), r#"{"fib": 6765}"#);
    }
}

#[tokio::test]
async fn a_python_package_of_several_files_writes_a_folder_of_results() {
    for house in House::each_transfer() {
        let to = house.folder("results");
        let files = [
            ("main.py", "from report import rows, write\nwrite(rows(100))\n"),
            ("report/__init__.py", "from .data import rows\nfrom .out import write\n"),
            ("report/data.py", "def rows(count):\n    return [(n, n * n) for n in range(1, count + 1)]\n"),
            (
                "report/out.py",
                "import csv, json, os\n\
                 def write(rows):\n    os.makedirs('out/deep')\n    \
                 with open('out/rows.csv', 'w', newline='') as f:\n        w = csv.writer(f)\n        \
                 w.writerow(['n', 'square'])\n        w.writerows(rows)\n    \
                 json.dump({'rows': len(rows), 'sum': sum(s for _, s in rows)}, open('out/deep/summary.json', 'w'))\n",
            ),
        ];
        let request = Request { extract: extract("out", &to), ..program(PYTHON, &files, "python main.py") };
        let told = house.run(request).await;
        assert!(told.outcome.success(), "{}", told.errors());
        let rows = std::fs::read_to_string(to.join("rows.csv")).unwrap();
        assert_eq!((rows.lines().count(), rows.lines().last()), (101, Some("100,10000")));
        let summary = std::fs::read_to_string(to.join("deep/summary.json")).unwrap();
        assert_eq!(summary, r#"{"rows": 100, "sum": 338350}"#);
    }
}

#[tokio::test]
async fn what_node_has_made_arrives_bit_for_bit() {
    for house in House::each_transfer() {
        let to = house.folder("results");
        let main = "const c = require('crypto'), f = require('fs');\n\
            f.mkdirSync('out/logs', { recursive: true });\n\
            const bytes = c.randomBytes(3 << 20);\n\
            f.writeFileSync('out/random', bytes);\n\
            f.writeFileSync('out/logs/run.log', 'grün ✓\\n');\n\
            console.log(c.createHash('sha256').update(bytes).digest('hex'));\n";
        let files = [("main.js", main)];
        let request = Request { extract: extract("out/", &to), ..program(NODE, &files, "node main.js") };
        let told = house.run(request).await;
        assert!(told.outcome.success(), "{}", told.errors());
        let bytes = std::fs::read(to.join("random")).unwrap();
        let hex: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((bytes.len(), told.text().trim()), (3 << 20, hex.as_str()));
        assert_eq!(std::fs::read_to_string(to.join("logs/run.log")).unwrap(), "grün ✓\n");
    }
}

#[tokio::test]
async fn an_exception_is_an_exit_code_and_nothing_is_taken_out() {
    let house = House::new();
    let to = house.folder("results");
    for (image, file, line, trace) in [
        (
            PYTHON,
            ("main.py", "open('f', 'w')\nraise ValueError('no good')\n"),
            "python main.py",
            "ValueError",
        ),
        (
            NODE,
            ("main.js", "require('fs').writeFileSync('f', '');\nthrow new TypeError('no good')\n"),
            "node main.js",
            "TypeError",
        ),
    ] {
        let told = house.run(Request { extract: extract("f", &to), ..program(image, &[file], line) }).await;
        assert_eq!((told.outcome.exit_code, told.outcome.success()), (1, false));
        assert!(told.errors().contains(&format!("{trace}: no good")), "{}", told.errors());
        assert_eq!(told.outcome.extracted, None);
    }
    assert_eq!(std::fs::read_dir(to).unwrap().count(), 0);
}

#[tokio::test]
async fn python_gets_no_raw_socket() {
    let house = House::new();
    let main = "import socket\n\
        try:\n    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)\n    print('open')\n\
        except PermissionError:\n    print('refused')\n";
    for user in [None, Some("root".to_owned())] {
        let request = Request { user, ..program(PYTHON, &[("main.py", main)], "python main.py") };
        assert_eq!(house.run(request).await.text(), "refused\n");
    }
}

#[tokio::test]
async fn a_missing_entry_does_not_keep_a_program_s_other_results_back() {
    let house = House::new();
    let to = house.folder("results");
    let main = "require('fs').writeFileSync('there', process.env.WORD)\n";
    let entries = ["there", "not-there"].map(|from| extract(from, &to).remove(0));
    let request = Request {
        env: [("WORD".to_owned(), "it's $(id)".to_owned())].into(),
        extract: entries.to_vec(),
        ..program(NODE, &[("main.js", main)], "node main.js")
    };
    let extracted = house.run(request).await.outcome.extracted.unwrap();
    assert_eq!([extracted[0].status, extracted[1].status], [ExtractStatus::Ok, ExtractStatus::Missing]);
    assert_eq!(std::fs::read_to_string(to.join("there")).unwrap(), "it's $(id)");
}
