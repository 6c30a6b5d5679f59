//! What is taken out of runs, in bulk and up to its bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sandbox::{Execution, ExtractLimits, ExtractStatus, Request, Seed};

use crate::support::{House, extract, growth_of, secs, shell, until, within};

const MIB: u64 = 1 << 20;

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
        for (bound, line) in [
            ("bytes", "for f in one two; do head -c 700000 /dev/zero > $f; done; echo > three"),
            ("entries", "for d in one two; do mkdir $d; touch $d/a $d/b $d/c; done; touch three"),
        ] {
            let taken = taken(bound, line).await;
            let is_ok: Vec<_> = taken.iter().map(|(status, _)| *status == ExtractStatus::Ok).collect();
            assert_eq!(is_ok, [true, false, true], "{taken:?}");
            assert!(taken[1].1.as_ref().unwrap().contains(bound), "{taken:?}");
        }
    }
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
async fn a_seed_and_an_input_are_dropped_as_soon_as_the_container_has_them() {
    for house in House::each_transfer() {
        let dropped: [Arc<AtomicBool>; 2] = Default::default();
        let [file, input] = dropped.each_ref().map(|flag| Bytes::from_owner(Tracked(Arc::clone(flag))));
        let (seed, input) = (Some(Seed::Files([("file".to_owned(), file)].into())), Some(input));
        let execution: Execution = house.start(Request { seed, input, ..shell("cat file; sleep 60") });
        house.until_running(execution.id()).await;
        until("both are dropped", secs(5), async || dropped.iter().all(|flag| flag.load(Ordering::Relaxed)))
            .await;
        execution.cancel();
        assert!(execution.outcome().await.unwrap().cancelled);
        house.assert_nothing_left(execution.id()).await;
    }
}
