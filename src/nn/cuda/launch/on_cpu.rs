//! Launches on the CPU, in tests, with threads as fibers.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};

use candle_core::{Result, bail};

thread_local! {
    /// Launches of this thread.
    pub(super) static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Number of threads by which the order of a block's threads advances; coprime to their number.
    pub(super) static STRIDE: Cell<u32> = const { Cell::new(1) };
}

unsafe extern "C" {
    /// Defined in `kernels/fibers.h`.
    fn medmerge_launch_on_cpu(
        name: *const c_char,
        arguments: *mut *mut c_void,
        grid: *const u32,
        block: *const u32,
        stride: u32,
    ) -> c_int;
}

pub(in crate::cuda) fn launch(
    name: &str,
    arguments: &mut [*mut c_void],
    grid: [u32; 3],
    block: [u32; 3],
) -> Result<()> {
    let Ok(symbol) = CString::new(name) else { bail!("`{name}` is not a name of a kernel") };
    // SAFETY: `Launch` passes what the kernel declares, and holds on to the tensors; it runs before this returns.
    let status = unsafe {
        medmerge_launch_on_cpu(
            symbol.as_ptr(),
            arguments.as_mut_ptr(),
            grid.as_ptr(),
            block.as_ptr(),
            STRIDE.get(),
        )
    };
    match status {
        0 => Ok(()),
        1 => bail!("there is no kernel `{name}`"),
        _ => bail!("threads of the kernel `{name}` wait at different barriers"),
    }
}
