//! What no plugin may do.

use std::hint::black_box;

/// Computes for ever.
pub(crate) fn endless() -> ! {
    let mut number = 1_u64;
    loop {
        number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Panics with a message.
#[expect(clippy::panic, reason = "that is what is tested")]
pub(crate) fn panic() -> ! {
    panic!("the\nplugin's own words")
}

/// Recurses for ever.
pub(crate) fn recurse() -> ! {
    fn deeper(depth: u64) -> u64 {
        let room = black_box([depth; 64]);
        if black_box(true) { deeper(depth + 1) + room.iter().sum::<u64>() } else { depth }
    }
    black_box(deeper(0));
    endless()
}

/// Takes memory until there is none.
pub(crate) fn eat_memory() -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(black_box(vec![1; 4 << 20]));
    }
}

/// Gets no memory, takes that well, and exits.
pub(crate) fn exit_hungry() -> ! {
    let refused = Vec::<u8>::new().try_reserve_exact(1 << 30).is_err();
    std::process::exit(i32::from(black_box(refused)))
}

/// Holds on to ever more things of the runner's.
pub(crate) fn hoard() -> ! {
    #[cfg(target_arch = "wasm32")]
    loop {
        std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(1));
    }
    #[cfg(not(target_arch = "wasm32"))]
    endless()
}
