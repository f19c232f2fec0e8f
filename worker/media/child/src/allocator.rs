//! The program's allocator: ends the program, with a code that the parent knows, when memory runs out.
//!
//! Without it a failed allocation aborts, which looks to the parent like any crash.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

use millrace_media::wire::EXIT_OUT_OF_MEMORY;

/// The system's allocator, but that it never returns null.
pub(crate) struct Bounded;

// SAFETY: every call is passed on to `System` unchanged, and null, which would be allowed too, is never
// returned.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is `System`'s too.
        there(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        there(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        there(unsafe { System.realloc(place, layout, size) })
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

fn there(place: *mut u8) -> *mut u8 {
    if place.is_null() {
        // SAFETY: _exit(2) may be called at any time from any thread; it allocates nothing and runs no
        // handlers.
        unsafe { nix::libc::_exit(EXIT_OUT_OF_MEMORY) }
    }
    place
}
