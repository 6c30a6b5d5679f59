//! What people send: programs in their languages.

use harness::docker::{NODE, PYTHON};
use harness::sandbox::Door;
use serde_json::json;

#[tokio::test]
async fn python_reads_its_input_imports_its_module_and_writes_a_result() {
    let door = Door::start().await;
    let files = json!({
        "main.py": "import json, sys\nfrom lib.sums import total\nn = json.load(sys.stdin)\njson.dump({'sum': total(n)}, open('out.json', 'w'))\n",
        "lib/__init__.py": "",
        "lib/sums.py": "def total(n):\n    return sum(n['values'])\n",
    });
    let more =
        json!({"image": PYTHON, "files": files, "input": {"values": [1, 2, 39]}, "extract": ["out.json"]});
    let run = door.shell("python main.py", more).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let id = run["id"].as_str().unwrap();
    assert_eq!(door.get(&format!("/runs/{id}/artifacts/out.json")).await.ok(), json!({"sum": 42}));
}

#[tokio::test]
async fn an_exception_is_an_exit_code_with_its_trace_in_the_lines() {
    let door = Door::start().await;
    let more = json!({"image": PYTHON, "files": {"main.py": "raise ValueError('no good')"}});
    let run = door.shell("python main.py", more).await;
    assert_eq!((&run["status"], &run["exitCode"]), (&json!("failed"), &json!(1)));
    assert!(run["logs"].to_string().contains("ValueError: no good"), "{run}");
}

#[tokio::test]
async fn node_hashes_what_it_was_sent() {
    let door = Door::start().await;
    let script = "const c = require('crypto'), f = require('fs');\n\
                  console.log(c.createHash('sha256').update(f.readFileSync('data')).digest('hex'))";
    let more = json!({"image": NODE, "files": {"main.js": script, "data": "grün ✓"}});
    let run = door.shell("node main.js", more).await;
    let digest = ring::digest::digest(&ring::digest::SHA256, "grün ✓".as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(run["logs"], json!([digest]), "{run}");
}

#[tokio::test]
async fn steps_are_baked_once_and_their_order_is_kept() {
    let door = Door::start().await;
    let nonce = uuid::Uuid::new_v4().to_string();
    let steps = json!({"run": [format!("echo {nonce} > /baked"), "echo second >> /baked"]});
    for _ in 0..2 {
        let run = door.shell("cat /baked", steps.clone()).await;
        assert_eq!(run["logs"], json!([nonce, "second"]), "{run}");
    }
    let run = door.shell("true", json!({"run": ["exit 9"]})).await;
    assert_eq!((&run["status"], &run["errorCode"]), (&json!("failed"), &json!("BUILD_FAILED")), "{run}");
}
