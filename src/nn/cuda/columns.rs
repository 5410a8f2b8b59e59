//! How threads are divided among a matrix `[rows, channels]` for what is computed channel by channel: `x` of the threads
//! counts packs of neighboring channels, `y` rows; `x` of the blocks counts tiles of channels, `y` slabs of rows.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{DType, Device, DeviceLocation, Result, Tensor};

use super::graph::{keep, needed_before};
use super::launch::{Launch, THREADS, address};
use super::{to_be_written, wide};

/// Blocks of a sum: two for each multiprocessor of a large GPU.
const BLOCKS_OF_SUM: usize = 264;
/// Blocks of what is computed element by element.
const BLOCKS: usize = 2112;

/// A division of rows and channels among threads. It depends on sizes alone, and so does the order of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) rows: usize,
    pub(super) channels: usize,
    /// Channels that a thread reads at once.
    pack: usize,
    lanes: usize,
    tiles: usize,
}

/// Elements that a thread reads and writes at once: as many as 16 bytes of the first tensor hold, or 1 if `channels` or
/// where a tensor starts do not allow it.
///
/// # Errors
/// A tensor is not contiguous.
pub(super) fn pack(channels: usize, tensors: &[&Tensor]) -> Result<usize> {
    let pack = 16 / tensors[0].dtype().size_in_bytes();
    let mut is_aligned = channels.is_multiple_of(pack);
    for tensor in tensors {
        is_aligned &= address(tensor)?.is_multiple_of(16);
    }
    Ok(if is_aligned { pack } else { 1 })
}

impl Columns {
    /// The division for tensors of the type of the first, which has its channels last.
    ///
    /// # Errors
    /// A tensor is not contiguous.
    pub(super) fn of(tensors: &[&Tensor]) -> Result<Self> {
        let x = tensors[0];
        let channels = x.dim(candle_core::D::Minus1)?;
        let rows = x.elem_count() / channels.max(1);
        let pack = pack(channels, tensors)?;
        Ok(Self::new(rows, channels, pack))
    }

    /// A division in packs of `pack` channels.
    pub(super) fn new(rows: usize, channels: usize, pack: usize) -> Self {
        let packs = channels.div_ceil(pack).max(1);
        let lanes = packs.next_power_of_two().min(32);
        Self { rows, channels, pack, lanes, tiles: packs.div_ceil(lanes) }
    }

    fn slabs(&self, rows_of_thread: usize, blocks: usize) -> usize {
        let rows_of_block = THREADS / self.lanes * rows_of_thread;
        self.rows.div_ceil(rows_of_block).clamp(1, (blocks / self.tiles).max(1))
    }

    fn run(&self, launch: Launch<'_>, slabs: usize, matrices: usize) -> Result<()> {
        let launch = launch.int(self.rows)?.int(self.channels)?.int(self.pack)?;
        launch.run([self.tiles, slabs, matrices], [self.lanes, THREADS / self.lanes, 1])
    }

    /// Launches a kernel that ends in `rows, channels, v`.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn each(&self, launch: Launch<'_>) -> Result<()> {
        self.run(launch, self.slabs(4, BLOCKS), 1)
    }

    /// The same for two matrices, told apart by the `z` of the blocks.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn both(&self, launch: Launch<'_>) -> Result<()> {
        self.run(launch, self.slabs(4, BLOCKS), 2)
    }

    /// Launches a kernel that ends in `partial, tickets`, what `rest` adds, and `rows, channels, v`.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn sum<'a>(
        &self,
        launch: Launch<'a>,
        on: &Tensor,
        rest: impl FnOnce(Launch<'a>) -> Launch<'a>,
    ) -> Result<()> {
        let slabs = self.slabs(8, BLOCKS_OF_SUM);
        let (partial, tickets) = room(on, 2 * slabs * self.channels, self.tiles)?;
        self.run(rest(launch.tensor(&partial)?.tensor(&tickets)?), slabs, 1)
    }
}

thread_local! {
    static ROOM: RefCell<HashMap<(DeviceLocation, DType), (Tensor, Tensor)>> = RefCell::default();
}

/// Room for partial sums, and tickets, which are 0 between launches. A device has one stream, on which one kernel after
/// the other uses them.
fn room(on: &Tensor, sums: usize, tiles: usize) -> Result<(Tensor, Tensor)> {
    let dtype = wide(on.dtype());
    let is_enough = |(partial, tickets): &&(Tensor, Tensor)| {
        partial.elem_count() >= sums && tickets.elem_count() >= tiles
    };
    let key = (on.device().location(), dtype);
    if let Some(room) = ROOM.with_borrow(|rooms| rooms.get(&key).filter(is_enough).cloned()) {
        keep(&room.0)?;
        keep(&room.1)?;
        return Ok(room);
    }
    needed_before("room for partial sums")?;
    let partial = to_be_written(sums.next_power_of_two().max(1 << 16), dtype, on)?;
    let room = (partial, zeros(tiles.next_power_of_two().max(1 << 10), on.device())?);
    ROOM.with_borrow_mut(|rooms| rooms.insert(key, room.clone()));
    Ok(room)
}

fn zeros(n: usize, device: &Device) -> Result<Tensor> {
    Tensor::zeros(n, DType::U32, device)
}
