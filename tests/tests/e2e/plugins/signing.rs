//! Plugins that somebody must have vouched for, with keys and signatures as docs/plugins/signing.md has them made.

use std::fs;

use harness::folder::Folder;
use harness::plugins::{PluginFolder, changed, guest};
use harness::process::{Signal, bare, run};
use harness::wait::{eventually, secs, until, within};
use serde_json::{Value, json};

use super::{DIALER, MEMORY, Scene, members};

/// Somebody with a key, at a shell.
struct Signer {
    folder: Folder,
    sign: String,
    /// For `trusted_keys`.
    public: String,
}

impl Signer {
    async fn new() -> Self {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/plugins/signing.md");
        let page = fs::read_to_string(page).unwrap();
        let commands = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        let lines: Vec<&str> = commands.lines().collect();
        let [generate, show, sign]: [&str; 3] = lines.try_into().unwrap();
        let mut signer = Self { folder: Folder::new(), sign: sign.to_owned(), public: String::new() };
        signer.shell(generate).await;
        signer.public = signer.shell(show).await.trim().to_owned();
        signer
    }

    async fn shell(&self, line: &str) -> String {
        let mut command = bare("/bin/sh");
        command.args(["-e", "-c", line]).current_dir(self.folder.path());
        run("sh", command, secs(60)).await.ok()
    }

    /// The signature of a component.
    async fn sign(&self, component: &[u8]) -> Vec<u8> {
        fs::write(self.folder.file("things.wasm"), component).unwrap();
        self.shell(&self.sign).await;
        fs::read(self.folder.file("things.wasm.sig")).unwrap()
    }
}

/// A config file that trusts this key.
fn trusting(signer: &Signer) -> String {
    format!("[plugins]\ntrusted_keys = [\"{}\"]\n", signer.public)
}

/// Ten people of the memory plugin, on a runner with this config file.
async fn scene(folder: &PluginFolder, config: &str) -> Scene {
    let sources = json!({"people": {"bridge": MEMORY, "rows": 10}});
    let lenses = json!({"people": members("people")});
    Scene::with(folder, sources, lenses, |runner| runner.with("SEMILAYER_CONFIG", config)).await
}

impl Scene {
    /// Waits until the one file in the folder is in that state, and has that problem or none.
    async fn plugin_is(&self, state: &str, problem: Option<&str>) -> Value {
        eventually(&format!("the plugin is {state}: {problem:?}"), secs(30), async || {
            let plugin = self.plugin().await;
            let told = plugin["problem"].as_str();
            let as_told = match problem {
                Some(problem) => told.is_some_and(|told| told.contains(problem)),
                None => told.is_none(),
            };
            (plugin["state"] == state && as_told).then_some(plugin)
        })
        .await
    }

    async fn serves(&self) {
        assert_eq!(self.app.count("people", &json!({})).await, 10);
    }

    async fn refuses(&self) {
        assert_eq!(self.app.query("people", &json!({})).await.code(502), "unknown_bridge");
    }
}

const UNSIGNED: &str = "there is no memory.wasm.sig";
const UNTRUSTED: &str = "none of the trusted keys";

#[tokio::test]
async fn a_plugin_serves_when_a_trusted_key_has_signed_it_as_it_is() {
    within(secs(150), async {
        let (ours, theirs) = (Signer::new().await, Signer::new().await);
        let (folder, config) = (PluginFolder::with(&["memory"]), Folder::new());
        let file = config.write("runner.toml", &trusting(&ours));
        let component = fs::read(guest("memory")).unwrap();
        let scene = scene(&folder, &file).await;
        scene.plugin_is("failed", Some(UNSIGNED)).await;
        scene.refuses().await;

        folder.put_signature("memory", &theirs.sign(&component).await);
        scene.plugin_is("failed", Some(UNTRUSTED)).await;
        scene.refuses().await;

        folder.put_signature("memory", &ours.sign(&component).await);
        let first = scene.plugin_is("loaded", None).await;
        scene.serves().await;

        // A changed file, which the signature beside it does not fit: what was signed goes on.
        folder.put_changed("memory", 1);
        let outdated = scene.plugin_is("outdated", Some(UNTRUSTED)).await;
        assert_eq!(outdated["hash"], first["hash"]);
        scene.serves().await;
        folder.put_signature("memory", &ours.sign(&changed("memory", 1)).await);
        let second = scene.plugin_is("loaded", None).await;
        assert_ne!(second["hash"], first["hash"]);
        scene.serves().await;
    })
    .await;
}

#[tokio::test]
async fn trust_ends_with_the_key_and_not_with_the_signature_beside_the_file() {
    within(secs(120), async {
        let (ours, theirs) = (Signer::new().await, Signer::new().await);
        let (folder, config) = (PluginFolder::with(&["memory"]), Folder::new());
        let file = config.write("runner.toml", &trusting(&ours));
        folder.put_signature("memory", &ours.sign(&fs::read(guest("memory")).unwrap()).await);
        let scene = scene(&folder, &file).await;
        scene.plugin_is("loaded", None).await;

        folder.remove_signature("memory");
        scene.plugin_is("outdated", Some(UNSIGNED)).await;
        scene.serves().await;
        let anew = scene.gateway.settings(&scene.credentials);
        let anew = anew.with("SEMILAYER_PLUGIN_DIR", folder.path()).with("SEMILAYER_CONFIG", &file);
        let listed = anew.run(&["bridges"]).await;
        assert!(listed.stderr.contains(UNSIGNED), "a new start does not take it: {}", listed.both());

        config.write("runner.toml", &trusting(&theirs));
        scene.runner.process.signal(Signal::HUP);
        scene.plugin_is("failed", Some(UNSIGNED)).await;
        scene.refuses().await;
    })
    .await;
}

#[tokio::test]
async fn a_signature_that_is_a_pipe_holds_nobody_up() {
    within(secs(60), async {
        let signer = Signer::new().await;
        let (folder, config) = (PluginFolder::with(&["memory"]), Folder::new());
        signer.shell(&format!("mkfifo '{}/memory.wasm.sig'", folder.path())).await;
        let scene = scene(&folder, &config.write("runner.toml", &trusting(&signer))).await;
        scene.plugin_is("failed", Some(UNSIGNED)).await;
    })
    .await;
}

#[tokio::test]
async fn a_plugin_whose_new_file_does_not_load_goes_on_but_not_with_rights_that_it_has_no_more() {
    within(secs(90), async {
        let (folder, config) = (PluginFolder::with(&["dialer"]), Folder::new());
        let allowing = |hosts: &str| format!("[plugins.\"{DIALER}\"]\nallow = [{hosts}]\n");
        let file = config.write("runner.toml", &allowing("\"127.0.0.1:9\""));
        let scene = scene(&folder, &file).await;
        scene.plugin_is("loaded", None).await;
        folder.put("dialer", b"no component at all");
        scene.plugin_is("outdated", Some("not a WebAssembly component")).await;
        config.write("runner.toml", &allowing(""));
        scene.runner.process.signal(Signal::HUP);
        scene.plugin_is("failed", Some("not a WebAssembly component")).await;
        until("the gateway knows", secs(20), async || {
            let sessions = scene.gateway.runner(&scene.credentials.id).await["sessions"].clone();
            !sessions[0]["bridges"].as_array().unwrap().contains(&json!(DIALER))
        })
        .await;
    })
    .await;
}
