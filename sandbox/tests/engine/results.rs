//! What is taken out of runs, in bulk and up to its bounds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sandbox::{Execution, Extract, ExtractLimits, ExtractStatus, Request, Seed};

use crate::support::{House, growth_of, secs, shell, until, within};

const MIB: u64 = 1 << 20;

fn extract(from: &str, to: &Path) -> Extract {
    Extract { from: from.to_owned(), to: to.to_owned() }
}

#[tokio::test]
async fn a_gibibyte_is_taken_out_in_constant_memory() {
    for house in House::each_transfer_with(|options| {
        options.disk = 1100 * MIB;
        options.memory = 256 * MIB;
    }) {
        let to = house.folder("results");
        let request = Request {
            extract: vec![extract("big", &to)],
            timeout: Some(secs(120)),
            ..shell("head -c 1073741824 /dev/zero > big")
        };
        let execution = house.start(request);
        let (outcome, growth) = within(secs(280), growth_of(execution.outcome())).await;
        let extracted = outcome.unwrap().extracted.unwrap();
        assert_eq!((extracted[0].status, extracted[0].bytes), (ExtractStatus::Ok, Some(1 << 30)));
        assert_eq!(std::fs::metadata(to.join("big")).unwrap().len(), 1 << 30);
        assert!(growth < 64 * MIB, "{growth} bytes more than before");
        house.assert_nothing_left(execution.id()).await;
    }
}

#[tokio::test]
async fn what_all_entries_together_may_be_is_bounded() {
    for house in House::each_transfer_with(|options| {
        options.extract = ExtractLimits { bytes: 1 << 20, entries: 5 };
    }) {
        let to = house.folder("results");
        let taken = async |name: &str, line: &str| {
            let to = to.join(name);
            let names = ["one", "two", "three"];
            let extract = names.map(|name| extract(name, &to.join(name)));
            let outcome = house.run(Request { extract: extract.to_vec(), ..shell(line) }).await.outcome;
            assert!(outcome.success(), "an entry's failure is not the run's");
            outcome
                .extracted
                .unwrap()
                .into_iter()
                .map(|entry| (entry.status, entry.error))
                .collect::<Vec<_>>()
        };
        let by_bytes =
            taken("bytes", "for f in one two; do head -c 700000 /dev/zero > $f; done; echo > three").await;
        assert_eq!(
            [by_bytes[0].0, by_bytes[1].0, by_bytes[2].0].map(is_ok),
            [true, false, true],
            "{by_bytes:?}"
        );
        assert!(by_bytes[1].1.as_ref().unwrap().contains("bytes"), "{by_bytes:?}");
        let by_count =
            taken("count", "for d in one two; do mkdir $d; touch $d/a $d/b $d/c; done; touch three").await;
        assert_eq!(
            [by_count[0].0, by_count[1].0, by_count[2].0].map(is_ok),
            [true, false, true],
            "{by_count:?}"
        );
        assert!(by_count[1].1.as_ref().unwrap().contains("entries"), "{by_count:?}");
    }
}

fn is_ok(status: ExtractStatus) -> bool {
    status == ExtractStatus::Ok
}

/// Says when its bytes are gone.
struct Tracked(Arc<AtomicBool>);

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        b"seeded"
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_seed_is_dropped_as_soon_as_its_files_are_in_place() {
    for house in House::each_transfer() {
        let dropped = Arc::new(AtomicBool::new(false));
        let files = [("file".to_owned(), Bytes::from_owner(Tracked(Arc::clone(&dropped))))];
        let seed = Some(Seed::Files(files.into()));
        let execution: Execution = house.start(Request { seed, ..shell("cat file; sleep 60") });
        house.until_running(execution.id()).await;
        until("the seed is dropped", secs(5), async || dropped.load(Ordering::Relaxed)).await;
        execution.cancel();
        assert!(execution.outcome().await.unwrap().cancelled);
        house.assert_nothing_left(execution.id()).await;
    }
}
