//! What FFmpeg does not tell of a card: its name and its memory, asked of the driver that FFmpeg has loaded.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    mem::transmute,
    ptr::null_mut,
};

use nix::libc;

use super::device::Device;

/// What a card is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) memory: Memory,
}

/// Bytes of a card's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) free: u64,
    pub(crate) all: u64,
}

const LIBRARY: &CStr = c"libcuda.so.1";
const NAME_BYTES: usize = 256;

/// Asks the driver; nothing where it does not answer.
pub(crate) fn told(device: &Device) -> Option<Told> {
    within(device, || {
        let mut card: c_int = 0;
        let mut name = [0 as c_char; NAME_BYTES];
        // SAFETY: the types are those of the driver's functions of these names (cuda.h, CUDA 4 to 13): `CUresult` is an
        // int, 0 is success, `CUdevice` is an int; both write no more than what they are given.
        let done = unsafe {
            let which: unsafe extern "C" fn(*mut c_int) -> c_int = transmute(symbol(c"cuCtxGetDevice")?);
            let tell: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int = transmute(symbol(c"cuDeviceGetName")?);
            which(&raw mut card) == 0 && tell(name.as_mut_ptr(), NAME_BYTES as c_int - 1, card) == 0
        };
        // SAFETY: the last byte is still 0, whatever the driver wrote.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        if done { Some(Told { name, memory: free_and_all()? }) } else { None }
    })
}

/// The card's memory now.
pub(crate) fn memory(device: &Device) -> Option<Memory> {
    within(device, free_and_all)
}

fn free_and_all() -> Option<Memory> {
    let (mut free, mut all) = (0_usize, 0_usize);
    // SAFETY: as above; both arguments are `size_t *`.
    let done = unsafe {
        let ask: unsafe extern "C" fn(*mut usize, *mut usize) -> c_int = transmute(symbol(c"cuMemGetInfo_v2")?);
        ask(&raw mut free, &raw mut all)
    };
    (done == 0).then_some(Memory { free: free as u64, all: all as u64 })
}

/// Makes the card's context this thread's for the time of `ask`.
fn within<T>(device: &Device, ask: impl FnOnce() -> Option<T>) -> Option<T> {
    let mut before = null_mut::<c_void>();
    // SAFETY: as above; the context lives as long as the device, and what is pushed is popped.
    unsafe {
        let push: unsafe extern "C" fn(*mut c_void) -> c_int = transmute(symbol(c"cuCtxPushCurrent_v2")?);
        let pop: unsafe extern "C" fn(*mut *mut c_void) -> c_int = transmute(symbol(c"cuCtxPopCurrent_v2")?);
        if push(device.context()) != 0 {
            return None;
        }
        let told = ask();
        pop(&raw mut before);
        told
    }
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: both take C strings. The library is FFmpeg's already, so this counts one more use of it and runs nothing;
    // it is never closed, so the address stays good.
    let found = unsafe {
        let library = libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return None;
        }
        libc::dlsym(library, name.as_ptr())
    };
    (!found.is_null()).then_some(found)
}
